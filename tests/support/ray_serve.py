"""A third-party server: Ray Serve on a cluster of its own, to which the shipped configuration is deployed.

python -m venv serving && serving/bin/pip install -c requirements/constraints.txt ".[serve,ray-serve]"
ANYTALK_TEST_RAY_SERVE=serving/bin/python pytest -m slow tests/recipes/serve/test_ray_serve.py
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

HOLDER = """
import logging, sys, ray
from ray import serve
# More processors than there are: old and new replicas are there side by side, and mostly wait.
started = ray.init("local", num_cpus=6, include_dashboard=True, log_to_driver=False, logging_level=logging.ERROR)
print(started.address_info["webui_url"], flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""

OPEN = {"RAY_AUTH_MODE": "disabled"}
"""For both: the dashboard listens on this machine only, for as long as the test takes."""


def python_of_ray_serve() -> str | None:
    """The interpreter that has Ray Serve and this package's dependencies, if there is one."""
    python = os.environ.get("ANYTALK_TEST_RAY_SERVE", sys.executable)
    command = [python, "-c", "import ray.serve, uvicorn, prometheus_client, torch"]
    return python if subprocess.run(command, capture_output=True).returncode == 0 else None


class Cluster:
    """A cluster with Ray Serve."""

    def __init__(self, python: str, dashboard: str) -> None:
        self._python, self._dashboard = python, f"http://{dashboard}"

    def deploy(self, configuration: Path) -> None:
        """Run `serve deploy`."""
        command = [self._python, "-m", "ray.serve.scripts", "deploy", str(configuration), "-a", self._dashboard]
        subprocess.run(command, check=True, capture_output=True, timeout=300, env=os.environ | OPEN)

    def application(self) -> dict[str, Any]:
        """Give what Ray Serve says of the application; nothing before it is known."""
        applications = httpx2.get(f"{self._dashboard}/api/serve/applications/", timeout=60).json()["applications"]
        found: dict[str, Any] = applications.get("anytalk", {})
        return found

    def replicas(self) -> dict[str, str]:
        """Give the state of each replica by its name."""
        deployments = self.application().get("deployments", {})
        replicas = deployments.get("anytalk", {}).get("replicas", [])
        return {replica["replica_id"]: replica["state"] for replica in replicas}


@contextlib.contextmanager
def ray_serve(python: str) -> Iterator[Cluster]:
    """Start a cluster and stop it, with all that was deployed."""
    with subprocess.Popen(
        [python, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | OPEN
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            dashboard = holder.stdout.readline().strip()
            assert dashboard, "Ray did not start"
            yield Cluster(python, dashboard)
        finally:
            holder.stdin.close()
            holder.wait(timeout=120)
