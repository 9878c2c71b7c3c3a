"""A cluster of Ray on this machine that is its own process, so that tests and their subprocesses can share it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

HOLDER = """
import logging, sys, ray
started = ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
print(started.address_info["address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """Start a cluster, give its address, and stop it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            address = holder.stdout.readline().strip()
            assert address, "Ray did not start"
            yield address
        finally:
            holder.stdin.close()
            holder.wait()
