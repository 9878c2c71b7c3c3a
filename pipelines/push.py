"""Put a finished dataset on the Hugging Face hub, in commits of some files: what is there already is not sent again.

What makes it a dataset, the card, manifest and checksums, comes in the last commit: a push that was interrupted leaves
shards that nothing refers to, and the same command goes on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anytalk.pipelines.dataset import Store
from anytalk.synth.errors import EngineError, SetupError
from anytalk.synth.wording import quantity

from .close import CARD, CHECKSUMS, MANIFEST, REPORT
from .progress import Quiet, Reporter

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

T = TypeVar("T")

FILES_OF_A_COMMIT = 64
FILES_AT_ONCE = 8
"""Large files that are sent side by side, and then told of."""
PATHS_OF_A_QUESTION = 500
LAST = (CARD, MANIFEST, CHECKSUMS)


@dataclass(frozen=True)
class Pushed:
    """What came of it."""

    repo: str
    url: str
    files_sent: int
    files_there: int
    """Files that were on the hub already, with the same bytes."""
    files_other: int
    """Files of the repository that this dataset does not have."""


def push(
    dataset: str | Path,
    repo: str,
    *,
    public: bool = False,
    api: "HfApi | None" = None,
    progress: Reporter | None = None,
) -> Pushed:
    """Send a finished dataset to a repository of the hub, which is made if there is none.

    Args:
        dataset: local folder of a finished dataset.
        repo: OWNER/NAME.
        public: make a new repository for everybody to see; one that is there stays as it is.
        api: the hub; by default that of HF_ENDPOINT, with the token of HF_TOKEN or of `hf auth login`.
        progress: who is told how far it is.

    Raises:
        SetupError: there is no finished dataset, or the hub refuses the name or the token.
        EngineError: the hub does not answer; the same call goes on.
    """
    folder, files = _files(dataset)
    from huggingface_hub import CommitOperationAdd, HfApi

    api, progress = api or HfApi(), progress or Quiet()
    progress.phase(f"asking what {repo} has")
    try:
        with hub_errors(repo):
            url = api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
            there = _there(api, repo, files)
            missing = [
                path for path in files if path not in there or not _is_same(folder / path, files[path], there[path])
            ]
            progress.start("files", len(files), len(files) - len(missing))
            for paths in _commits(missing):
                operations = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path) for path in paths]
                for some in _batched(operations, FILES_AT_ONCE):  # small files go with the commit
                    api.preupload_lfs_files(repo, some, repo_type="dataset", free_memory=False)
                    progress.advance(len(some))
                api.create_commit(
                    repo, operations, commit_message=f"Add {quantity(len(paths), 'file')}", repo_type="dataset"
                )
            other = {*api.list_repo_files(repo, repo_type="dataset")} - files.keys() - {".gitattributes"}
    finally:
        progress.stop()
    return Pushed(repo, str(url), len(missing), len(files) - len(missing), len(other))


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Say in a line what the hub refuses, without its client's progress bars, which would draw over ours.

    Args:
        repo: that is written to.

    Raises:
        SetupError: the hub refuses the name or the token.
        EngineError: the hub does not answer.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except HFValidationError as error:
        raise SetupError(f"{repo!r} cannot be the name of a repository: {_line(error)}") from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise SetupError(
                f"the hub refuses to write to {repo}: {_line(error)}; set HF_TOKEN to a token that may write there, "
                "or run: hf auth login"
            ) from error
        raise EngineError(f"the hub does not take {repo}: {_line(error)}; the same command goes on") from error
    except (httpx2.HTTPError, OSError, RuntimeError) as error:  # of connections; files that cannot be sent are the last
        raise EngineError(
            f"sending to {repo} broke off: {_line(error.__cause__ or error)}; the same command goes on"
        ) from error
    finally:
        if shown:
            enable_progress_bars()


def _files(dataset: str | Path) -> tuple[Path, dict[str, str]]:
    """Folder of a finished dataset, and the SHA-256 of its files by path."""
    store = Store(dataset)
    if not store.local:
        raise SetupError(f"{store} is remote; copy the dataset to a local folder")
    if not store.exists(MANIFEST) or not store.exists(CHECKSUMS):
        raise SetupError(f"{store} holds no finished dataset; run anytalk build first")
    lines = store.read(CHECKSUMS).decode().splitlines()
    files = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    folder = Path(store.root)
    for path in (CHECKSUMS, REPORT):
        if (folder / path).is_file():
            files[path] = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    if gone := [path for path in files if not (folder / path).is_file()]:
        raise SetupError(f"{store} lacks {gone[0]}; anytalk check says what else is wrong")
    return folder, files


def _there(api: "HfApi", repo: str, files: Iterable[str]) -> dict[str, "RepoFile"]:
    """Those of the files that the repository has."""
    from huggingface_hub.hf_api import RepoFile

    found: dict[str, Any] = {}
    for paths in _batched(files, PATHS_OF_A_QUESTION):
        for one in api.get_paths_info(repo, list(paths), repo_type="dataset"):
            if isinstance(one, RepoFile):
                found[one.path] = one
    return found


def _is_same(path: Path, digest: str, there: "RepoFile") -> bool:
    """Whether the hub has these bytes: of large files it knows the SHA-256, of others git's hash."""
    if there.lfs is not None:
        return bool(there.lfs.sha256 == digest)
    content = path.read_bytes()
    return bool(there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest())


def _commits(missing: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Files by commit; those that make it a dataset come last."""
    last = tuple(path for path in missing if path in LAST)
    yield from _batched([path for path in missing if path not in LAST], FILES_OF_A_COMMIT)
    if last:
        yield last


def _batched(paths: Iterable[T], count: int) -> Iterator[tuple[T, ...]]:
    """So many at a time; `itertools.batched` is of Python 3.12."""
    remaining = iter(paths)
    while some := tuple(islice(remaining, count)):
        yield some


def _line(error: BaseException) -> str:
    """First line of an error. The hub's name its request, never its token."""
    return str(error).strip().partition("\n")[0][:300]
