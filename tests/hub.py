"""A small Hub on loopback that speaks enough of the real protocol for the real client to pull."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Hub:
    """One repository with one revision.

    Attributes:
        files: name to content.
        answer: what the API answers instead, a status and an error code.
        cut: bytes after which a download's connection is closed; None for whole ones.
        served: names of the files whose bodies were asked for.
    """

    def __init__(self, repo, files):
        self.repo, self.files = repo, files
        self.commit = hashlib.sha1(repo.encode()).hexdigest()
        self.answer, self.cut, self.served = None, None, []


@contextmanager
def serve(hub):
    """Gives the address, for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, body=b"", **headers):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = urlsplit(self.path).path
            if hub.answer:
                status, code = hub.answer
                return self.reply(status, b"{}", X_Error_Code=code)
            api = f"/api/models/{hub.repo}"
            if path == api or path.startswith(f"{api}/revision/"):
                revision = path.removeprefix(api).removeprefix("/revision/") or "main"
                if revision not in ("main", hub.commit):
                    return self.reply(404, b"{}", X_Error_Code="RevisionNotFound")
                return self.json({"id": hub.repo, "sha": hub.commit, "siblings": []})
            if path.startswith(f"{api}/tree/"):
                return self.json(
                    [
                        {"type": "file", "path": n, "size": len(c), "oid": blob(c)}
                        for n, c in hub.files.items()
                    ]
                )
            start = f"/{hub.repo}/resolve/{hub.commit}/"
            if path.startswith(start) and path.removeprefix(start) in hub.files:
                return self.file(path.removeprefix(start))
            return self.reply(404, b"{}", X_Error_Code="RepoNotFound")

        def json(self, value):
            self.reply(200, json.dumps(value).encode(), Content_Type="application/json")

        def file(self, name):
            content = hub.files[name]
            first = 0
            if self.headers.get("Range"):
                first = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            headers = {"ETag": f'"{blob(content)}"', "X_Repo_Commit": hub.commit}
            body = content[first:]
            if self.command == "GET":
                hub.served.append(name)
                if hub.cut is not None and len(body) > hub.cut:
                    self.reply(200, body[: hub.cut], Content_Length=str(len(body)), **headers)
                    self.close_connection = True
                    return
            if first:
                headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.reply(206 if first else 200, body, Content_Length=str(len(body)), **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def blob(content):
    """git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
