"""Store what rows hold inside a table: audio bytes, codes, pieces of long recordings.

A row of a table cannot be read again by itself, least of all from a stream. So while the plan is made its audio goes
into packs beside it, from where any worker reads it in its turn; the source is read once. A pack is an Arrow file with
batches of one row. When a dataset is finished its packs are deleted with everything else that no sidecar names.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from anytalk.pipelines.dataset import CODE_LAYERS, Store, arrow_bytes, read_url, store_at
from anytalk.synth.errors import EngineError, SampleError
from anytalk.synth.fingerprint import file_sha256, sha256
from anytalk.synth.remote import is_url, name_of

from .pair import Recording

PACK_BYTES = 64 * 2**20
PACK_ROWS = 4096
_SCHEMA = pa.schema([("content", pa.binary())])


class Attachments:
    """Writes packs; `close` writes the last one.

    The same source gives the same packs, so that a plan that was interrupted overwrites its own.

    Args:
        store: the dataset; None to name what would be stored and write nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._number = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def add(self, content: bytes, name: str, holds: Literal["audio", "codes"] = "audio") -> Recording:
        """Store some bytes.

        Args:
            content: a file of audio, or codes as `codes_bytes` writes them.
            name: what rows will say of it.
            holds: which of the two it is.
        """
        recording = Recording(name, sha256(content), self._path(), len(self._waiting), holds)
        self._waiting.append(content)
        self._waiting_bytes += len(content)
        if len(self._waiting) == PACK_ROWS or self._waiting_bytes >= PACK_BYTES:
            self.close()
        return recording

    def close(self) -> None:
        """Write what has not been written yet."""
        if self._waiting:
            if self._store is not None:
                table = pa.table([pa.array(self._waiting, pa.binary())], schema=_SCHEMA)
                self._store.write(self._path(), arrow_bytes(table, batch_rows=1))
            self._number, self._waiting, self._waiting_bytes = self._number + 1, [], 0

    def _path(self) -> str:
        return f"plan/kept-{self._number:06d}.arrow"


def of_file(path: Path) -> Recording:
    """Name a recording that is a file of its own; it stays where it is."""
    return Recording(path.name, file_sha256(path), str(path))


def of_url(url: str) -> Recording:
    """Name a recording at a URL; it stays where it is.

    Raises:
        SampleError: `missing_audio`: there is none.
        StorageError: it cannot be read now.
    """
    try:
        return Recording(str(name_of(url)), sha256(read_url(url)), url)
    except FileNotFoundError:
        raise SampleError("missing_audio", f"recording {url} does not exist") from None


def read_recording(recording: Recording) -> bytes:
    """Read a recording again.

    Raises:
        EngineError: it cannot be read now, or has changed since the plan was made.
    """
    try:
        if recording.row is None:
            content = read_url(recording.path) if is_url(recording.path) else Path(recording.path).read_bytes()
        else:
            content = _of_pack(recording.path, recording.row)
    except (OSError, pa.ArrowInvalid, IndexError) as error:
        advice = "" if recording.row is None else "; a finished dataset keeps none: build into another folder"
        raise EngineError(f"recording {recording.path} cannot be read now ({error}){advice}") from error
    if sha256(content) != recording.sha256:
        raise EngineError(f"recording {recording.path} has changed since the plan was made")
    return content


def _of_pack(path: str, row: int) -> bytes:
    """One row of a pack; of a pack in a bucket, only what it takes is read."""
    store, name = store_at(path)
    return store.look(name, lambda file: bytes(pa.ipc.open_file(file).get_batch(row)["content"][0].as_py()))


def codes_bytes(codes: np.ndarray) -> bytes:
    """Write codes (frames, 7) as little-endian 16-bit integers, row by row."""
    return codes.astype("<u2").tobytes()


def codes_of(content: bytes) -> np.ndarray:
    """Undo `codes_bytes`: (frames, 7), uint16."""
    return np.frombuffer(content, "<u2").astype(np.uint16).reshape(-1, CODE_LAYERS)
