"""Damaged files of every format end in a named error, within bounds of time and memory.

A few seconds each by default; `make fuzz SECONDS_=300` takes longer, with other inputs each time.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TARGETS = ["audio", "tables", "shards", "recipes", "checkpoints"]
SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
SEED = int(os.environ.get("FUZZ_SEED", time.time() if "FUZZ_SECONDS" in os.environ else 1))


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_refused_by_name(target, tmp_path):
    program = Path(__file__).with_name("targets.py")
    command = [sys.executable, str(program), target, str(SECONDS), str(SEED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5 * SECONDS + 300, check=False)
    if done.returncode:
        said = f"seed {SEED}: exit {done.returncode}; the input is in {tmp_path}\n{done.stderr[-3000:]}"
        pytest.fail(said, pytrace=False)
    assert json.loads(done.stdout.splitlines()[-1])["inputs"] > 3
