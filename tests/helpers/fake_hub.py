"""A Hugging Face Hub on this machine, in memory: enough of its HTTP interface to push models and datasets and to load
them again.

    with FakeHub() as hub:
        subprocess.run(..., env={**os.environ, **hub.environment(home)})

The libraries read their addresses when they are imported, so whoever uses it runs in a process of its own.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from tests.helpers.card_metadata import FRONT_MATTER, metadata_errors
from tests.helpers.fake_hub_repository import LARGE, Repository, file_hash

TOKEN = "hf_fake"
ROUTES = [
    ("GET", r"/api/whoami-v2", "who"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/(models|datasets)/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
    ("POST", r"/api/(models|datasets)/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
    ("POST", r"/api/(models|datasets)/([^/]+/[^/]+)/branch/([^/]+)", "branch"),
    ("POST", r"/api/(models|datasets)/([^/]+/[^/]+)/paths-info/([^/]+)", "paths_info"),
    ("POST", r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "large_files"),
    ("PUT", r"/large/([0-9a-f]{64})", "put_large"),
    ("GET", r"/api/(models|datasets)/([^/]+/[^/]+)/refs", "refs"),
    ("GET", r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", "tree"),
    ("GET", r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
    ("GET", r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "file"),
]


class FakeHub:
    """The server, as a context manager.

    Attributes:
        url: its address.
        repositories: ("models" or "datasets", "org/name") -> what was pushed there.
        requests: method and path of every request, in order.
    """

    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()

    def __enter__(self) -> "FakeHub":
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path | str, token: str | None = TOKEN) -> dict[str, str]:
        """Return the environment of a process that uses this Hub and keeps its caches below `home`."""
        found = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        found |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return found | ({"HF_TOKEN": token} if token else {})

    def files(self, repo_id: str, kind: str = "models") -> dict[str, bytes]:
        """Return path -> bytes of the newest commit."""
        return self.repositories[kind, repo_id].at("main")[1]


class Handler(BaseHTTPRequestHandler):
    """One request; `hub` is set by the server."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._route("GET")

    def do_HEAD(self):
        self._route("GET")

    def do_POST(self):
        self._route("POST")

    def do_PUT(self):
        self._route("PUT")

    def log_message(self, *_):
        pass

    def _route(self, method: str) -> None:
        self.body = self._read_body()
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append(f"{self.command} {path}")
        writes = method != "GET" and "/large/" not in path and "paths-info" not in path and "validate" not in path
        if writes and not self._has_token():
            return self._fail(401, "no valid token")
        for wanted, pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if wanted == method and found:
                return getattr(self, f"_{name}")(*found.groups())
        return self._fail(404, f"no such address: {method} {path}")

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _send(self, status: int, data: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, message: str, code: str | None = None) -> None:
        headers = {"X-Error-Code": code} if code else {}
        self._send(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **headers})

    def _repository(self, kind: str | None, name: str) -> Repository | None:
        """Return the repository; None after answering as the Hub does where the user may not see it."""
        key = ("datasets" if (kind or "").startswith("datasets") else "models", name)
        repository = self.hub.repositories.get(key)
        if repository is None or (repository.private and not self._has_token()):
            self._fail(404, "no such repository", "RepoNotFound")
            return None
        return repository

    def _revision(self, kind: str | None, name: str, revision: str | None):
        """Return (hash, files), or None after answering as the Hub does."""
        repository = self._repository(kind, name)
        if repository is None:
            return None
        found = repository.at(revision)
        if found is None:
            self._fail(404, "no such revision", "RevisionNotFound")
        return found

    def _who(self) -> None:
        if not self._has_token():
            return self._fail(401, "no valid token")
        self._json(
            {"type": "user", "name": "me", "orgs": [{"name": "org"}], "auth": {"accessToken": {"role": "write"}}}
        )

    def _validate(self) -> None:
        errors = metadata_errors(json.loads(self.body)["content"])
        self._json({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)

    def _create(self) -> None:
        asked = json.loads(self.body)
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        address = f"{self.hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
        with self.hub.lock:
            exists = (kind, name) in self.hub.repositories
            if not exists:
                private = asked.get("visibility") == "private" or bool(asked.get("private"))
                repository = self.hub.repositories[kind, name] = Repository(private)
                repository.add({".gitattributes": b""}, "initial commit")
        self._json({"url": address, "name": name, "error": "exists" if exists else None}, 409 if exists else 200)

    def _preupload(self, kind: str, name: str, revision: str) -> None:
        found = self._revision(kind, name, revision)
        if found is not None:
            files = [{"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                      "shouldIgnore": False, "oid": file_hash(found[1], file["path"])}
                     for file in json.loads(self.body)["files"]]  # fmt: skip
            self._json({"files": files})

    def _large_files(self, kind: str | None, name: str) -> None:
        objects = json.loads(self.body)["objects"]
        answers = [
            {**asked, "actions": {"upload": {"href": f"{self.hub.url}/large/{asked['oid']}"}}} for asked in objects
        ]
        self._json({"transfer": "basic", "objects": answers})

    def _put_large(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._fail(400, "the content does not fit its hash")
        self.hub.large[oid] = self.body
        self._send(200)

    def _branch(self, kind: str, name: str, branch: str) -> None:
        repository = self._repository(kind, name)
        if repository is not None:
            exists = branch in repository.branches
            if not exists:
                repository.branches[branch] = repository.branches["main"]
            self._json({"error": "exists"} if exists else {}, 409 if exists else 200)

    def _commit(self, kind: str, name: str, revision: str) -> None:
        if self._revision(kind, name, revision) is None:
            return
        repository = self._repository(kind, name)
        lines = [json.loads(line) for line in self.body.decode().splitlines()]
        with self.hub.lock:
            files, message = dict(repository.at(revision)[1]), ""
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    message = value["summary"]
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
                else:
                    return self._fail(400, f"the fake Hub does not know {line['key']}")
            sha = repository.add(files, message, revision)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "hookOutput": ""})

    def _refs(self, kind: str, name: str) -> None:
        found = self._revision(kind, name, None)
        if found is not None:
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": found[0]}
            self._json({"branches": [branch], "tags": [], "converts": []})

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        found = self._revision(kind, name, revision)
        if found is not None:
            sha, files = found
            answer = {
                "id": name,
                "modelId": name,
                "sha": sha,
                "siblings": [{"rfilename": path} for path in sorted(files)],
            }
            answer |= {"private": self._repository(kind, name).private, "tags": [], "downloads": 0, "likes": 0}
            card = FRONT_MATTER.match(files.get("README.md", b"").decode())
            data = yaml.safe_load(card[1]) if card else {}
            named = {name: data[name] for name in ("pipeline_tag", "library_name") if name in data}
            self._json(answer | ({"cardData": data} if card else {}) | named)

    def _entry(self, files: dict[str, bytes], path: str) -> dict:
        return {"type": "file", "path": path, "size": len(files[path]), "oid": file_hash(files, path)}

    def _tree(self, kind: str, name: str, revision: str, folder: str | None) -> None:
        found = self._revision(kind, name, revision)
        if found is None:
            return
        files, prefix = found[1], f"{folder}/" if folder else ""
        below = [path for path in sorted(files) if path.startswith(prefix)]
        if prefix and not below:
            return self._fail(404, "no such folder", "EntryNotFound")
        if "recursive=True" in self.path or "recursive=true" in self.path:
            return self._json([self._entry(files, path) for path in below])
        here = [path for path in below if "/" not in path[len(prefix) :]]
        folders = {prefix + path[len(prefix) :].split("/")[0] for path in below if "/" in path[len(prefix) :]}
        entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
        self._json(entries + [self._entry(files, path) for path in here])

    def _paths_info(self, kind: str, name: str, revision: str) -> None:
        found = self._revision(kind, name, revision)
        if found is not None:
            text = self.body.decode()
            asked = json.loads(text)["paths"] if text.startswith("{") else re.findall(r"paths=([^&]*)", unquote(text))
            self._json([self._entry(found[1], path) for path in asked if path in found[1]])

    def _file(self, kind: str | None, name: str, revision: str, path: str) -> None:
        found = self._revision(kind, name, revision)
        if found is None:
            return
        sha, files = found
        if path not in files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha}
            return self._send(404, b"", headers)
        data, status = files[path], 200
        headers = {"ETag": f'"{file_hash(files, path)}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
            data, status = data[start : end + 1], 206
        self._send(status, data, headers)


__all__ = ["TOKEN", "FakeHub"]
