"""A tiny talker that never stops by itself, and a server for it."""

import numpy as np
import pytest
from support.serving import serving
from support.talkers import write_talker

from anytalk.model import MiniOmni
from anytalk.recipes.talk import Talker
from anytalk.synth.codec import load_codec
from anytalk.synth.hearing import FakeWhisper
from anytalk.synth.threads import torch_threads
from anytalk.synth.voice import SpeakRequest, load_voice

FRAMES = 9


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory):
    return write_talker(tmp_path_factory.mktemp("checkpoint"), load_codec("fake"), FakeWhisper())


@pytest.fixture(scope="package")
def talker(checkpoint):
    with torch_threads(1):
        yield Talker(MiniOmni.from_pretrained(checkpoint), load_codec("fake"), FakeWhisper(), max_frames=FRAMES)


@pytest.fixture(scope="package")
def long_talker(checkpoint):
    """It speaks as long as it has positions: some hundred frames, half a minute."""
    return Talker(MiniOmni.from_pretrained(checkpoint), load_codec("fake"), FakeWhisper())


@pytest.fixture(scope="module")
def served(talker):
    with serving(talker) as running:
        yield running


@pytest.fixture(scope="package")
def speech_24k():
    """One and a half seconds of a voice, with silence before and after."""
    voice = load_voice("hibari:heart")
    [spoken] = voice.speak([SpeakRequest("How far is it to the sea?", seed=0)])
    assert voice.sample_rate_hz == 24_000
    silence = np.zeros(12_000, np.float32)
    return np.concatenate([silence, spoken, silence, silence])
