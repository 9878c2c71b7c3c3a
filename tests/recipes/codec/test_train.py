"""From text to a codec's weights: one command trains, measures, goes on, and refuses what is another run's."""

import json

import numpy as np
import pytest

from anytalk.pipelines.progress import Quiet
from anytalk.recipes.codec.evaluate import evaluate_codec
from anytalk.recipes.codec.train import CodecRecipe, train_codec
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SetupError

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "encoder_width": 8,
    "encoder_blocks": 1,
    "decoder_width": 8,
    "decoder_blocks": 1,
    "latent_width": 8,
    "codebook_size": 16,
}


@pytest.fixture
def recipe(tmp_path):
    """Write four sentences for training and two for measuring, and give a recipe of tones for voices."""
    (tmp_path / "train.txt").write_text("One two.\n\nThree four.\nFive six.\nSeven eight.\n")
    (tmp_path / "held_out.txt").write_text("Eins zwei.\nDrei vier.\nFünf.\n")

    def make(**sections) -> CodecRecipe:
        speech = {"voices": ["fake:ann", "fake:bob"], "text": str(tmp_path / "train.txt")}
        training = {"rounds": [{"steps": 2, "adversarial_from": 1}], "batch": 2, "crop_frames": 2}
        evaluation = {"sentences": 2, "text": str(tmp_path / "held_out.txt"), "recogniser": "fake", "language": "de"}
        written = {"speech": speech, "network": TINY, "training": training, "evaluation": evaluation} | sections
        return CodecRecipe.model_validate({"name": "tiny", "revision": "1"} | written)

    return make


@pytest.mark.slow
def test_a_run_goes_from_text_to_weights_that_are_measured_and_is_not_done_twice(recipe, tmp_path):
    out = tmp_path / "run"
    result = train_codec(recipe(), out, Quiet())
    assert load_codec(str(out)).fingerprint["name"] == "tiny"
    assert result["figures"]["voices"].keys() == {"fake:ann", "fake:bob"}
    assert result["figures"]["recogniser"] == "fake"
    assert json.loads((out / "figures.json").read_text()) == result["figures"]
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert "<svg" in (out / "loss.svg").read_text()
    assert len(list((out / "examples").glob("*-before.wav"))) == 4

    weights, spoken = (out / "codec.safetensors").read_bytes(), sorted((out / "speech").iterdir())
    written = [path.stat().st_mtime_ns for path in spoken]
    train_codec(recipe(evaluation={"sentences": 1, "recogniser": "fake"}), out, Quiet())
    assert (out / "codec.safetensors").read_bytes() == weights
    assert [path.stat().st_mtime_ns for path in sorted((out / "speech").iterdir())] == written


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_weights(recipe, tmp_path):
    for name in ("a", "b"):
        train_codec(recipe(), tmp_path / name, Quiet())
    first, second = ((tmp_path / name / "codec.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    "sections",
    [
        {"evaluation": {"text": "no-such"}},
        {"evaluation": {"recogniser": "no-such"}},
        {"training": {"rounds": [{"steps": 1, "hearing_weight": 1.0}], "recogniser": "no-such"}},
    ],
)
def test_who_is_missing_in_the_end_is_named_before_anything_is_spoken(recipe, tmp_path, sections):
    with pytest.raises(SetupError, match="no-such"):
        train_codec(recipe(**sections), tmp_path / "run", Quiet())
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(recipe, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(SetupError, match="not empty"):
        train_codec(recipe(), out, Quiet())
    (out / "thesis.txt").unlink()
    (out / "recipe.json").write_text("{}")
    with pytest.raises(SetupError, match="another recipe"):
        train_codec(recipe(), out, Quiet())


def test_a_round_without_steps_is_refused_by_name(recipe):
    with pytest.raises(ValueError, match="each with a step"):
        recipe(training={"rounds": [{"steps": 0}]})


def test_any_codec_is_measured(recipe):
    figures = evaluate_codec("fake", ["fake:ann"], ["One two three."], Quiet(), recogniser="fake")
    (voice,) = figures["voices"].values()
    assert voice["mel_distance"] > 0
    assert all(np.isfinite(value) for value in voice.values())
    assert [level["tokens"] for level in figures["codebooks"]] == sorted(
        level["tokens"] for level in figures["codebooks"]
    )
