"""A server that speaks as much of the Hugging Face hub's protocol as sending files and reading a repository take."""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from huggingface_hub import constants

TOKEN = "hf_of_a_test"
LARGE_BYTES = 20_000
"""Larger files go through LFS, as on the hub do those that are binary or over 10 MB."""


class Hub:
    """What the server holds."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.revisions: dict[str, dict[str, dict[str, bytes]]] = {}
        """Files of each repository at each commit; tests add branches and tags."""
        self.read: list[str] = []
        """Files that were downloaded."""
        self.fail_commits = 0
        """How many of the next commits are answered with 503."""
        self.url = ""


def git_oid(content: bytes) -> str:
    """Hash of a blob in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _described(self, path: str, content: bytes) -> dict[str, Any]:
        found = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if len(content) < LARGE_BYTES:
            return found
        return found | {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}

    def do_HEAD(self) -> None:
        self._file(with_content=False)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        repo = "/".join(path.split("/")[3:5])
        if "/resolve/" in path:
            self._file(with_content=True)
        elif "/tree/" in path and repo in self.hub.repos:
            files = self._at(repo, path.partition("/tree/")[2])
            self._answer([self._described(name, content) for name, content in files.items()])
        elif "/revision/" in path and self._at(repo, path.partition("/revision/")[2]) is not None:
            oid = self._commit_of(repo, path.partition("/revision/")[2])
            self._answer({"id": repo, "sha": oid, "siblings": [], "tags": [], "private": True})
        else:
            self.send_response(404)
            missing = "RevisionNotFound" if repo in self.hub.repos else "RepoNotFound"
            self.send_header("X-Error-Code", missing)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _at(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """Files of a repository at a revision; those of today where nobody asks for another."""
        revisions = self.hub.revisions.get(repo, {})
        return revisions.get(revision, self.hub.repos.get(repo) if revision in ("main", "") else None)

    def _commit_of(self, repo: str, revision: str) -> str:
        files = self._at(repo, revision)
        found = (oid for oid, there in self.hub.revisions[repo].items() if there == files and len(oid) == 40)
        return next(found)

    def _file(self, *, with_content: bool) -> None:
        repo, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = (self._at(repo, revision) or {}).get(name)
        if content is None:
            self._answer({"error": "not found"}, 404)
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", self._commit_of(repo, revision))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.hub.read.append(name)
            self.wfile.write(content)

    def do_PUT(self) -> None:
        oid, content = self.path.rpartition("/")[2], self._body()
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.large[oid] = content
        self._answer({})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if "objects" not in path and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid user token."}, 401)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            self._answer({"errors": [], "warnings": []} if yaml.safe_load(card.split("---")[1]) else {}, 200)
        elif path.endswith("/objects/batch"):
            self._answer({"transfer": "basic", "objects": [self._upload(one) for one in json.loads(body)["objects"]]})
        else:
            repo, action = "/".join(path.split("/")[3:5]), path.split("/")[5]
            {"preupload": self._modes, "commit": self._commit, "paths-info": self._paths}[action](repo, body)

    def _create(self, asked: dict[str, Any]) -> None:
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if repo in self.hub.repos:
            self._answer({"error": "exists", "url": f"{self.hub.url}/datasets/{repo}"}, 409)
            return
        self.hub.repos[repo] = {}
        self.hub.private[repo] = asked.get("private") or asked.get("visibility") == "private"
        self._answer({"url": f"{self.hub.url}/datasets/{repo}"})

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        if one["oid"] in self.hub.large:
            return one
        return one | {"actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}"}}}

    def _modes(self, repo: str, body: bytes) -> None:
        files = json.loads(body)["files"]
        modes = ["lfs" if one["size"] >= LARGE_BYTES else "regular" for one in files]
        told = zip(files, modes, strict=True)
        self._answer(
            {"files": [{"path": one["path"], "uploadMode": mode, "shouldIgnore": False} for one, mode in told]}
        )

    def _commit(self, repo: str, body: bytes) -> None:
        if self.hub.fail_commits:
            self.hub.fail_commits -= 1
            self._answer({"error": "try later"}, 503)
            return
        paths = []
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.repos[repo][value["path"]] = self.hub.large[value["oid"]]
            else:
                continue
            paths.append(value["path"])
        self.hub.commits.append(paths)
        oid = hashlib.sha1(body).hexdigest()
        self.hub.revisions.setdefault(repo, {})[oid] = dict(self.hub.repos[repo])
        self._answer({"commitUrl": f"{self.hub.url}/datasets/{repo}/commit/{oid}", "commitOid": oid})

    def _paths(self, repo: str, body: bytes) -> None:
        asked, files = parse_qs(body.decode())["paths"], self.hub.repos[repo]
        self._answer([self._described(path, files[path]) for path in asked if path in files])


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty hub on a port of this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def reading_hub(monkeypatch: Any, cache: Path) -> Iterator[Hub]:
    """Serve an empty hub that the client of this process asks; the tests run offline.

    Args:
        monkeypatch: pytest's.
        cache: for what is downloaded.
    """
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # This server knows nothing of Xet, which the client takes where it is installed.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    with hub_server() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield hub
