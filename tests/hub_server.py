"""A model hub of one process: enough of the hub's HTTP interface to load from it and to publish on it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = "a" * 40
LARGE = {".safetensors", ".parquet", ".onnx"}
PRIVATE = ".private"
"""A file beside a repository that is private."""


def _entry(root: Path, path: Path) -> dict[str, object]:
    kind = {"type": "directory"} if path.is_dir() else {"type": "file", "size": path.stat().st_size}
    return {**kind, "path": str(path.relative_to(root)), "oid": "b" * 40}


def _digest(path: Path) -> str:
    """As the hub names content: SHA-256 for large files, git's hash for others."""
    content = path.read_bytes()
    if path.suffix in LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Uploads:
    """What publishing needs: a new repository, large files by hash, and commits."""

    def upload(self, parts, body):
        content = [json.loads(line) for line in body.splitlines()]
        names = {*parts, content[0].get("organization")}
        if refusal := {"401", "403", "500"} & names:
            return self.answer(int(refusal.pop()), {"error": "you may not write here"})
        if parts == ["api", "validate-yaml"]:
            return self.answer(200, {"errors": [], "warnings": []})
        if parts == ["api", "repos", "create"]:
            return self.create(content[0])
        if parts[-1] == "batch":  # OWNER NAME.git info lfs objects batch
            return self.accept(parts[0], content[0]["objects"])
        if "preupload" in parts:
            modes = {
                file["path"]: "lfs" if Path(file["path"]).suffix in LARGE else "regular" for file in content[0]["files"]
            }
            files = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            return self.answer(200, {"files": files})
        return self.commit(parts, content)

    def create(self, asked):
        folder = self.where / "models" / asked["organization"] / asked["name"]
        if folder.exists():
            return self.answer(409, {"error": "You already created this model repo"})
        folder.mkdir(parents=True)
        if asked.get("visibility") == "private":
            folder.with_suffix(PRIVATE).touch()
        return self.answer(200, {"url": f"http://{self.headers['Host']}/{asked['organization']}/{asked['name']}"})

    def accept(self, owner, objects):
        if owner == "full":
            error = {"code": 403, "message": "Storage limit reached"}
            return self.answer(200, {"objects": [{**entry, "error": error} for entry in objects]})
        target = f"http://{self.headers['Host']}/lfs"
        answers = [{**entry, "actions": {"upload": {"href": f"{target}/{owner}/{entry['oid']}"}}} for entry in objects]
        return self.answer(200, {"transfer": "basic", "objects": answers})

    def do_PUT(self):
        stored = self.where / "lfs" / self.path.rpartition("/")[2]
        stored.parent.mkdir(exist_ok=True)
        stored.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        return self.answer(413 if "/late/" in self.path else 200)

    def commit(self, parts, lines):
        folder = self.where / "/".join(parts[1:4])
        if parts[2] == "cut":
            self.close_connection = True
            return None
        if not folder.is_dir():
            return self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        if parts[2] == "moved" and "parentCommit" in lines[0]["value"]:
            return self.answer(412, {"error": "The expected parent commit is not the head"})
        for line in lines:
            path = folder / line["value"].get("path", "")
            if line["key"] in ("file", "lfsFile"):
                path.parent.mkdir(parents=True, exist_ok=True)
            if line["key"] == "file":
                path.write_bytes(base64.b64decode(line["value"]["content"]))
            elif line["key"] == "lfsFile":
                shutil.copy(self.where / "lfs" / line["value"]["oid"], path)
            elif line["key"] == "deletedFile":
                path.unlink()
        (self.where / "commits.jsonl").open("a").write(json.dumps([line["key"] for line in lines]) + "\n")
        url = f"http://{self.headers['Host']}/{'/'.join(parts[2:4])}/commit/{COMMIT}"
        return self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": url})


@contextmanager
def serving(root: Path):
    """Serve root/models/OWNER/NAME and root/datasets/OWNER/NAME; yields the endpoint's address.

    Some owners have trouble: `401`, `403` and `500` answer just that; `half` ends large files half-way; `wrong` changes
    a byte of them. What is published lies in the same folders; `full` has no space for large files, and `late` says so
    when it has them; `cut` loses the connection at the commit, and `moved` has another head by then.
    """

    class Handler(_Uploads, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        where = root

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
            if "paths-info" not in parts:
                return self.upload(parts, body)
            folder = root / "/".join(parts[1:4])
            paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            return self.answer(200, [_entry(folder, folder / path) for path in paths if (folder / path).exists()])

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
            described = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": siblings, "tags": []}
            return self.answer(200, {**described, "private": folder.with_suffix(PRIVATE).exists()})

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
