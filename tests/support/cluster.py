"""A cluster of Ray on this machine that is its own process, so that tests and their subprocesses can share it."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil

HOLDER = """
import logging, sys, ray
started = ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
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


NODES = """
import os, random, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
draw = random.Random(1)
nodes = [cluster.add_node(num_cpus=1) for _ in range(int(sys.argv[1]))]
print("address", cluster.address, flush=True)
for _ in sys.stdin:
    lost = nodes.pop(draw.randrange(len(nodes)))
    lost.kill_raylet(check_alive=False)
    cluster.worker_nodes.discard(lost)
    nodes.append(cluster.add_node(num_cpus=1))
    print("lost", flush=True)
cluster.shutdown()
"""


@contextlib.contextmanager
def nodes(count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a cluster of so many raylets with a core each: its address, and what has it lose one and get another."""
    with subprocess.Popen(
        [sys.executable, "-c", NODES, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        lines = iter(holder.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("address "))

        def lose() -> None:
            assert holder.stdin is not None
            holder.stdin.write("lose\n")
            holder.stdin.flush()
            assert any(line.strip() == "lost" for line in lines)

        try:
            yield address, lose
        finally:
            holder.stdin.close()
            holder.wait()


def crew_processes(address: str) -> list[psutil.Process]:
    """Crews of a cluster of Ray on this machine: what its raylets started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [""])[0].startswith("ray::CrewActor"):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(address in part for part in process.parent().cmdline()):
                    found.append(process)
    return found
