"""The files that docs/clusters.md hands out: Ray takes one, the others name what there is, and the array builds all."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

from anytalk.pipelines import check

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "docs" / "clusters"


def test_ray_takes_the_file_for_ray_up():
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((FILES / "ray-up.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]


def test_the_job_for_kuberay_has_the_ray_that_is_tested_with():
    [pinned] = re.findall(r"^ray==(.+)$", (ROOT / "requirements" / "constraints.txt").read_text(), re.MULTILINE)
    job = yaml.safe_load((FILES / "rayjob.yaml").read_text())
    assert (job["kind"], job["spec"]["rayClusterSpec"]["rayVersion"]) == ("RayJob", pinned)
    assert job["spec"]["entrypoint"].startswith("anytalk build ")


@pytest.mark.slow
def test_the_tasks_of_the_array_make_all_of_the_dataset(fake_recipe, write_jsonl, tmp_path):
    pairs = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(12)]
    command = tmp_path / "bin" / "anytalk"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m anytalk.recipes "$@"\n')
    command.chmod(0o755)
    ours = {"RECIPE": str(fake_recipe(source=str(write_jsonl(pairs)))), "OUT": str(tmp_path / "out")}
    for task in (1, 2):
        slurm = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        path = f"{command.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", FILES / "build.sbatch"],
            env={**os.environ, **slurm, **ours, "PATH": path},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
    assert check(tmp_path / "out", workers=1).rows == 12
