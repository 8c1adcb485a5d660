"""The Hugging Face Hub as far as downloads need it: a server for folders, and the layout of its cache."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from tests import server


@cache
def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def into_cache(folder: Path, name: str, home: Path) -> Path:
    """Lay a model's folder out as a download to HF_HOME would, and return its snapshot. The files are moved."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    commit = hashlib.sha1(name.encode()).hexdigest()
    snapshot = repository / "snapshots" / commit
    for place, file in files(folder).items():
        blob = repository / "blobs" / hashlib.sha1(place.encode()).hexdigest()
        link = snapshot / place
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: ClassVar[Mapping[str, Path]] = {}
    broken: ClassVar[set[str]] = set()

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        for name, folder in self.repositories.items():
            commit = hashlib.sha1(name.encode()).hexdigest()
            prefix = f"/api/{name}" if name.startswith("datasets/") else f"/api/models/{name}"
            if path == prefix or path == f"{prefix}/revision/main":
                listed = [{"rfilename": f, "size": p.stat().st_size, "blobId": "0"} for f, p in files(folder).items()]
                return self._json(
                    {"_id": "1", "id": name.removeprefix("datasets/"), "sha": commit, "siblings": listed}, body
                )
            if path == f"{prefix}/tree/{commit}":
                tree = [
                    {"type": "file", "path": f, "size": p.stat().st_size, "oid": "0"} for f, p in files(folder).items()
                ]
                return self._json(tree, body)
            for start in (f"/{name}/resolve/{commit}/", f"/{name}/resolve/main/"):
                if path.startswith(start) and (file := files(folder).get(path.removeprefix(start))):
                    return self._file(file, commit, body)
        self._send(404, b"{}", {"Content-Type": "application/json", "X-Error-Code": "RepoNotFound"}, body)

    def _json(self, document: Any, body: bool) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"}, body)

    def _file(self, file: Path, commit: str, body: bool) -> None:
        content = file.read_bytes()
        headers = {"ETag": f'"{digest(file)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if wanted := self.headers.get("Range"):
            first = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return self._send(206, content[first:], headers, body)
        if body and file.name in self.broken:
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        self._send(200, content, headers, body)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


@contextmanager
def serving(repositories: Mapping[str, Path]) -> Iterator[tuple[str, set[str]]]:
    """The address of a Hub with these repositories (data sets as "datasets/OWNER/NAME"), and the names of files at which it
    hangs up for as long as they are in there."""
    broken: set[str] = set()
    handler = type("Handler", (_Handler,), {"repositories": repositories, "broken": broken})
    with server.running(handler) as address:
        yield address, broken
