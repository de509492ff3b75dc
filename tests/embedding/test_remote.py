"""Images behind addresses: a web server on this machine, and fsspec's file system in memory."""

import pickle
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.registry import _registry

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.kinds import remote
from cfamc_zoo.errors import UsageError
from tests.embedding.shards import contents, png, tar
from tests.embedding.test_archives import rows, zipped

IMAGES = [(f"{i}.png", png(i)) for i in range(4)]
FILES = {
    "/a.png": png(0),
    "/query": png(1),
    "/page.jpg": b"\n<!DOCTYPE html><html>sign in</html>",
    "/s.tar": tar(IMAGES),
    "/s.tar.gz": tar(IMAGES, "w:gz"),
    "/s.zip": zipped(IMAGES),
    "/s.parquet": rows({"image": [content for _, content in IMAGES]}),
    "/d/": b'<a href="/d/2.png"></a><a href="/d/1.png"></a><a href="/d/e/"></a><a href="/d/x.txt">',
    "/d/e/": b'<a href="/d/e/3.png"></a>',
    **{f"/d/{name}": b"image" for name in ("1.png", "2.png", "e/3.png")},
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    waits = threading.Event()

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        if self.path.startswith("/stalls"):
            self.waits.wait(20)
        content = FILES.get(self.path.split("?")[0])
        if self.path.startswith("/cut"):
            content = bytes(100)
        body = content or b""
        asked = self.headers.get("Range")
        part = asked is not None and content is not None and not self.path.endswith("whole")
        if part:
            first, last = asked.removeprefix("bytes=").split("-")
            body = body[int(first) : int(last or len(body)) + 1]
        self.send_response(404 if content is None else 206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        length = len(body) * (2 if self.path.startswith("/cut") else 1)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        if self.path.startswith("/cut"):
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def web(monkeypatch):
    """The server's address; nothing answers after 1 second."""
    monkeypatch.setattr(remote, "SILENCE", 1)
    remote.file_system.cache_clear()
    fsspec.get_filesystem_class("http").clear_instance_cache()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.waits.set()
    server.shutdown()
    server.server_close()
    Handler.waits.clear()
    remote.file_system.cache_clear()


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def test_a_file_on_the_web_whatever_its_suffix(web):
    found = open_inputs([f"{web}/a.png", f"{web}/query?id=7&x=[1]", f"{web}/a.png"])
    assert found.total == 2
    items = [pickle.loads(pickle.dumps(item)) for item in found]
    assert contents(items) == [
        (f"{web}/a.png", png(0)),
        (f"{web}/query?id=7&x=[1]", png(1)),
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gone.png", "not found"),
        ("page.jpg", "a web page, not an image"),
        ("stalls.png", "no answer in time"),
        ("cut.png", ""),
        ("gone.tar", "damaged or cut (not found)"),
        ("gone.zip", "not found"),
        ("gone.parquet", "not found"),
        ("none/", "cannot be listed: not found"),
    ],
)
def test_what_the_web_does_not_give_is_one_line_and_the_rest_is_read(web, path, said):
    found = contents(open_inputs([f"{web}/{path}", f"{web}/a.png"]))
    assert found[0][0] == f"{web}/{path}" and isinstance(found[0][1], str)
    assert said in found[0][1]
    assert found[-1] == (f"{web}/a.png", png(0))


def test_a_server_that_never_ends_an_image_is_given_up(web, monkeypatch):
    monkeypatch.setattr(remote, "DEADLINE", 0.2)
    monkeypatch.setattr(remote, "SILENCE", 1000)
    remote.file_system.cache_clear()
    assert contents(open_inputs([f"{web}/stalls.png"]))[0][1] == "no answer in time"


def test_no_server_is_one_line():
    (row,) = contents(open_inputs(["http://127.0.0.1:9/a.png"]))
    assert "Cannot connect" in row[1]


@pytest.mark.parametrize("name", ["s.tar", "s.tar.gz", "s.zip", "s.tar?whole"])
def test_archives_on_the_web(web, name):
    place = f"{web}/{name}"
    assert contents(open_inputs([place])) == [(f"{place}/{n}", c) for n, c in IMAGES]


def test_parquet_on_the_web(web):
    place = f"{web}/s.parquet"
    found = open_inputs([place])
    assert found.total == 4
    assert contents(found) == [(f"{place}#{i}", c) for i, (_, c) in enumerate(IMAGES)]


def test_a_folder_and_a_pattern_on_the_web(web):
    found = open_inputs([f"{web}/d/"])
    assert [n for n, _ in contents(found)] == [
        f"{web}/d/{n}" for n in ("1.png", "2.png", "e/3.png")
    ]
    assert found.left_out == {".txt": 1}
    assert [n for n, _ in contents(open_inputs([f"{web}/d/*.png"]))] == [
        f"{web}/d/1.png",
        f"{web}/d/2.png",
    ]


def test_folders_and_patterns_of_object_stores(memory):
    for name in (
        "b/2.png",
        "b/1.png",
        "b/c/3.PNG",
        "b/._1.png",
        "b/t.txt",
        "b/.h/4.png",
        "b/a.tar",
    ):
        memory.pipe(f"/{name}", tar(IMAGES) if name.endswith("tar") else name.encode())
    found = open_inputs(["memory://b"])
    assert contents(found) == [
        (f"memory:///b/{n}", f"b/{n}".encode()) for n in ("1.png", "2.png", "c/3.PNG")
    ]
    assert found.left_out == {".txt": 1, ".tar": 1}
    assert [item.size for item in found] == [7, 7, 9]
    assert [item.name for item in open_inputs(["memory://b/*.png"])] == [
        "memory:///b/1.png",
        "memory:///b/2.png",
    ]
    assert len(list(open_inputs(["memory://b/?.tar"]))) == 4
    with pytest.raises(UsageError, match="matches nothing"):
        open_inputs(["memory://b/*.bmp"])
    assert contents(open_inputs(["memory://none/"])) == [
        ("memory://none/", "cannot be listed: not found")
    ]


def test_a_protocol_whose_package_is_missing_or_that_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # imported before
    remote.file_system.cache_clear()
    with pytest.raises(UsageError, match=r"s3:// needs a package.*pip install 'cfamc-zoo\[s3\]'"):
        open_inputs(["s3://bucket/a.png"])
    with pytest.raises(UsageError, match=r"unknown protocol 's4'.*did you mean"):
        open_inputs(["s4://bucket/a.png"])


def test_an_address_of_this_machine_is_a_path(tmp_path):
    (tmp_path / "a b.png").write_bytes(b"x")
    (item,) = open_inputs([(tmp_path / "a b.png").as_uri()])
    assert item.name == str(tmp_path / "a b.png") and item.content() == tmp_path / "a b.png"
