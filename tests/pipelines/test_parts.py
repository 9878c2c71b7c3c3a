"""Parts of a build on one folder: together they make what one build makes, in whatever order and however often."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from support.command_line import anytalk

from anytalk.pipelines import build, check
from anytalk.pipelines.part import part_of
from anytalk.synth.errors import SetupError

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(20)]


def rows(folder):
    """Bytes of everything but times: sidecars hold those, and manifest and checksums follow from them."""
    files = [path for part in ("shards", "rejects", "plan") for path in (folder / part).glob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*files, folder / "README.md"]}


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def recipe(fake_recipe, write_jsonl):
    return fake_recipe(source=str(write_jsonl(PAIRS)))


@pytest.mark.parametrize("wrong", ["0/16", "17/16", "3", "3/", "a/b", "-1/4", "1/0", "1.5/2", "3 / 16"])
def test_what_is_no_part_is_refused_in_one_line(recipe, tmp_path, wrong):
    with pytest.raises(SetupError, match=r"must be NUMBER/COUNT.*such as 3/16") as caught:
        build(recipe, tmp_path / "out", part=wrong)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_parts_are_every_nth_unit_and_share_out_all():
    assert list(part_of("2/3").units(8)) == [1, 4, 7]
    assert sorted(n for i in range(1, 8) for n in part_of(f"{i}/7").units(20)) == list(range(20))
    assert list(part_of("7/7").units(3)) == []


def test_a_part_makes_its_units_says_what_is_missing_and_the_last_one_closes(recipe, tmp_path):
    build(recipe, tmp_path / "whole", local=True)
    done = anytalk("build", recipe, "--out", tmp_path / "out", "--part", "2/3")
    assert done.returncode == 0, done.stderr
    assert "part 2/3 done; 2 of 5 units of the dataset are there" in done.stdout
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert sorted(path.name[:6] for path in (tmp_path / "out" / "units").iterdir()) == ["000001", "000004"]
    again = build(recipe, tmp_path / "out", part="2/3")
    assert (again.part, again.complete, again.well, again.units_there, again.units) == ("2/3", False, True, 2, 5)
    build(recipe, tmp_path / "out", part="1/3")
    last = build(recipe, tmp_path / "out", part="3/3")
    assert (last.complete, last.well, last.rows_accepted) == (True, True, 20)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    assert names(tmp_path / "out") == names(tmp_path / "whole")
    assert check(tmp_path / "out").problems == []


def test_more_parts_than_units_and_an_object_store_do_no_harm(recipe, tmp_path):
    url = f"memory://{tmp_path.name}"
    assert build(recipe, url, part="9/9").part_done
    for number in range(1, 9):
        summary = build(recipe, url, part=f"{number}/9")
        assert summary.complete == (number >= 5)
    assert check(url).problems == []


@pytest.mark.slow
def test_processes_that_start_at_once_agree_on_a_plan_and_give_the_bytes_of_one(recipe, tmp_path):
    command = [sys.executable, "-m", "anytalk.recipes", "build", str(recipe), "--out", str(tmp_path / "out"), "--json"]
    parts = [
        subprocess.Popen([*command, "--part", f"{number}/3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in (1, 2, 3)
    ]
    ends = [part.communicate(timeout=300) for part in parts]
    assert [part.returncode for part in parts] == [0, 0, 0], [errors for _, errors in ends]
    assert any(json.loads(told)["complete"] for told, _ in ends)
    build(recipe, tmp_path / "whole", local=True)
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    assert names(tmp_path / "out") == names(tmp_path / "whole")
    assert check(tmp_path / "out").problems == []


def test_a_part_whose_units_are_deferred_is_not_done(recipe, tmp_path):
    summary = build(recipe, tmp_path / "out", part="1/2", **{"resources.hours": 1e-9})
    assert (summary.part_done, summary.well) == (False, False)


def test_texts_of_a_language_model_are_asked_for_by_the_first_part_alone(fake_sections, tmp_path):
    endpoint = {"base_url": "http://localhost:1/v1", "model": "tiny"}
    source = {"kind": "llm", "endpoint": endpoint, "ask": {"conversations": 2}}
    (tmp_path / "asks.yaml").write_text(yaml.safe_dump(fake_sections | {"source": source}))
    with pytest.raises(SetupError, match=r"asks a language model: start part 1/4 first"):
        build(tmp_path / "asks.yaml", tmp_path / "out", part="2/4")


def test_closing_twice_at_once_does_no_harm(recipe, tmp_path):
    build(recipe, tmp_path / "out", local=True)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for name in ("SHA256SUMS", "dataset.json", "README.md"):
        (tmp_path / "out" / name).unlink()
    with ThreadPoolExecutor() as pool:
        summaries = list(
            pool.map(lambda part: build(recipe, tmp_path / "out", part=part), ["1/4", "2/4", "3/4", "4/4"])
        )
    assert all(summary.complete for summary in summaries)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
