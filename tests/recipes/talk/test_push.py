"""A run's best checkpoint on the hub, by the command line's own way: what talks with it loads all that it names."""

import dataclasses
import json

import pytest
from huggingface_hub import HfApi
from support.command_line import anytalk
from support.hub_server import TOKEN, reading_hub
from support.talkers import write_talker

from anytalk.recipes.talk import Talker, Text, push_model
from anytalk.recipes.talk.load import load_engines, load_model
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.hearing import FakeWhisper

# The client warns of its own request.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with reading_hub(monkeypatch, tmp_path / "cache") as served:
        yield served


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "best").mkdir(parents=True)
    write_talker(tmp_path / "run" / "best", load_codec("bundled"), FakeWhisper())
    return tmp_path / "run"


def refuse(name):
    raise SetupError(f"{name} is not here")


def said(talker):
    pieces = [*talker.talk(Text("Who are you?"))]
    return [(piece.text, piece.codes.tolist()) for piece in pieces]


def test_a_talker_comes_from_the_hub_with_all_that_it_names(hub, run):
    found = push_model(run, "me/talker", api=HfApi(endpoint=hub.url, token=TOKEN))
    assert (found.repo, found.checkpoint) == ("me/talker", str(run / "best"))
    here, there = (Talker.from_pretrained(name, max_frames=3) for name in (run, "me/talker"))
    assert there.codec.fingerprint == here.codec.fingerprint
    assert said(there) == said(here)
    with pytest.raises(SetupError, match=r"me/nothing is no folder, and the hub did not give it either"):
        load_model("me/nothing")


def test_the_command_sends_a_run_and_another_talks_with_it(hub, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    sent = anytalk("push", run, "me/talker", "--public", "--json")
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["checkpoint"] == str(run / "best")
    assert hub.private["me/talker"] is False
    words = ["--text", "Who are you?", "--max-frames", "3", "--json"]
    here, there = (anytalk("talk", name, *words, cwd=tmp_path) for name in (run, "me/talker@main"))
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["text"] == json.loads(here.stdout)["text"]
    gone = anytalk("talk", "me/gone", *words, cwd=tmp_path)
    assert (gone.returncode, len(gone.stderr.splitlines())) == (2, 1)
    assert "me/gone is no folder, and the hub did not give it either" in gone.stderr


def test_what_cannot_be_pushed_is_one_line(hub, run, tmp_path):
    with pytest.raises(SetupError, match="is neither a checkpoint nor a training run"):
        push_model(tmp_path, "me/talker")
    with pytest.raises(SetupError, match=r"the hub refuses to write to me/talker"):
        push_model(run, "me/talker", api=HfApi(endpoint=hub.url, token="hf_wrong"))
    with pytest.raises(SetupError, match="cannot be the name of a repository"):
        push_model(run, "no spaces please", api=HfApi(endpoint=hub.url, token=TOKEN))
    with pytest.raises(EngineError, match=r"sending to me/talker broke off"):
        push_model(run, "me/talker", api=HfApi(endpoint="http://127.0.0.1:9", token=TOKEN))
    (run / "best" / "model.safetensors").unlink()
    with pytest.raises(SetupError, match=r"it has no model\.safetensors"):
        push_model(run, "me/talker", api=HfApi(endpoint=hub.url, token=TOKEN))
    assert hub.repos == {}


def test_a_codec_of_the_hub_is_asked_for_at_the_commit_that_the_checkpoint_names(run, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "anytalk.synth.codec.snac.hub_folder", lambda what, name, *_: asked.append(name) or refuse(name)
    )
    model = load_model(run)
    commit = "0123456789" * 4
    named = {"name": "someone/snac", "revision": commit, "sha256": "0"}
    model.config = dataclasses.replace(model.config, codec=named)
    with pytest.raises(SetupError, match=r"the checkpoint's codec someone/snac cannot be loaded; give --codec"):
        load_engines(model)
    assert asked == [f"someone/snac@{commit}"]
