"""The Realtime API, asked by a bot of Pipecat."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.pipecat_client import converse, python_of_pipecat
from support.serving import pcm_of, serving

from anytalk.recipes.serve.sound import Incoming
from anytalk.recipes.talk import pcm16

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python():
    found = python_of_pipecat()
    if found is None:
        pytest.skip("no Pipecat; tests/support/pipecat_client.py says how to install it")
    return found


@pytest.fixture(scope="module")
def question(speech_24k, tmp_path_factory):
    path = tmp_path_factory.mktemp("question") / "question.wav"
    soundfile.write(path, pcm16(speech_24k), 24_000, subtype="PCM_16")
    return path


def kinds(frames):
    """What the bot saw, without the pieces of text and sound, of which some come in any order."""
    return [frame["kind"] for frame in frames if frame["kind"] not in ("TTSText", "TTSAudioRaw", "Transcription")]


def answer(frames):
    sound = pcm_of(frame["audio"] for frame in frames if frame["kind"] == "TTSAudioRaw")
    return "".join(frame["text"] for frame in frames if frame["kind"] == "TTSText"), sound.tolist()


def test_the_snippet_of_the_documentation_runs(python):
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()
    [snippet] = [block for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if "pipecat" in block]
    done = subprocess.run([python, "-c", snippet], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


HEARD = ["UserStartedSpeaking", "UserStoppedSpeaking"]
ANSWERED = ["TTSStarted", "TTSStopped", "LLMFullResponseEnd"]


def test_a_spoken_question_is_heard_transcribed_and_answered(python, served, question):
    frames = converse(python, served.websocket_url, question, "detected")
    assert kinds(frames) == [*HEARD, *ANSWERED]
    assert [frame["kind"] for frame in frames].count("Transcription") == 1
    assert {frame["rate_hz"] for frame in frames if frame["kind"] == "TTSAudioRaw"} == {24_000}
    text, sound = answer(frames)
    assert text
    assert len(sound) == 9 * 2048


def test_a_bot_that_finds_turns_itself_gets_the_answer_of_talk(python, served, question, talker, speech_24k):
    frames = converse(python, served.websocket_url, question, "manual")
    assert kinds(frames) == [*HEARD, *ANSWERED]
    at_16k = Incoming().push(pcm16(speech_24k) / np.float32(32768), last=True)
    pieces = [*talker.talk((at_16k, 16_000))]
    said = "".join(piece.text for piece in pieces), pcm16(np.concatenate([piece.pcm for piece in pieces])).tolist()
    assert answer(frames) == said


def test_a_bot_that_speaks_first_is_answered_before_it_hears_anything(python, served, question):
    frames = converse(python, served.websocket_url, question, "greeting")
    assert kinds(frames) == [*ANSWERED, *HEARD, *ANSWERED]


def test_what_cannot_be_answered_is_told_and_does_not_end_the_conversation(python, served, question):
    frames = converse(python, served.websocket_url, question, "unasked")
    assert kinds(frames) == ["Error", "LLMFullResponseEnd", *HEARD, *ANSWERED]


def test_speaking_over_an_answer_stops_it(python, long_talker, question):
    with serving(long_talker) as served:
        frames = converse(python, served.websocket_url, question, "interrupted")
        assert served.guard.sessions.taken == 0
    assert kinds(frames)[:3] == [*HEARD, "TTSStarted"]
    assert kinds(frames).count("UserStartedSpeaking") == kinds(frames).count("TTSStarted") == 2
    assert len(answer(frames)[1]) < 2 * 390 * 2048  # neither of the two was said to its end
