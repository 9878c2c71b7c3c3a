"""Answers kept by the content of their request, so that no question is paid for twice.

One SQLite file, because it stays whole when its writer is killed in the middle of a write; it belongs on a local disk.
It is only ever added to, and each answer is in it before it is used. It holds neither keys nor headers.
"""

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from anytalk.synth.errors import SetupError
from anytalk.synth.seed import digest


def answer_key(
    server: str,
    model: str,
    messages: Sequence[Mapping[str, str]],
    sampling: Mapping[str, Any],
    seed: int,
    schema: Mapping[str, Any] | None,
) -> str:
    """Name of a request: whatever can change its answer, and nothing else.

    Args:
        server: what answers: two servers may call different models by one name.
        model: name of the model.
        messages: role and content of each.
        sampling: temperature, longest answer and so on.
        seed: of the sampling.
        schema: JSON schema of the answer.
    """
    content = [server, model, [dict(message) for message in messages], dict(sampling), seed, schema]
    return digest(json.dumps(content, sort_keys=True))


class AnswerCache:
    """Answers on disk, by the name of their request.

    Args:
        path: the file, made if there is none.

    Raises:
        SetupError: the file is no such cache, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # Answers are put in by the threads that read them.
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Each statement is its own transaction; another run that writes at the same time is waited for.
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            # A write-ahead log: an answer survives the death of its process, without a wait for the disk each time.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID")
            self._db.execute("SELECT key, answer FROM answers LIMIT 1")
        except (sqlite3.Error, OSError) as error:
            raise SetupError(f"{path} cannot keep answers: {error}; name another file") from error

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, if it is there."""
        with self._lock:
            row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer; the first one for a request stays.

        Raises:
            SetupError: the file cannot be written any more.
        """
        try:
            with self._lock:
                self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))
        except sqlite3.Error as error:
            raise SetupError(f"{self.path} cannot keep any more answers: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> "AnswerCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
