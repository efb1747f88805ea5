"""A stand-in of the Hugging Face hub: the parts of its HTTP API that uploads and downloads of models use."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import yaml

DROP = "drop"
"""Instead of a status: the connection is closed without an answer."""


def account(name: str = "maud", role: str = "write", orgs: dict[str, str] | None = None, **token) -> dict:
    """What ``whoami`` says."""
    organizations = [{"name": org, "roleInOrg": own} for org, own in (orgs or {}).items()]
    return {"name": name, "type": "user", "orgs": organizations, "auth": {"accessToken": {"role": role, **token}}}


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    messages: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the stand-in holds, and what it was asked.

    Attributes:
        accounts: access token to what ``whoami`` says.
        failures: regular expression of ``METHOD /path`` to a status, or :data:`DROP`.
        log: ``METHOD /path`` of every request.
    """

    url: str = ""
    accounts: dict[str, dict] = field(default_factory=lambda: {"hf_secret": account(orgs={"osk": "write"})})
    repositories: dict[str, Repository] = field(default_factory=dict)
    failures: dict[str, int | str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def commit_of(self, repo: str, revision: str) -> str:
        if revision not in self.repositories[repo].branches:
            return revision
        files = self.repositories[repo].branches[revision]
        return hashlib.sha1(repr((repo, revision, sorted(files))).encode()).hexdigest()

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """Those of a branch, or of the last commit to one."""
        branches = self.repositories[repo].branches
        return next((f for name, f in branches.items() if revision in (name, self.commit_of(repo, name))), None)


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, status in self.hub.failures.items():
            if re.search(pattern, f"{self.command} {path}"):
                return self.drop() if status == DROP else self.send(int(status), {"error": "made up"})
        for method, pattern, action in ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                return (
                    action(self, *found.groups(), body) if method in ("POST", "PUT") else action(self, *found.groups())
                )
        return self.missing("EntryNotFound")

    def drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def send(self, status: int, content: object = None, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self, code: str) -> None:
        self.send(404, {"error": code}, X_Error_Code=code)

    def account(self) -> dict | None:
        return self.hub.accounts.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))

    def readable(self, repo: str) -> Repository | None:
        """The repository, or None after an answer that says why not."""
        found = self.hub.repositories.get(repo)
        if found is None or (found.private and self.account() is None):
            self.send(404 if self.account() else 401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        return found


def may_write(handler: Handler, repo: str) -> bool:
    found, owner = handler.account(), repo.split("/")[0]
    orgs = {org["name"]: org["roleInOrg"] for org in found["orgs"]} if found else {}
    allowed = found is not None and (owner == found["name"] or orgs.get(owner, "read") != "read")
    if not allowed or found["auth"]["accessToken"]["role"] == "read":
        handler.send(403 if found else 401, {"error": "no permission to write"})
        return False
    return True


def whoami(handler: Handler) -> None:
    found = handler.account()
    handler.send(200, found) if found else handler.send(401, {"error": "Invalid username or password."})


def create(handler: Handler, body: bytes) -> None:
    given = json.loads(body)
    repo = f"{given.get('organization') or handler.account()['name']}/{given['name']}"
    if not may_write(handler, repo):
        return
    url = f"{handler.hub.url}/{repo}"
    if repo in handler.hub.repositories:
        return handler.send(409, {"error": "You already created this model repo", "url": url})
    handler.hub.repositories[repo] = Repository(given.get("visibility") == "private" or given.get("private") is True)
    handler.send(200, {"url": url, "name": repo})


def branch(handler: Handler, repo: str, name: str, body: bytes) -> None:
    if may_write(handler, repo):
        branches = handler.hub.repositories[repo].branches
        is_new = name not in branches
        branches.setdefault(name, dict(branches["main"]))
        handler.send(200 if is_new else 409, {"ref": name} if is_new else {"error": "Reference already exists"})


def info(handler: Handler, repo: str, revision: str = "main") -> None:
    if (found := handler.readable(repo)) is not None:
        if (files := handler.hub.files(repo, revision)) is None:
            return handler.missing("RevisionNotFound")
        files = [{"rfilename": name} for name in files]
        sha = handler.hub.commit_of(repo, revision)
        handler.send(200, {"id": repo, "private": found.private, "sha": sha, "siblings": files, "tags": []})


def tree(handler: Handler, repo: str, revision: str, _: str) -> None:
    if handler.readable(repo) is not None:
        if (files := handler.hub.files(repo, revision)) is None:
            return handler.missing("RevisionNotFound")
        listed = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in files.items()]
        handler.send(200, listed)


def validate(handler: Handler, body: bytes) -> None:
    """As the hub does: the front matter is YAML, and models and data sets have names of the hub."""
    content = json.loads(body)["content"]
    data = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else {}
    names = [*_listed(data.get("base_model")), *_listed(data.get("datasets"))]
    wrong = [name for name in names if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)]
    errors = [{"message": f"{name!r} is not a valid id"} for name in wrong]
    handler.send(400 if errors else 200, {"errors": errors, "warnings": []})


def _listed(value: object) -> list[str]:
    return [] if value is None else [str(item) for item in (value if isinstance(value, list) else [value])]


def preupload(handler: Handler, repo: str, revision: str, body: bytes) -> None:
    if may_write(handler, repo):
        files = json.loads(body)["files"]
        modes = {file["path"]: "lfs" if file["path"].endswith(".safetensors") else "regular" for file in files}
        answer = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
        handler.send(200, {"files": answer})


def batch(handler: Handler, repo: str, body: bytes) -> None:
    if may_write(handler, repo):
        objects = json.loads(body)["objects"]
        actions = [
            given | {"actions": {"upload": {"href": f"{handler.hub.url}/stored/{given['oid']}"}}} for given in objects
        ]
        handler.send(200, {"transfer": "basic", "objects": actions})


def store(handler: Handler, oid: str, body: bytes) -> None:
    handler.hub.stored[oid] = body
    handler.send(200, {})


def commit(handler: Handler, repo: str, revision: str, body: bytes) -> None:
    if not may_write(handler, repo):
        return
    files = handler.hub.repositories[repo].branches[revision]
    for line in map(json.loads, body.splitlines()):
        key, value = line["key"], line["value"]
        match key:
            case "header":
                handler.hub.repositories[repo].messages.append(value["summary"])
            case "file":
                files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                files[value["path"]] = handler.hub.stored[value["oid"]]
            case "deletedFile":
                del files[value["path"]]
    oid = handler.hub.commit_of(repo, revision)
    handler.send(200, {"commitUrl": f"{handler.hub.url}/{repo}/commit/{oid}", "commitOid": oid})


def resolve(handler: Handler, repo: str, revision: str, name: str) -> None:
    found = handler.readable(repo)
    if found is None:
        return
    if found.gated:
        status = 403 if handler.account() else 401
        return handler.send(status, {"error": "Access is restricted"}, X_Error_Code="GatedRepo")
    if (files := handler.hub.files(repo, revision)) is None:
        return handler.missing("RevisionNotFound")
    if name not in files:
        return handler.missing("EntryNotFound")
    data = files[name]
    etag = hashlib.sha256(data).hexdigest()
    handler.send(200, data, ETag=f'"{etag}"', X_Repo_Commit=handler.hub.commit_of(repo, revision))


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/repos/create", create),
    ("POST", r"/api/validate-yaml", validate),
    ("GET", rf"/api/models/{REPO}", info),
    ("GET", rf"/api/models/{REPO}/revision/(.+)", info),
    ("GET", rf"/api/models/{REPO}/tree/([^/]+)(/.*)?", tree),
    ("POST", rf"/api/models/{REPO}/branch/(.+)", branch),
    ("POST", rf"/api/models/{REPO}/preupload/(.+)", preupload),
    ("POST", rf"/api/models/{REPO}/commit/(.+)", commit),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", batch),
    ("PUT", r"/stored/(\w+)", store),
    ("GET", rf"/{REPO}/resolve/([^/]+)/(.+)", resolve),
    ("HEAD", rf"/{REPO}/resolve/([^/]+)/(.+)", resolve),
]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def standing_in(monkeypatch, cache) -> Iterator[Hub]:
    """The hub of huggingface_hub in this process: what HF_ENDPOINT and the like set at its import.

    Args:
        monkeypatch: of pytest.
        cache: folder for what is downloaded.
    """
    from huggingface_hub import close_session, constants, hf_api
    from huggingface_hub.utils import _http

    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # whose storage is another service
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(cache / "tokens"))
        monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))  # between its tries
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        close_session()
        yield hub
        close_session()
