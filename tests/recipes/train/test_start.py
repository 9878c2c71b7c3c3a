"""What a run starts from: codes that begin alike where the codec that the datasets were encoded with has them near."""

import numpy as np
import pytest
import torch
from support.training import MODEL, SHAPE, a_recipe
from torch.nn import functional

from anytalk.recipes.data.rows import read_encoding, shard_paths
from anytalk.recipes.data.tokenizer import load_tokenizer
from anytalk.recipes.train.folder import claim_folder
from anytalk.recipes.train.start import start_model
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SetupError

WIDE = MODEL | {"shape": SHAPE | {"hidden_size": 256}}


@pytest.fixture
def start(write_dataset, tmp_path):
    """Start a model on a tiny dataset of some codec."""

    def started(name, codec, **model):
        features = {"model": "none", "width": 16}
        folder = write_dataset(name, fingerprints={"codec": codec, "features": features})
        recipe = a_recipe(folder, model=WIDE | model)
        claim_folder(recipe, tmp_path / f"run-{name}")
        tokenizer = load_tokenizer(tmp_path / f"run-{name}/tokenizer")
        return start_model(recipe.model, read_encoding(shard_paths(str(folder), "train")), tokenizer, 1)

    return started


def test_codes_begin_alike_where_they_are_near_in_the_codebook(start):
    codec = load_codec("bundled")
    alike, random = (start(codes, codec.fingerprint, codes=codes) for codes in ("codebook", "random"))
    for level, layer in ((0, 0), (1, 4), (2, 3)):
        order = np.argsort(codec.codebooks[level] @ -codec.codebooks[level][7])
        for table in ("audio_embedding", "audio_head"):
            rows = getattr(alike, table).weight.unflatten(0, (7, -1))[layer, :4096]
            to_all = functional.cosine_similarity(rows[7], rows[torch.from_numpy(order)], dim=1)
            assert to_all[1:9].mean() > 0.5, (level, table)
            assert to_all[3000:].mean() < 0.2, (level, table)
    before, after = random.state_dict(), alike.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"audio_embedding.weight", "audio_head.weight"}


def test_a_codec_that_is_not_here_is_named(start):
    strange = {"name": "mine.safetensors", "revision": "1", "sha256": "0" * 64}
    assert start("random", strange)
    with pytest.raises(SetupError, match=r"takes the datasets' codec; or set random: .*mine\.safetensors"):
        start("strange", strange, codes="codebook")
