"""A third-party chat server: `transformers serve`, with a tiny model of random weights.

    python -m venv serving && serving/bin/pip install torch==2.13.0 "transformers[serving]>=5.23"
    ANYTALK_TEST_SERVING=serving/bin/python pytest -m slow tests/synth/llm/test_chat_server.py

Nothing is downloaded: the model is written by the test, and the server is told that there is no hub.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

WAIT_S = 300
"""Until it answers: it imports torch and transformers first."""


def python_of_server() -> str | None:
    """The interpreter that has the server, if there is one."""
    python = os.environ.get("ANYTALK_TEST_SERVING", sys.executable)
    command = [python, "-c", "import accelerate, fastapi, openai, torch, transformers, uvicorn"]
    return python if subprocess.run(command, capture_output=True).returncode == 0 else None


def write_tiny_model(folder: Path) -> None:
    """Write a random Qwen2 of one layer that knows bytes and ChatML, and never ends by itself.

    ChatML it must be: of a Qwen2 the server looks for ChatML's opening of a turn, and where it finds none it sends the
    prompt back before the answer. Heads are 64 wide because vLLM on a CPU knows few other widths.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    marks = ["<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, *marks])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(marks)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=marks[1], pad_token=marks[1])
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    shape = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Qwen2Config(
        vocab_size=len(vocabulary), num_key_value_heads=2, max_position_embeddings=16384, eos_token_id=None, **shape
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


@contextlib.contextmanager
def transformers_serve(python: str, model: Path, log: Path) -> Iterator[str]:
    """Run the server; gives the base URL of its OpenAI-compatible endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "transformers.cli.transformers", "serve", str(model), "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=output, stderr=output, env=environment
        )
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.2)
    raise AssertionError(f"no answer within {WAIT_S} s: {log.read_text()[-3000:]}")
