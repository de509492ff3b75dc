"""Lists of names on standard input."""

import io
import tracemalloc

import pytest

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.kinds import listed
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.folders import describe
from tests.embedding.shards import contents, png, tar


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(i))


def names(text, separator=listed.LINE):
    found = open_inputs(["-"], separator=separator, stdin=io.BytesIO(text))
    return [item.name for item in found]


def test_a_name_a_line_or_between_zero_bytes(tmp_path):
    assert names(b"2.png\r\n\n0.png\n./1.png") == ["2.png", "0.png", "1.png"]
    (tmp_path / "two\nlines.png").touch()
    assert names(b"two\nlines.png\0001.png\0", listed.NULL) == ["two\nlines.png", "1.png"]


@pytest.mark.parametrize("at_once", [1, 3, 1 << 16])
def test_names_are_the_same_however_they_arrive(monkeypatch, at_once):
    monkeypatch.setattr(listed, "AT_ONCE", at_once)
    assert names(b"2.png\n0.png\n\n1.png\n") == ["2.png", "0.png", "1.png"]


def test_it_is_read_as_far_as_images_are_wanted():
    stream = io.BytesIO(b"0.png\n" * 100_000)
    items = iter(open_inputs(["-"], stdin=stream))
    next(items)
    assert stream.tell() <= listed.AT_ONCE


def test_folders_and_archives_are_opened_and_the_rest_of_a_bad_list_is_read(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x.png").write_bytes(b"x")
    (tmp_path / "d/x.txt").write_bytes(b"x")
    (tmp_path / "s.tar").write_bytes(tar([("y.png", b"y")]))
    long = "n" * 4000 + ".png"
    lines = ["d", "s.tar", "gone.png", "*.png", long, "s9://a/b", "z" * 70_000, "0.png"]
    text = "\n".join(lines).encode() + b"\n\xff.png\n1.png"
    found = open_inputs(["-", "-"], stdin=io.BytesIO(text))
    rows = contents(found)
    assert [name for name, _ in rows] == [
        *("d/x.png", "s.tar/y.png", "gone.png", "*.png", long, "s9://a/b"),
        *("z" * 60 + "...", "0.png", "\\xff.png", "1.png"),
    ]
    assert "unknown protocol 's9'" in rows[5][1] and "over 65536 bytes" in rows[6][1]
    assert "no known encoding" in rows[8][1]
    assert describe(found.left_out) == "left out: 1 .txt"


def test_an_empty_list_or_an_image_itself():
    with pytest.raises(DataError, match="standard input names no images; give one path"):
        names(b"\n\n")
    with pytest.raises(UsageError, match="give --null"):
        names(png(0))


def test_a_name_without_end_is_not_held():
    endless = io.BufferedReader(io.BytesIO(b"z" * 20_000_000))
    tracemalloc.start()
    try:
        (item,) = open_inputs(["-"], stdin=endless)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert item.name == "z" * 60 + "..."
