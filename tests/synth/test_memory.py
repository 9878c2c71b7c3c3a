"""Freed memory is used again instead of being mapped anew."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from anytalk.synth.memory import keep_freed_memory

kept = sys.argv[1] == "kept" and keep_freed_memory()
for _ in range(2):  # the first round asks the system for it
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(16_000_000, np.float32)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    kept, count = done.stdout.split()
    return int(kept), int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_large_array_takes_pages_that_were_freed():
    kept, again = faults("kept")
    if not kept:
        pytest.skip("this C library has no such setting")
    _, anew = faults("default")
    assert again < 100 < anew
