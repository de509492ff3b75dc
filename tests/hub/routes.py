"""What the Hub answers to a request, when all is well."""

import base64
import json
import re
from dataclasses import dataclass
from email.message import Message

import yaml

from tests.hub.faults import Response
from tests.hub.store import TOKEN, Repo, git_blob, is_large, sha256

NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes

    @property
    def line(self):
        return f"{self.method} {self.path}"

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    @property
    def origin(self):
        return f"http://{self.headers['Host']}"


def answer(hub, request):
    """The right answer, or the right error."""
    for pattern, function in ROUTES:
        found = re.fullmatch(pattern, request.line)
        if found:
            named = {name: value for name, value in found.groupdict().items() if value is not None}
            return function(hub, request, **named)
    return error(404, "")


def reply(value, **headers):
    return Response(
        200, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()
    )


def error(code, reason, message=""):
    headers = {"X-Error-Code": reason, "X-Error-Message": message}
    return Response(code, headers, json.dumps({"error": message}).encode())


def reading(function):
    """Looks up the repository and the revision for a route."""

    def route(hub, request, repo, revision="main", **rest):
        found = hub.repos.get(repo)
        if found is None or (found.private and not request.known):
            return error(404 if request.known else 401, "RepoNotFound", "Repository not found")
        commit = found.find(revision)
        if commit is None:
            return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return function(hub, request, found, commit, **rest)

    return route


def writing(function):
    """Looks up the repository for a route that changes it."""

    def route(hub, request, repo, **rest):
        if not request.known:
            return error(401, "", "Invalid credentials in Authorization header")
        if repo not in hub.repos:
            return error(404, "RepoNotFound", "Repository not found")
        if repo.split("/")[0] not in ("me", *hub.organizations):
            return error(403, "", f"you have no write access to {repo}")
        return function(hub, request, hub.repos[repo], **rest)

    return route


def whoami(hub, request):
    if not request.known:
        return error(401, "", "Invalid credentials in Authorization header")
    return reply({"type": "user", "name": "me", "orgs": [{"name": o} for o in hub.organizations]})


def create(hub, request):
    if not request.known:
        return error(401, "", "Invalid credentials in Authorization header")
    wanted = request.json
    owner = wanted.get("organization") or "me"
    name = f"{owner}/{wanted['name']}"
    if owner not in ("me", *hub.organizations):
        return error(403, "", f"you have no rights to create a model under {owner!r}")
    if name in hub.repos:
        return error(409, "", "You already created this model repo")
    private = wanted.get("visibility") == "private" or wanted.get("private", False)
    hub.repos[name] = Repo(name, private=private)
    hub.repos[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
    return reply({"url": f"{request.origin}/{name}", "name": name})


@writing
def branch(hub, request, repo, revision):
    if revision in repo.branches:
        return error(409, "", "Reference already exists")
    repo.branches[revision] = repo.branches["main"]
    return reply({})


@writing
def preupload(hub, request, repo, revision):
    commit = repo.find(revision)
    if commit is None:
        return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    files = []
    for file in request.json["files"]:
        there = commit.files.get(file["path"])
        large = is_large(file["path"], b"") or file["size"] > 10_000_000
        oid = None if there is None else (sha256 if large else git_blob)(there)
        mode = "lfs" if large else "regular"
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return reply({"files": files})


@writing
def batch(hub, request, repo):
    objects = []
    for thing in request.json["objects"]:
        oid, size = thing["oid"], thing["size"]
        actions = {
            "upload": {"href": f"{request.origin}/lfs/{oid}", "header": {}},
            "verify": {"href": f"{request.origin}/lfs/{oid}/verify", "header": {}},
        }
        if hub.part_size and size > hub.part_size:
            parts = -(-size // hub.part_size)
            header = {f"{i + 1:05}": f"{request.origin}/lfs/{oid}/{i + 1}" for i in range(parts)}
            actions["upload"] = {
                "href": f"{request.origin}/lfs/{oid}/complete",
                "header": {"chunk_size": str(hub.part_size), **header},
            }
        there = {} if oid in hub.objects else {"actions": actions}
        objects.append({"oid": oid, "size": size, **there})
    return reply({"transfer": "basic", "objects": objects})


def upload(hub, request, oid, part=None):
    if part is not None:
        hub.parts[oid, int(part)] = request.body
        return reply({}, ETag=f'"{sha256(request.body)[:16]}"')
    if sha256(request.body) != oid:
        return error(400, "", "content does not have the announced sha256")
    hub.objects[oid] = request.body
    return reply({})


def complete(hub, request, oid):
    content = b"".join(hub.parts[oid, part["partNumber"]] for part in request.json["parts"])
    if sha256(content) != oid:
        return error(400, "", "the parts do not have the announced sha256")
    hub.objects[oid] = content
    return reply({})


def verify(hub, request, oid):
    there = hub.objects.get(oid)
    if there is None or len(there) != request.json["size"]:
        return error(404, "", "object not found")
    return reply({})


@writing
def commit(hub, request, repo, revision):
    if revision not in repo.branches:
        return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    changes, title = {}, ""
    for line in request.body.splitlines():
        item = json.loads(line)
        kind, value = item["key"], item["value"]
        if kind == "header":
            title = value["summary"]
            if value.get("parentCommit", repo.branches[revision]) != repo.branches[revision]:
                return error(412, "", "A commit has happened since. Please refresh and try again.")
        elif kind == "file":
            changes[value["path"]] = base64.b64decode(value["content"])
        elif kind == "lfsFile":
            if value["oid"] not in hub.objects:
                return error(400, "", f"LFS pointer pointed to a file that does not exist: {value}")
            changes[value["path"]] = hub.objects[value["oid"]]
        elif kind == "deletedFile":
            changes[value["path"]] = None
    made = repo.commit(changes, title, revision)
    url = f"{request.origin}/{repo.name}/commit/{made.oid}"
    return reply({"commitUrl": url, "commitOid": made.oid, "success": True})


def describe(repo, commit):
    tags = [] if b"library_name: cfamc-zoo" not in commit.files.get("README.md", b"") else TAGS
    return {
        "id": repo.name,
        "author": repo.name.split("/")[0],
        "sha": commit.oid,
        "private": repo.private,
        "tags": tags,
        "lastModified": "2026-01-02T03:04:05.000Z",
        "siblings": [{"rfilename": name} for name in commit.files],
    }


def overview(hub, request, owner):
    if owner not in hub.organizations:
        return error(404, "", "This organization does not exist")
    return reply({"name": owner, "fullname": owner})


TAGS = ["cfamc-zoo", "onnx", "safetensors"]


@reading
def info(hub, request, repo, commit):
    return reply(describe(repo, commit))


@reading
def tree(hub, request, repo, commit, folder=""):
    """What is in a folder: all files below it, or its own and its folders."""
    start = f"{folder}/" if folder else ""
    below = {name: content for name, content in commit.files.items() if name.startswith(start)}
    if not below:
        return error(404, "EntryNotFound", f"{folder} does not exist on {repo.name}")
    flat = request.query.get("recursive", "").lower() == "true"
    entries = {}
    for name, content in below.items():
        first, inner, _ = name.removeprefix(start).partition("/")
        path = name if flat or not inner else start + first
        entries[path] = described(path, content) if path == name else directory(path)
    return reply(list(entries.values()))


def described(name, content):
    entry = {"type": "file", "path": name, "size": len(content), "oid": git_blob(content)}
    if is_large(name, content):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
    return entry


def directory(path):
    return {"type": "directory", "path": path, "size": 0, "oid": git_blob(path.encode())}


def models(hub, request):
    found = [
        describe(repo, repo.find("main"))
        for repo in hub.repos.values()
        if repo.name.startswith(f"{request.query.get('author', '')}/")
        and (request.known or not repo.private)
    ]
    wanted = request.query.get("filter")
    found = [f for f in found if wanted is None or wanted in f["tags"]]
    first = int(request.query.get("cursor", 0))
    page, rest = found[first : first + 2], found[first + 2 :]
    query = "&".join(f"{k}={v}" for k, v in request.query.items() if k != "cursor")
    link = f'<{request.origin}/api/models?{query}&cursor={first + 2}>; rel="next"' if rest else ""
    return reply(page, Link=link)


def validate(hub, request):
    _, block, *_ = request.json["content"].split("---\n", 2)
    try:
        values = yaml.safe_load(block)
    except yaml.YAMLError as reason:
        return Response(400, {}, json.dumps({"errors": [{"message": str(reason)}]}).encode())
    warnings = [] if "license" in values else [{"message": "empty or missing license"}]
    return reply({"errors": [], "warnings": warnings})


@reading
def resolve(hub, request, repo, commit, file):
    content = commit.files.get(file)
    if content is None:
        failed = error(404, "EntryNotFound", "Entry not found")
        return Response(404, {**failed.headers, "X-Repo-Commit": commit.oid}, failed.body)
    headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if not is_large(file, content):
        return ranged(request, content, {**headers, "ETag": f'"{git_blob(content)}"'})
    hub.objects[sha256(content)] = content
    elsewhere = request.origin.replace("127.0.0.1", "localhost")
    linked = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
    location = {"Location": f"{elsewhere}/cdn/{repo.name}/{sha256(content)}/{file}"}
    return Response(302, {**headers, **linked, **location})


def cdn(hub, request, repo, oid, file):
    return ranged(request, hub.objects[oid], {"ETag": f'"{oid}"'})


def ranged(request, content, headers):
    """The body, or the part of it that was asked for."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    first = int(asked[1]) if asked else 0
    last = int(asked[2] or len(content) - 1) if asked else len(content) - 1
    if first > last:
        return error(416, "")
    body = content[first : last + 1]
    if asked:
        headers = {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
    if request.method == "HEAD":
        return Response(200, {**headers, "Content-Length": str(len(body))})
    return Response(206 if asked else 200, headers, body)


ROUTES = (
    (r"GET /api/whoami-v2", whoami),
    (r"POST /api/repos/create", create),
    (r"POST /api/validate-yaml", validate),
    (r"GET /api/models", models),
    (r"GET /api/organizations/(?P<owner>[^/]+)/overview", overview),
    (rf"GET /api/models/{NAME}", info),
    (rf"GET /api/models/{NAME}/revision/(?P<revision>.+)", info),
    (rf"GET /api/models/{NAME}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", tree),
    (rf"POST /api/models/{NAME}/branch/(?P<revision>.+)", branch),
    (rf"POST /api/models/{NAME}/preupload/(?P<revision>.+)", preupload),
    (rf"POST /api/models/{NAME}/commit/(?P<revision>.+)", commit),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", batch),
    (r"PUT /lfs/(?P<oid>\w+)", upload),
    (r"PUT /lfs/(?P<oid>\w+)/(?P<part>\d+)", upload),
    (r"POST /lfs/(?P<oid>\w+)/complete", complete),
    (r"POST /lfs/(?P<oid>\w+)/verify", verify),
    (rf"(GET|HEAD) /{NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", resolve),
    (rf"(GET|HEAD) /cdn/{NAME}/(?P<oid>\w+)/(?P<file>.+)", cdn),
)
