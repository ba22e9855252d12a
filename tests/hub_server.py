"""A Hugging Face Hub on the loopback interface, in memory: what huggingface_hub needs to upload and download models.

As on the real one, small files travel in the commit and large ones by Git LFS (batch, PUT, verify), and a commit whose
large files never arrived, or arrived damaged, is refused.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_loopback"
LFS_FROM = 100_000  # bytes; the Hub's is by ending and 10 MB
LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "other"}


class Hub:
    """Context manager.

    repositories: name -> {"private": bool, "branches": {branch: {path: bytes}}, "commits": [(branch, message)]}.
    requests: (method, path) of all that came. refused: patterns of "METHOD path" to answer with 403.
    """

    def __init__(self):
        self.repositories, self.objects, self.requests = {}, {}, []
        self.refused = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def files(self, repo_id, branch="main") -> dict[str, bytes]:
        return self.repositories[repo_id]["branches"][branch]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer("GET")

    def do_HEAD(self):
        self._answer("HEAD")

    def do_POST(self):
        self._answer("POST")

    def do_PUT(self):
        self._answer("PUT")

    def _answer(self, method):
        self.body = self._read_body()
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((method, path))
        # As on the Hub, the address of an LFS upload is signed and needs no token.
        if method != "PUT" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid credentials in Authorization header"})
        if any(re.search(pattern, f"{method} {path}") for pattern in self.hub.refused):
            return self._send(403, {"error": "You don't have the rights to do this"})
        for route, pattern in ROUTES:
            if match := re.fullmatch(pattern, f"{method} {path}"):
                return route(self, *match.groups())
        return self._send(404, {"error": f"no such route: {method} {path}"})

    def _read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), headers | {"Content-Type": "application/json"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _files(self, repo_id, revision):
        """Those of a branch or a commit, or None after an answer that there are none."""
        if repo_id not in self.hub.repositories:
            return self._send(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        for branch, files in self.hub.repositories[repo_id]["branches"].items():
            if revision in (branch, commit_oid(files)):
                return files
        return self._send(404, {"error": f"Invalid rev id: {revision}"}, X_Error_Code="RevisionNotFound")

    def whoami(self):
        self._send(200, {"name": "someone", "type": "user", "auth": {"type": "access_token"}})

    def create(self):
        asked = json.loads(self.body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        created = repo_id not in self.hub.repositories
        if created:
            self.hub.repositories[repo_id] = {
                "private": asked.get("visibility") == "private",
                "branches": {"main": {".gitattributes": b"*.safetensors filter=lfs"}},
                "commits": [],
            }
        self._send(200 if created else 409, {"url": f"{self.hub.endpoint}/{repo_id}", "name": repo_id})

    def validate_yaml(self):
        metadata = yaml.safe_load(json.loads(self.body)["content"].split("---\n")[1])
        errors = []
        if metadata.get("license") not in LICENSES:
            errors.append({"message": f'"license" must be one of {sorted(LICENSES)}'})
        if not isinstance(metadata.get("tags", []), list):
            errors.append({"message": '"tags" must be an array'})
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def create_branch(self, repo_id, branch):
        branches = self.hub.repositories[repo_id]["branches"]
        created = branch not in branches
        branches.setdefault(branch, dict(branches["main"]))
        self._send(200 if created else 409, {})

    def preupload(self, repo_id, branch):
        if (files := self._files(repo_id, branch)) is None:
            return
        self._send(
            200,
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["size"] >= LFS_FROM else "regular",
                        "shouldIgnore": False,
                        "oid": git_oid(files[file["path"]]) if file["path"] in files else None,
                    }
                    for file in json.loads(self.body)["files"]
                ]
            },
        )

    def lfs_batch(self, repo_id):
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            place = {"href": f"{self.hub.endpoint}/lfs/{wanted['oid']}"}
            verify = {"href": f"{self.hub.endpoint}/lfs/verify"}
            known = wanted["oid"] in self.hub.objects
            objects.append(wanted | ({} if known else {"actions": {"upload": place, "verify": verify}}))
        self._send(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._send(400, {"error": "not the bytes of this oid"})
        self.hub.objects[oid] = self.body
        self._send(200)

    def lfs_verify(self):
        asked = json.loads(self.body)
        arrived = len(self.hub.objects.get(asked["oid"], b"")) == asked["size"]
        self._send(200 if arrived else 404, {})

    def commit(self, repo_id, branch):
        if (files := self._files(repo_id, branch)) is None:
            return
        changed, message = dict(files), None
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                content = self.hub.objects.get(value["oid"])
                if content is None or len(content) != value["size"]:
                    return self._send(400, {"error": f"{value['path']}: its LFS object never arrived"})
                changed[value["path"]] = content
            elif key == "deletedFile":
                del changed[value["path"]]
            else:
                return self._send(400, {"error": f"unknown operation {key}"})
        repository = self.hub.repositories[repo_id]
        repository["branches"][branch] = changed
        repository["commits"].append((branch, message))
        oid = commit_oid(changed)
        self._send(
            200, {"commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{oid}", "commitOid": oid, "success": True}
        )

    def tree(self, repo_id, branch):
        if (files := self._files(repo_id, branch)) is not None:
            listed = [
                {"type": "file", "path": path, "oid": git_oid(content), "size": len(content)}
                for path, content in files.items()
            ]
            self._send(200, listed)

    def info(self, repo_id, branch="main"):
        if (files := self._files(repo_id, branch)) is not None:
            siblings = [{"rfilename": path} for path in files]
            self._send(200, {"id": repo_id, "sha": commit_oid(files), "siblings": siblings, "private": False})

    def resolve(self, repo_id, revision, path):
        if (files := self._files(repo_id, revision)) is None:
            return
        if path not in files:
            return self._send(404, {"error": "no such file"}, X_Error_Code="EntryNotFound")
        self._send(200, files[path], ETag=f'"{git_oid(files[path])}"', X_Repo_Commit=commit_oid(files))


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def commit_oid(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted((path, git_oid(content)) for path, content in files.items())).encode()).hexdigest()


REPO = r"([\w.-]+/[\w.-]+)"
KIND = "(?:models|spaces)"
ROUTES = [
    (Handler.whoami, r"GET /api/whoami-v2"),
    (Handler.create, r"POST /api/repos/create"),
    (Handler.validate_yaml, r"POST /api/validate-yaml"),
    (Handler.create_branch, rf"POST /api/models/{REPO}/branch/(.+)"),
    (Handler.preupload, rf"POST /api/{KIND}/{REPO}/preupload/(.+)"),
    (Handler.lfs_batch, rf"POST (?:/spaces)?/{REPO}\.git/info/lfs/objects/batch"),
    (Handler.lfs_put, r"PUT /lfs/(\w+)"),
    (Handler.lfs_verify, r"POST /lfs/verify"),
    (Handler.commit, rf"POST /api/{KIND}/{REPO}/commit/(.+)"),
    (Handler.tree, rf"GET /api/{KIND}/{REPO}/tree/([^/]+)"),
    (Handler.info, rf"GET /api/{KIND}/{REPO}"),
    (Handler.info, rf"GET /api/{KIND}/{REPO}/revision/(.+)"),
    (Handler.resolve, rf"(?:GET|HEAD) /{REPO}/resolve/([^/]+)/(.+)"),
]
