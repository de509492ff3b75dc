"""The loopback server: requests in, faults around, answers out."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.routes import Request, answer


@contextmanager
def serve(hub):
    """Gives the address, for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle(self):
            try:
                super().handle()
            except ConnectionError:  # the client went away first
                self.close_connection = True

        def meet(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                body = self.chunks()
            parts = urlsplit(self.path)
            request = Request(
                self.command,
                unquote(parts.path),
                {key: values[-1] for key, values in parse_qs(parts.query).items()},
                self.headers,
                body,
            )
            hub.log.append(request.line)
            host = self.headers["Host"].split(":")[0]
            hub.authorizations.setdefault(host, set()).add(self.headers.get("Authorization"))
            proceed = lambda: answer(hub, request)  # noqa: E731
            fault = next((f for f in hub.faults if f.meets(request.line)), None)
            self.send(fault.effect(proceed) if fault else proceed())

        def __getattr__(self, name):
            """do_GET and the like."""
            if name.startswith("do_"):
                return self.meet
            raise AttributeError(name)

        def chunks(self):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def send(self, response):
            if response.sent == -1:
                self.close_connection = True
                return
            self.send_response(response.status)
            length = response.headers.get("Content-Length") or str(len(response.body))
            for key, value in {**response.headers, "Content-Length": length}.items():
                if value:
                    self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body[: response.sent])
                if response.sent is not None:
                    self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
