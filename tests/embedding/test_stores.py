"""Images in buckets and repositories: each store's own package, against a server on loopback."""

import logging
import warnings
from contextlib import contextmanager

import fsspec
import pytest

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.kinds import remote
from tests.embedding.shards import contents, png, tar
from tests.embedding.test_archives import rows, zipped
from tests.hub import Hub
from tests.hub.here import client_of

IMAGES = [(f"{i}.png", png(i)) for i in range(4)]
FILES = {
    "a/1.png": png(1),
    "a/2.png": png(2),
    "a/deep/er/3.PNG": png(3),
    "a/._1.png": b"",
    "a/notes.txt": b"",
    "odd name/ü#1.png": png(5),
    "s.tar": tar(IMAGES),
    "s.zip": zipped(IMAGES),
    "s.parquet": rows({"image": [content for _, content in IMAGES]}),
}


def forget(protocol):
    """The file systems that are open: they know another server, or another key."""
    remote.file_system.cache_clear()
    fsspec.get_filesystem_class(protocol).clear_instance_cache()


@contextmanager
def opened_anew(protocol):
    forget(protocol)
    try:
        yield
    finally:
        forget(protocol)


@pytest.fixture(scope="module")
def bucket():
    """Of S3, with what its console puts there too: a folder that is an empty object."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the server's packages
        import boto3
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch, opened_anew("s3"):
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        client = boto3.client("s3")
        client.create_bucket(Bucket="photos")
        for name, content in {**FILES, "a/": b""}.items():
            client.put_object(Bucket="photos", Key=name, Body=content)
        yield "s3://photos"
    server.stop()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Of the Hub."""
    hub = Hub()
    hub.add("zoo/photos", FILES)
    with client_of(hub, tmp_path_factory.mktemp("cache")), opened_anew("hf"):
        yield "hf://zoo/photos"


@pytest.fixture(params=["bucket", "repository"])
def place(request):
    return request.getfixturevalue(request.param)


def test_a_folder_with_all_below_it(place):
    found = open_inputs([f"{place}/a/"])
    names = [f"{place}/a/{name}" for name in ("1.png", "2.png", "deep/er/3.PNG")]
    assert contents(found) == [(name, png(i)) for i, name in enumerate(names, 1)]
    assert found.left_out == {".txt": 1}
    assert [item.size for item in found] == [len(png(i)) for i in (1, 2, 3)]


def test_a_bucket_says_when_an_image_was_changed(bucket):
    (item,) = open_inputs([f"{bucket}/a/deep/"])
    assert item.modified > 1_700_000_000 * 10**9


@pytest.mark.parametrize("name", ["a/2.png", "odd name/ü#1.png"])
def test_an_image(place, name):
    assert contents(open_inputs([f"{place}/{name}"])) == [(f"{place}/{name}", FILES[name])]


def test_a_pattern(place):
    found = open_inputs([f"{place}/a/*.png"])
    assert [name for name, _ in contents(found)] == [f"{place}/a/1.png", f"{place}/a/2.png"]


@pytest.mark.parametrize("name", ["s.tar", "s.zip"])
def test_archives(place, name):
    found = contents(open_inputs([f"{place}/{name}"]))
    assert found == [(f"{place}/{name}/{member}", content) for member, content in IMAGES]


def test_parquet(place):
    found = contents(open_inputs([f"{place}/s.parquet"]))
    assert found == [(f"{place}/s.parquet#{i}", c) for i, (_, c) in enumerate(IMAGES)]


@pytest.mark.parametrize("name", ["a/gone.png", "none/", "gone.zip"])
def test_what_is_not_there_is_one_line_and_the_rest_is_read(place, name):
    gone, there = contents(open_inputs([f"{place}/{name}", f"{place}/a/1.png"]))
    assert gone[0] == f"{place}/{name}" and "not found" in gone[1]
    assert there == (f"{place}/a/1.png", png(1))


@pytest.mark.parametrize("url", ["s3://nobucket/", "hf://zoo/none/"])
def test_a_store_that_is_not_there(bucket, repository, url):
    ((name, said),) = contents(open_inputs([url]))
    assert name == url and said == "cannot be listed: not found"


def test_a_bucket_without_its_key(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with opened_anew("s3"):
        ((_, said),) = contents(open_inputs([f"{bucket}/a/1.png"]))
    assert said == "Unable to locate credentials"


def test_a_package_says_the_same_thing_once(capfd, monkeypatch):
    """As it comes where a program has set up no logging, which pytest does."""
    log = logging.getLogger("gcsfs")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    remote.file_system.cache_clear()
    remote.file_system("memory")
    for file in range(3):
        log.warning("the type of %s is not known", "bucket")
        log.warning("file %d is odd", file)
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "the type of bucket is not known"
    assert said[1:] == [f"file {file} is odd" for file in range(3)]
