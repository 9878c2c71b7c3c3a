"""The Realtime API, asked by LiveKit's plugin for OpenAI."""

import pytest
import soundfile
from support.livekit_client import converse, python_of_livekit

from anytalk.recipes.talk import Text, pcm16

pytestmark = pytest.mark.slow


def test_a_session_hears_answers_and_keeps_its_conversation_in_order(served, talker, speech_24k, tmp_path):
    python = python_of_livekit()
    if python is None:
        pytest.skip("no LiveKit; tests/support/livekit_client.py says how to install it")
    soundfile.write(tmp_path / "question.wav", pcm16(speech_24k), 24_000, subtype="PCM_16")
    found = converse(python, f"{served.url}/v1", tmp_path / "question.wav")
    heard = ["input_speech_started", "input_speech_stopped"]
    assert [kind for kind in found["told"] if kind in (*heard, "error")] == heard * 2
    assert found["told"].count("input_audio_transcription_completed") == 2
    assert [samples for _, samples, _ in found["answers"]] == [9 * 2048] * 3
    assert all(modalities == ["audio", "text"] for _, _, modalities in found["answers"])
    assert found["answers"][2][0] == "".join(piece.text for piece in talker.talk(Text("Who are you?")))
    assert found["roles"] == ["assistant", "user", "assistant", "user", "assistant"]
