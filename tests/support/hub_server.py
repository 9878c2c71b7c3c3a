"""A server that speaks as much of the Hugging Face hub's protocol as sending files to a dataset takes."""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

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

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        repo = "/".join(path.split("/")[3:5])
        if "/tree/" in path and repo in self.hub.repos:
            self._answer([self._described(name, content) for name, content in self.hub.repos[repo].items()])
        else:
            self._answer({"error": "not found"}, 404)

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
