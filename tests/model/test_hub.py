"""A checkpoint on the hub is the checkpoint, read by its id with the hub's client; transformers knows it by name."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, constants
from support.hub_server import TOKEN, reading_hub
from transformers import AutoConfig, AutoModel, Qwen2Config

from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.hub import push_checkpoint
from anytalk.model.layout import Layout
from anytalk.model.network import MiniOmni

# The client warns of its own request.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")

LAYOUT = Layout(text_size=40, codebook_size=12, layers=7, text_specials=8, audio_specials=6)
SHAPE = Qwen2Config(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)
STREAMS = torch.tensor([[[LAYOUT.shift(3, i), LAYOUT.shift(5, i)] for i in range(7)] + [[7, 9]]])


def build(seed=0):
    torch.manual_seed(seed)
    fingerprints = {"feature": {"model": "small", "width": 10}, "codec": {"name": "snac", "revision": "1"}}
    config = MiniOmniConfig(LAYOUT, backbone_fields(SHAPE, LAYOUT), 10, adapter_hidden=20, stack=5, **fingerprints)
    return MiniOmni(config).eval()


def write(folder, seed=0):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    build(seed).save_pretrained(folder, [folder / "tokenizer.json"])
    return folder


def same(model, other):
    return torch.equal(model(STREAMS).text_logits, other(STREAMS).text_logits)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with reading_hub(monkeypatch, tmp_path / "cache") as served:
        yield served


def client(hub):
    return HfApi(endpoint=hub.url, token=TOKEN)


def test_a_pushed_model_is_read_by_its_id(hub, tmp_path):
    model = MiniOmni.from_pretrained(write(tmp_path / "run"))
    url = model.push_to_hub("me/talker", api=client(hub))
    assert url.endswith("/me/talker")
    assert hub.private["me/talker"] is True
    assert hub.repos["me/talker"].keys() == {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
    hub.repos["me/talker"]["pytorch_model.bin"] = hub.repos["me/talker"]["code.py"] = b"never read"
    [oid] = hub.revisions["me/talker"]
    hub.revisions["me/talker"][oid] = dict(hub.repos["me/talker"])
    found = MiniOmni.from_pretrained("me/talker")
    assert same(found, model)
    assert found.config == model.config
    assert (found.folder / "tokenizer.json").read_bytes() == b'{"version": "1.0"}'
    assert sorted(hub.read) == ["config.json", "model.safetensors", "tokenizer.json"]
    again = tmp_path / "again"
    found.save_pretrained(again)
    assert sorted(path.name for path in again.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert same(MiniOmni.from_pretrained(again), model)


def test_the_card_says_what_the_model_was_made_with_and_is_not_overwritten(hub, tmp_path):
    folder = write(tmp_path / "run")
    push_checkpoint(folder, "me/talker", private=False, api=client(hub))
    assert hub.private["me/talker"] is False
    card = ModelCard(hub.repos["me/talker"]["README.md"].decode())
    assert card.data.library_name == "anytalk"
    assert card.data.license is None
    assert "| Whisper | small (width 10) |" in card.text
    assert "| codec | snac (revision 1) |" in card.text
    assert "anytalk talk me/talker question.wav" in card.text
    hub.repos["me/talker"]["README.md"] = b"---\nlicense: mit\n---\nmine"
    push_checkpoint(write(folder, seed=1), "me/talker", api=client(hub))
    assert hub.repos["me/talker"]["README.md"] == b"---\nlicense: mit\n---\nmine"
    (folder / "README.md").write_text("---\nlicense: mit\n---\nthe run")
    push_checkpoint(folder, "me/talker", api=client(hub))
    assert hub.repos["me/talker"]["README.md"] == b"---\nlicense: mit\n---\nthe run"


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, tmp_path):
    for seed in (0, 1):
        push_checkpoint(write(tmp_path / "run", seed), "me/talker", api=client(hub))
    first, second = hub.revisions["me/talker"]
    hub.revisions["me/talker"]["v1"] = hub.revisions["me/talker"][first]
    assert same(MiniOmni.from_pretrained("me/talker"), build(1))
    assert same(MiniOmni.from_pretrained("me/talker", revision="v1"), build(0))
    assert same(MiniOmni.from_pretrained("me/talker@v1"), build(0))
    assert same(MiniOmni.from_pretrained(f"me/talker@{second}"), build(1))
    with pytest.raises(
        ValueError, match=r"me/talker@v9 is no folder, and the hub did not give it either .*Revision Not Found"
    ):
        MiniOmni.from_pretrained("me/talker@v9")
    with pytest.raises(ValueError, match="is a folder, and has no revision 'v1'"):
        MiniOmni.from_pretrained(tmp_path / "run", revision="v1")


def test_offline_what_is_cached_is_read_and_what_is_not_is_one_clear_error(hub, tmp_path, monkeypatch):
    push_checkpoint(write(tmp_path / "run"), "me/talker", api=client(hub))
    MiniOmni.from_pretrained("me/talker")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(MiniOmni.from_pretrained("me/talker"), build())
    with pytest.raises(ValueError, match=r"me/other is no folder, .*outgoing traffic.*go online, set HF_ENDPOINT"):
        MiniOmni.from_pretrained("me/other")


def test_pickled_weights_are_not_read(hub, tmp_path):
    folder = write(tmp_path / "run")
    push_checkpoint(folder, "me/talker", api=client(hub))
    [oid] = hub.revisions["me/talker"]
    files = hub.repos["me/talker"] = hub.revisions["me/talker"][oid]
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    with pytest.raises(ValueError, match=r"it has no model\.safetensors"):
        MiniOmni.from_pretrained("me/talker")
    assert "pytorch_model.bin" not in hub.read


def test_transformers_knows_it_without_code_of_ours_in_the_folder(tmp_path):
    folder = write(tmp_path / "run")
    config = AutoConfig.from_pretrained(folder)
    assert (config.model_type, config.stack, config.codec["name"]) == ("anytalk_mini_omni", 5, "snac")
    assert config.mini_omni == MiniOmni.from_pretrained(folder).config
    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    assert isinstance(model, MiniOmni)
    assert model.audio_head.weight.dtype is torch.bfloat16
    assert same(AutoModel.from_pretrained(folder), build())
    assert AutoModel.from_config(config).config == config.mini_omni
    with pytest.raises(TypeError, match="device_map"):
        AutoModel.from_pretrained(folder, device_map="auto")


def test_a_checkpoint_from_before_is_read(tmp_path):
    folder = write(tmp_path / "run")
    values = json.loads((folder / "config.json").read_text())
    older = {key: value for key, value in values.items() if key not in ("model_type", "architectures")}
    Path(folder, "config.json").write_text(json.dumps(older))
    assert same(MiniOmni.from_pretrained(folder), build())
