"""The command line in this process: its output and exit code, without starting Python and importing torch anew."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from anytalk.recipes.cli.main import main

PLAIN = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
"""Environment of a terminal that is wide and knows no colours."""


def anytalk(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `anytalk ARGUMENTS` as its entry point does.

    Args:
        arguments: words of the command, turned into text.
        cwd: folder to run in; this process's own by default.

    Returns:
        Exit code, and what was written to standard output and standard error, as text.
    """
    words = list(map(str, arguments))
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code: object = 0
    handler = signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.object(sys, "argv", ["anytalk", *words]),
        mock.patch.dict(os.environ, PLAIN),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, handler)  # The command line takes it for its process.
    assert code is None or isinstance(code, int), code
    return subprocess.CompletedProcess(["anytalk", *words], code or 0, *map(_written, (stdout, stderr)))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(errors="replace")
