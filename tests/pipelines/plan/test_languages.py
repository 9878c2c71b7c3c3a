"""Languages: each row is heard in its own, and a recogniser that does not know one stops the build early."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import whisper as original_whisper
from support.random_whisper import convert_to_ctranslate2, write_random_pt

from anytalk.pipelines import build, check
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.rejudge import rejudge
from anytalk.pipelines.source import read_pairs
from anytalk.synth.audio import Waveform, read_audio
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import load_whisper
from anytalk.synth.hearing.recogniser import ON_CPU, ON_GPU, Batching, Recogniser

RATE_HZ = 16_000
PAIRS = [
    {"question": "What is this?", "answer": "It is a test."},
    {"question": "Was ist das?", "answer": "Das ist eine Probe.", "language": "de"},
    {"question": "Wo ist sie?", "answer": "Sie ist hier.", "language": "de-AT"},
]
VOICES = {"question": ["fake:ann", "fake:bob"], "answer": "fake:eve"}

# openai-whisper does not close the file of its tokenizer.
pytestmark = pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multilingual Whisper that has learned nothing. Its name does not say what it knows."""
    return write_random_pt(tmp_path_factory.mktemp("multilingual") / "whisper.pt", multilingual=True)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An English Whisper that has learned nothing. Its name does not say what it knows."""
    return write_random_pt(tmp_path_factory.mktemp("english") / "whisper.pt")


@pytest.fixture(scope="module")
def sounds() -> list[Waveform]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-0.3, 0.3, RATE_HZ // 2 + 900 * n).astype(np.float32) for n in range(4)]


def rows_of(folder, part="shards"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


class Recorder:
    """A network that says which prompt and batch it was given."""

    def __init__(self, batching: Batching = ON_CPU) -> None:
        self.batching = batching

    band_count = 80
    width = 4
    fingerprint: dict[str, str] = {}  # noqa: RUF012

    def encode(self, mels_BMN: np.ndarray) -> np.ndarray:
        return np.zeros((len(mels_BMN), mels_BMN.shape[2] // 2, self.width), np.float32)

    encode_for_text = encode

    def prompt(self, language: str) -> list[int]:
        return [ord(letter) for letter in language]

    def language_probabilities(self, states_BTD: np.ndarray, languages: list[str]) -> list[float | None]:
        return [None] * len(states_BTD)

    def decode(self, states_BTD: np.ndarray, token_limit: int, prompts: list[list[int]]) -> list[list[int]]:
        return [[*prompt, len(states_BTD)] for prompt in prompts]

    def text(self, tokens: list[int]) -> str:
        *prompt, batch = tokens
        return f"{''.join(map(chr, prompt))} {batch}"


def test_only_utterances_of_one_language_share_a_batch(sounds: list[Waveform]):
    recogniser = Recogniser(Recorder(), "recorder", "en")
    tags = ["de", "en-GB", "de-AT", "cmn"]
    expected = ["de 2", "en 1", "de 2", "zh 1"]
    assert [heard.text for heard in recogniser.transcribe(sounds, tags)] == expected
    assert [heard.text for heard in recogniser.listen(sounds, tags)] == expected
    assert [heard.text for heard in recogniser.transcribe(sounds)] == ["en 4"] * 4


def test_on_a_gpu_utterances_of_all_languages_share_a_batch_and_each_is_asked_in_its_own(sounds: list[Waveform]):
    recogniser = Recogniser(Recorder(ON_GPU), "recorder", "en")
    tags, expected = ["de", "en-GB", "de-AT", "cmn"], ["de 4", "en 4", "de 4", "zh 4"]
    assert [heard.text for heard in recogniser.transcribe(sounds, tags)] == expected
    assert [heard.text for heard in recogniser.listen(sounds, tags)] == expected
    small = Recogniser(Recorder(Batching(3_000, together=True)), "recorder", "en")
    assert [heard.text for heard in small.listen(sounds, tags)] == ["de 2", "en 2", "de 2", "zh 2"]
    # For a transcript the encoder sees 8 s, so more of them fit.
    assert [heard.text for heard in small.transcribe(sounds, tags)] == expected


def test_what_is_heard_of_a_row_does_not_depend_on_rows_in_other_languages(multilingual: Path, sounds: list[Waveform]):
    whisper = load_whisper(str(multilingual))
    together = whisper.listen(sounds[:3], ["de", "en", "de"])
    german, [english] = whisper.listen(sounds[:3:2], ["de", "de"]), whisper.listen(sounds[1:2])
    for one, other in zip(together, [german[0], english, german[1]], strict=True):
        assert one.text == other.text
        np.testing.assert_array_equal(one.features, other.features)


def test_a_multilingual_whisper_is_asked_in_the_language_of_the_row(multilingual: Path):
    network = load_whisper(str(multilingual))._network
    assert network.prompt("en") == [50258, 50259, 50359, 50363]
    assert network.prompt("de") == [50258, 50261, 50359, 50363]


def test_an_unknown_language_is_refused_by_name(multilingual: Path):
    whisper = load_whisper(str(multilingual), language="de-AT")
    assert whisper.language == "de"
    whisper.require(["en", "de", "nb-NO", "cmn"])
    with pytest.raises(SetupError) as caught:
        whisper.require(["tlh", "de", "xx-XX"])
    assert [line.split(";")[0] for line in str(caught.value).splitlines()] == [
        "Whisper knows no language 'tlh'",
        "Whisper knows no language 'xx'",
    ]


@pytest.mark.parametrize("name", ["tiny.en", "fake.en", "openai-whisper"])
def test_an_english_whisper_refuses_other_languages_and_says_what_to_give(name: str, english: Path):
    whisper = load_whisper(str(english) if name == "openai-whisper" else name)
    whisper.require(["en", "en-GB"])
    with pytest.raises(SetupError, match=r"knows only English; it was asked for 'de': give a multilingual one"):
        whisper.require(["en", "de-AT"])
    with pytest.raises(SetupError, match="knows only English"):
        load_whisper(whisper.name, language="de")


@pytest.mark.parametrize("name", ["fake.en", "tiny.en"])
def test_a_recogniser_that_is_english_by_its_name_stops_the_plan(fake_recipe, write_jsonl, tmp_path, name):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), voices=VOICES, features={"model": name})
    with pytest.raises(SetupError) as caught:
        build(recipe, tmp_path / "out", local=True)
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        f"the Whisper {name} knows only English, but the source has 1 row in 'de' (the first is pairs.jsonl:2)"
    )
    assert "--set features.model=small" in second
    assert not (tmp_path / "out").exists()


def test_a_recogniser_that_turns_out_to_be_english_stops_the_build_before_the_first_row(
    fake_recipe, write_jsonl, tmp_path, english
):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), voices=VOICES, features={"model": str(english)})
    with pytest.raises(SetupError, match=r"whisper\.pt knows only English; it was asked for 'de'"):
        build(recipe, tmp_path / "out", local=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"plan"}


def test_a_dataset_of_two_languages_is_heard_row_by_row(fake_recipe, write_jsonl, tmp_path, multilingual):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), voices=VOICES, features={"model": str(multilingual)})
    assert build(recipe, tmp_path / "out", local=True).rows_accepted == 3
    whisper = load_whisper(str(multilingual))
    for row in rows_of(tmp_path / "out"):
        sound = read_audio(row["question_audio"]["bytes"], RATE_HZ)
        [heard] = whisper.listen([sound], [row["language"]])
        # Alone or with the other German row: the ids of a batch of two are those of two batches.
        assert row["question_transcript"] == heard.text
        np.testing.assert_array_equal(np.stack(row["question_features"]).astype(np.float16), heard.features)
    assert check(tmp_path / "out").problems == []


@pytest.mark.slow
def test_how_likely_a_language_is_is_what_the_original_detects(multilingual: Path):
    # 28 seconds take the whole window, which is all that the original knows.
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 28 * RATE_HZ).astype(np.float32)
    model = original_whisper.load_model(str(multilingual), device="cpu")
    _, likely = original_whisper.detect_language(
        model, original_whisper.log_mel_spectrogram(original_whisper.pad_or_trim(sound), n_mels=model.dims.n_mels)
    )
    whisper = load_whisper(str(multilingual))
    for language in ("de", "en", "zh"):
        [listened], [transcribed] = whisper.listen([sound], [language]), whisper.transcribe([sound], [language])
        assert listened.language_probability == pytest.approx(likely[language], rel=1e-3)
        assert transcribed.language_probability == listened.language_probability


def test_a_recogniser_of_english_alone_does_not_guess_languages(english: Path, sounds: list[Waveform]):
    whisper = load_whisper(str(english))
    assert {heard.language_probability for heard in whisper.listen(sounds) + whisper.transcribe(sounds)} == {None}


def test_a_row_in_which_another_language_is_heard_is_rejected_for_it(
    fake_recipe, anything, write_jsonl, tmp_path, multilingual
):
    # Weights that learned nothing find every language about as likely as any other.
    recipe = fake_recipe(
        source=str(write_jsonl(PAIRS)),
        voices=VOICES,
        features={"model": str(multilingual)},
        check={"attempts": 1, "question": {**anything, "min_language_probability": 0.5}, "answer": anything},
    )
    result = build(recipe, tmp_path / "out", local=True)
    assert result.rows_accepted == 0
    [rejected, *_] = rows_of(tmp_path / "out", "rejects")
    assert rejected["reason"] == "other_language"
    assert 0 < rejected["attempts"][0]["language_probability"] < 0.5
    assert "language_probability 0.0" in rejected["detail"]
    assert rejected["detail"].endswith("is under 0.5")
    again = rejudge(tmp_path / "out", {"check.question.min_language_probability": None}, dry_run=True)
    assert [need["side"] for need in again.open] == ["answer"] * 3


def test_the_bundled_corpus_is_there_in_german(fake_recipe):
    german = load_recipe(fake_recipe(source={"kind": "bundled", "language": "de"})).source
    pairs = list(read_pairs(german))
    assert len(pairs) == 36
    assert {pair.language for pair in pairs} == {"de"}
    french = load_recipe(fake_recipe(source={"kind": "bundled", "language": "fr"})).source
    with pytest.raises(SetupError, match="no corpus is bundled in 'fr'; there are: en, de"):
        list(read_pairs(french))


@pytest.mark.slow  # imports transformers, converts a model, and speaks German
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the converter's own
def test_german_is_spoken_heard_and_stored_with_a_multilingual_whisper_from_a_folder(
    fake_recipe, anything, tmp_path, multilingual
):
    folder = convert_to_ctranslate2(multilingual, tmp_path)
    recipe = fake_recipe(
        source={"kind": "bundled", "language": "de", "limit": 3},
        voices={"question": ["espeak:de", "espeak:de+f2"], "answer": "espeak:de"},
        features={"model": str(folder)},
        codec={"model": "bundled"},
    )
    assert build(recipe, tmp_path / "out", local=True).rows_accepted == 3
    rows = rows_of(tmp_path / "out")
    assert {(row["language"], row["answer_voice"].split()[0]) for row in rows} == {("de", "espeak:de")}
    assert all(row["question_wer"] is not None for row in rows)
    # As one batch, like the unit was: in int8, neighbours decide the last bits.
    whisper = load_whisper(str(folder), text_compute_type="int8")
    heard = whisper.listen([read_audio(row["question_audio"]["bytes"], RATE_HZ) for row in rows], ["de"] * 3)
    assert [row["question_transcript"] for row in rows] == [each.text for each in heard]
    likely = [row["question_language_probability"] for row in rows]
    assert likely == pytest.approx([each.language_probability for each in heard], abs=1e-4)
    # In float32 both engines detect the same.
    sound = read_audio(rows[0]["question_audio"]["bytes"], RATE_HZ)
    [one], [other] = (load_whisper(str(path)).listen([sound], ["de"]) for path in (folder, multilingual))
    assert one.language_probability == pytest.approx(other.language_probability, rel=1e-3)
    assert check(tmp_path / "out").problems == []
