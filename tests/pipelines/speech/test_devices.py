"""A build gives its engines the recipe's device, refuses a GPU that is not there, and compares its kind."""

import json

import pytest
import torch
from support.gpus import pretend_gpus

from anytalk.pipelines import build
from anytalk.pipelines.dataset import made_with
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.speech import engine
from anytalk.pipelines.speech.pool import engines_of
from anytalk.synth.errors import SetupError


@pytest.fixture
def recipe(fake_sections):
    def with_resources(**resources):
        return Recipe.model_validate({**fake_sections, "resources": resources})

    return with_resources


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_gpu_that_is_not_there_stops_a_build_in_one_line_before_the_first_row(recipe, tmp_path):
    with pytest.raises(SetupError, match=r"^device cuda: there is no GPU in this process") as e:
        build(recipe(device="cuda"), tmp_path / "out", local=True)
    assert "\n" not in str(e.value)
    assert not list((tmp_path / "out").glob("units/*"))


def test_engines_are_loaded_on_the_device_of_the_recipe(recipe, monkeypatch):
    pretend_gpus(monkeypatch, 2)
    asked = {}

    def loads(name, real):
        def load(*arguments, **options):
            asked[name] = options.get("device") or arguments[-1]
            return real(*arguments, **{key: value for key, value in options.items() if key != "device"})

        return load

    loaders = ("load_voice", "load_whisper", "load_mos", "load_vad", "load_codec")
    for name in loaders:
        monkeypatch.setattr(engine, name, loads(name, getattr(engine, name)))
    monkeypatch.setattr(engine, "load_mos", loads("load_mos", lambda name, device: None))
    pools = engines_of(recipe(device="cuda:1")).pools
    for pool in pools.values():
        pool._make()
    assert asked == dict.fromkeys(loaders, "cuda:1")


def test_a_gpu_has_one_recogniser_and_a_cpu_one_for_each_core(recipe, monkeypatch):
    assert engines_of(recipe(device="cpu", hearing=3)).pools["hearing"]._free.qsize() == 3
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert engines_of(recipe(device="cpu")).pools["hearing"]._free.qsize() == 5
    pretend_gpus(monkeypatch, 1)
    assert engines_of(recipe()).pools["hearing"]._free.qsize() == 1
    assert engines_of(recipe(device="cpu")).pools["hearing"]._free.qsize() == 5


def test_the_kind_of_gpu_is_compared_and_not_part_of_a_units_key(recipe):
    on_cpu = {"codec": {"name": "snac"}, "voices": {"kokoro:x#af_heart": {"engine": "1"}}}
    on_gpu = json.loads(json.dumps(on_cpu))
    on_gpu["codec"]["device"] = on_gpu["voices"]["kokoro:x#af_heart"]["device"] = "NVIDIA H200 sm_90"
    both = [made_with.made_with_of(recipe(), prints, "x86_64") for prints in (on_cpu, on_gpu)]
    assert made_with.differences(*both)["codec.device"] == (None, "NVIDIA H200 sm_90")
    assert recipe(device="cpu").unit_identity() == recipe(device="auto").unit_identity()
    assert (made_with.gpus_of(on_cpu), made_with.gpus_of(on_gpu)) == ([], ["NVIDIA H200 sm_90"])
