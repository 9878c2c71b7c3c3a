"""Builds that are killed, cut off or out of disk end with the bytes of an undisturbed one, and leave nothing else."""

import json
import os
import sys
import time
from collections import Counter

import pytest
import yaml
from support.chaos import Chaos
from support.cluster import crew_processes, nodes

from anytalk.pipelines import build, check

ROWS = [
    {"question": f"Question number {n}?" if n % 4 else f"[unspeakable] {n}", "answer": f"Answer number {n}."}
    for n in range(72)
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, fake_sections):
    """A recipe, of which one row in four is rejected, and an undisturbed build of it."""
    folder = tmp_path_factory.mktemp("chaos")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    resources = {"units_in_flight": 2, "cpus": 0.5, "crews": 3}
    sections = {"source": str(folder / "pairs.jsonl"), "clean": {"refuse_unspeakable": False}, "resources": resources}
    sections |= {"shards": {"unit_rows": 2}}
    (folder / "chaos.yaml").write_text(yaml.safe_dump(fake_sections | sections))
    build(folder / "chaos.yaml", folder / "whole", local=True)
    assert check(folder / "whole").problems == []
    return folder


@pytest.mark.slow
def test_a_build_that_is_disturbed_now_and_then_ends_with_the_same_bytes(undisturbed):
    chaos = Chaos(undisturbed / "chaos.yaml", undisturbed / "whole", undisturbed / "short", seed=1)
    chaos.disturb(Counter(driver=4, two=1, both=1, disk=1, cut=1))


@pytest.mark.slow
@pytest.mark.skipif("ANYTALK_CHAOS" not in os.environ, reason="takes many minutes: make chaos")
def test_a_build_that_is_disturbed_more_than_fifty_times_ends_with_the_same_bytes(undisturbed, monkeypatch, capsys):
    started = time.monotonic()
    with nodes(3) as (address, lose_node):
        monkeypatch.setenv("RAY_ADDRESS", address)
        chaos = Chaos(
            undisturbed / "chaos.yaml",
            undisturbed / "whole",
            undisturbed / "long",
            seed=int(os.environ["ANYTALK_CHAOS"]),
            crews=lambda: crew_processes(address),
            lose_node=lose_node,
        )
        chaos.disturb(Counter(driver=30, two=8, both=2, disk=4, cut=6, crew=8, raylet=4))
    with capsys.disabled():
        sys.stdout.write(f"\n{dict(chaos.done)}: {chaos.rounds} datasets in {time.monotonic() - started:.0f} s\n")
