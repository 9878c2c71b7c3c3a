"""An object store on this machine that fails now and then: `faulty:///folder` is the folder, without a disk's renames.

While a file `cut` lies beside the folder (`/folder.cut`), nothing gets through at all.
"""

import os
import random
import secrets
from pathlib import Path
from typing import Any

import fsspec

RATE = 0.1
"""Of the requests that fail."""


class FaultyFileSystem(fsspec.AbstractFileSystem):
    """Files of a folder behind requests, some of which fail as those to a busy store do."""

    protocol = "faulty"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.draw = random.Random(os.environ.get("FAULTY_SEED", "1"))

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("faulty://").strip("/")

    def _request(self, path: str) -> Path:
        folder = Path(path)
        if any(Path(f"{parent}.cut").exists() for parent in (folder, *folder.parents[:-1])):
            raise ConnectionError("the network is unreachable")
        if self.draw.random() < RATE:
            raise OSError("503 Slow Down")
        return folder

    def exists(self, path: str, **options: Any) -> bool:
        return self._request(path).exists()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        return self._request(path).read_bytes()[start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        file = self._request(path)
        # Whole or not at all, as an object store has it; what is under way lies elsewhere.
        part = Path(os.environ["FAULTY_PARTS"]) / secrets.token_hex(8)
        part.write_bytes(value)
        try:
            if mode == "create":
                os.link(part, file)
            else:
                part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        if self.draw.random() < RATE:
            raise TimeoutError("the request was carried out, and its answer was lost")

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def get_file(self, rpath: str, lpath: Any, **options: Any) -> None:
        Path(lpath).write_bytes(self.cat_file(rpath))

    def rm_file(self, path: str) -> None:
        self._request(path).unlink()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        Path(path).mkdir(parents=True, exist_ok=exist_ok)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        file = self._request(path)
        kind = "directory" if file.is_dir() else "file"
        return {"name": path, "size": file.stat().st_size, "type": kind}

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **o: Any
    ) -> Any:
        folder = self._request(path)
        found = {str(file): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}
        return {name: {"name": name, "size": size, "type": "file"} for name, size in found.items()}


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
