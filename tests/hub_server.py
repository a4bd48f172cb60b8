"""A model hub of one process: enough of the hub's HTTP interface for transformers and datasets to load from it."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = "a" * 40
LARGE = {".safetensors", ".parquet"}


def _entry(root: Path, path: Path) -> dict[str, object]:
    kind = {"type": "directory"} if path.is_dir() else {"type": "file", "size": path.stat().st_size}
    return {**kind, "path": str(path.relative_to(root)), "oid": "b" * 40}


def _digest(path: Path) -> str:
    """As the hub names content: SHA-256 for large files, git's hash for others."""
    content = path.read_bytes()
    if path.suffix in LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving(root: Path):
    """Serve root/models/OWNER/NAME and root/datasets/OWNER/NAME; yields the endpoint's address.

    Some owners have trouble: `401`, `403` and `500` answer just that; `half` ends large files half-way; `wrong` changes
    a byte of them.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, code, content=b"", **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = unquote(urlparse(self.path).path).strip("/").split("/")  # api KIND OWNER NAME paths-info COMMIT
            folder = root / "/".join(parts[1:4])
            paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            self.answer(200, [_entry(folder, folder / path) for path in paths if (folder / path).exists()])

        def do_GET(self):
            address = urlparse(self.path)
            parts = unquote(address.path).strip("/").split("/")
            if parts == [""]:
                return self.answer(200)
            if refusal := {"401", "403", "500"} & set(parts):
                gated = {"X_Error_Code": "GatedRepo"} if "403" in parts else {}
                return self.answer(int(refusal.pop()), {"error": "no"}, **gated)
            if parts[0] == "api":
                return self.describe(parts, "recursive=true" in address.query.lower())
            kind = "datasets" if parts[0] == "datasets" else "models"
            owner, name, _resolve, _revision, *path = parts[1:] if kind == "datasets" else parts
            return self.deliver(root / kind / owner / name, "/".join(path))

        do_HEAD = do_GET

        def describe(self, parts, recursive):
            folder = root / "/".join(parts[1:4])
            if not folder.is_dir():
                return self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            if "tree" in parts:
                below = folder / "/".join(parts[6:])
                found = sorted(below.rglob("*") if recursive else below.glob("*"))
                return self.answer(200, [_entry(folder, path) for path in found])
            files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
            siblings = [{"rfilename": name} for name in sorted(files)]
            return self.answer(200, {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": siblings, "tags": []})

        def deliver(self, folder, path):
            if not folder.is_dir():
                return self.answer(404, X_Error_Code="RepoNotFound")
            if not (folder / path).is_file():
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            content = (folder / path).read_bytes()
            headers = {"ETag": f'"{_digest(folder / path)}"', "X_Repo_Commit": COMMIT}
            if self.command == "GET" and Path(path).suffix in LARGE:
                if folder.parent.name == "wrong":
                    content = content[:-1] + bytes([content[-1] ^ 1])
                if folder.parent.name == "half":
                    return self.break_off(content, headers)
            return self.answer(200, content, **headers)

        def break_off(self, content, headers):
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
