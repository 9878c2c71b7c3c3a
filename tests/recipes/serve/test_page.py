"""The page as a person uses it: a real browser, a microphone that plays a recording, and a server that answers."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.browser import chromium, needs_chromium, opened
from support.training import MODEL, a_recipe, a_stage

from anytalk.recipes.train.run import train
from anytalk.synth.audio import resample
from anytalk.synth.codec import load_codec
from anytalk.synth.hearing import load_whisper
from anytalk.synth.voice import SpeakRequest, load_voice

pytestmark = [*needs_chromium, pytest.mark.slow]

RATE_HZ = 24_000
ANSWERS = {"What is your name?": "I am Wren.", "Where do penguins live?": "In the south."}
ASKED = "Where do penguins live?"
PAUSE_S = 30.0
"""Behind the question, so that it is asked again when the microphone is opened again, and not before."""

SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 400,
    "tie_word_embeddings": False,
}
TOKEN = "s3cret"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def spoken():
    voice = load_voice("hibari:heart")
    return dict(zip(ANSWERS, voice.speak([SpeakRequest(question, 1) for question in ANSWERS]), strict=True))


@pytest.fixture(scope="module")
def run(spoken, write_dataset_at, tmp_path_factory, one_thread):
    """A model that learnt to answer two questions in text; its speech is noise that does not end."""
    folder, whisper = tmp_path_factory.mktemp("talker"), load_whisper("tiny.en")
    heard = whisper.features([_as_a_turn(wave) for wave in spoken.values()])
    rows = list(zip(ANSWERS.items(), heard, strict=True))

    def change(row):
        (row["question"], row["answer"]), row["question_features"] = rows[int(row["id"].rpartition("-")[2]) % 2]

    fingerprints = {
        "codec": dict(load_codec("bundled").fingerprint),
        "features": {**whisper.fingerprint, "width": whisper.feature_width},
    }
    dataset = write_dataset_at(folder / "dataset", {"train": 2}, fingerprints, change=change)
    recipe = a_recipe(
        data={"datasets": [str(dataset)], "validation": None},
        model=MODEL | {"shape": SHAPE, "stack": 5, "tts_adapter_layers": 0},
        stages=[a_stage(tasks={"A1T2": 1}, steps=60, learning_rate=7e-3, minimum=1e-3, warmup_steps=3)],
        checkpoint={"every": 1000},
    )
    train(recipe, folder / "run")
    return folder / "run"


def _as_a_turn(wave_24k):
    """A question as the server cuts it out: some silence before it, less behind it."""
    return resample(np.pad(wave_24k, (round(0.3 * RATE_HZ), round(0.2 * RATE_HZ))), RATE_HZ, 16_000)


@pytest.fixture(scope="module")
def server_url(run):
    with serving(run, "--sessions", "1", "--token-env", "SECRET", env={"SECRET": TOKEN}) as url:
        yield url


class serving:  # noqa: N801
    """A server in a process of its own; gives its address."""

    def __init__(self, run, *options, env=None):
        command = [sys.executable, "-m", "anytalk.recipes", "serve", str(run), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {}))

    def __enter__(self):
        for line in self.process.stdout:
            if found := re.search(r"http://\S+", line):
                return found[0]
        raise AssertionError(f"the server ended with {self.process.wait()}")

    def __exit__(self, *error):
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser(spoken, tmp_path_factory):
    path = tmp_path_factory.mktemp("microphone") / "question.wav"
    soundfile.write(path, np.pad(spoken[ASKED], (RATE_HZ // 2, round(PAUSE_S * RATE_HZ))), RATE_HZ)
    with chromium(path) as started:
        yield started


@contextlib.contextmanager
def entered(browser, url, **settings):
    """Open the page and give it the server's token; a browser logs that it was refused before."""
    with opened(browser, url, may_fail="/v1/", **settings) as page:
        page.get_by_label("needs a token").fill(TOKEN)
        page.keyboard.press("Enter")
        yield page


def test_a_wrong_token_is_refused_in_words(browser, server_url):
    with opened(browser, server_url, may_fail="/v1/") as page:
        page.get_by_label("needs a token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").filter(has_text="This is not the server's token.").wait_for()
        assert page.locator("#talk").is_disabled()


def test_a_spoken_question_is_answered_and_the_next_one_interrupts_the_answer(browser, server_url):
    with entered(browser, server_url) as page:
        page.locator("#talk:enabled").focus()
        page.keyboard.press("Space")
        first = page.locator(".answer").first
        first.get_by_text("first sound after").wait_for()
        page.wait_for_function("heard.peak > 0.001")
        assert first.locator(".text").text_content() == ANSWERS[ASKED]

        page.locator("#talk").click()  # mute
        page.locator("#talk").click()
        first.get_by_text("interrupted after").wait_for()
        # Had it gone on, there would be sound until now: the next answer takes longer than the question.
        page.wait_for_timeout(700)
        assert page.evaluate("heard.lastMs - heard.events['input_audio_buffer.speech_started'][1]") < 500

        # Somebody else is told that there is no room, in words, and comes in when there is.
        with entered(browser, server_url) as other:
            other.get_by_role("alert").filter(has_text="which is all this server takes").wait_for()
            page.close()
            other.locator("#talk:enabled").wait_for()


def test_on_a_phone_a_typed_question_is_answered_without_sideways_scroll(browser, server_url):
    with entered(browser, server_url, viewport=PHONE, color_scheme="dark") as page:
        page.locator("#send:enabled").wait_for()
        page.get_by_label("Your question").fill("Why " + "so" * 150 + "? <b id='html'>bold</b>")
        page.keyboard.press("Enter")
        page.locator(".measured", has_text="first sound after").wait_for()
        assert page.get_by_role("status").filter(has_text="The model is speaking").count() == 1
        page.keyboard.press("Escape")
        page.locator(".measured", has_text="interrupted").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert page.locator("#html").count() == 0
        assert page.locator(".question .text").text_content().endswith("<b id='html'>bold</b>")


def test_a_recording_is_asked_as_one_turn_and_the_conversation_is_saved(browser, server_url, spoken, tmp_path):
    soundfile.write(tmp_path / "name.flac", _as_a_turn(spoken["What is your name?"]), 16_000)
    with entered(browser, server_url) as page:
        page.locator("#choose:enabled").wait_for()
        page.locator("#file").set_input_files(tmp_path / "name.flac")
        page.locator(".measured", has_text="first sound after").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.locator(".measured", has_text="interrupted").wait_for()
        with page.expect_download() as text:
            page.get_by_role("button", name="Save text").click()
        with page.expect_download() as sound:
            page.get_by_role("button", name="Save sound").click()
        user, model = json.loads(Path(text.value.path()).read_text())["turns"]
        samples, rate_hz = soundfile.read(sound.value.path())
    assert (user["how"], model["text"], model["interrupted"]) == ("recording", "I am Wren.", True)
    assert rate_hz == RATE_HZ
    assert user["end_s"] == pytest.approx(len(spoken["What is your name?"]) / RATE_HZ + 0.5, abs=0.01)
    assert np.abs(samples[round(model["start_s"] * RATE_HZ) :, 1]).max() > 0.001


@pytest.mark.skipif("ANYTALK_RUN" not in os.environ, reason="ANYTALK_RUN names no run, such as out/quickstart/talker")
def test_the_quickstarts_model_answers_its_recordings_on_the_page(tmp_path):
    run = Path(os.environ["ANYTALK_RUN"])
    answers = json.loads((run.parent / "answers" / "evaluation.json").read_text())["answers"]
    asked = next(answer for answer in answers if answer["kind"] == "exact" and answer["text_right"])
    wave, rate_hz = soundfile.read(run.parent / "answers" / asked["question_audio"])
    soundfile.write(tmp_path / "question.wav", np.pad(wave, (rate_hz // 2, 60 * rate_hz)), rate_hz)
    with serving(run) as url, chromium(tmp_path / "question.wav") as browser, opened(browser, url) as page:
        page.locator("#talk:enabled").click()
        page.locator(".answer[data-status=completed]").wait_for(timeout=90_000)
        assert page.locator(".answer .text").text_content() == asked["reference"]
        assert page.evaluate("heard.peak") > 0.05
