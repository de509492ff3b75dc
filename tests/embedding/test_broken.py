"""Folders as they are found: broken files, endless names, what goes meanwhile, and huge files."""

import hashlib
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding import columns, pipeline
from tests.embedding.broken import PNG, WAYS, compare, write
from tests.embedding.test_stream import tiff


@pytest.fixture
def embed(tiny_release, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; gives exit code, what it said to programs and people."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        words = ["embed", *map(str, arguments), "-m", str(tiny_release), "--threads", "1"]
        code = run([*words, "-o", "e.parquet", "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return call


def test_of_a_thousand_files_the_broken_ones_are_named_and_the_rest_is_there(embed, tmp_path):
    reasons = write(Path("images"), 1000)
    assert len(reasons) == len(WAYS) == 10
    code, said, err = embed("images")
    assert code == 1
    compare(said, reasons, 1000)
    assert err.count("\n") == 11 and "10 of 1000 images could not be read" in err
    names = pq.read_table("e.parquet").column("path").to_pylist()
    assert names == sorted(names) and not {*names} & {*reasons}
    assert {p.name for p in tmp_path.iterdir()} == {"images", "e.parquet"}


def test_what_goes_while_the_folder_is_embedded_is_named_and_what_comes_is_left(
    embed, tmp_path, monkeypatch
):
    write(Path("images"), 40)
    last = Path("images/000/0000039.png")
    read_image = pipeline.read_image

    def meanwhile(content, preprocess):
        last.unlink(missing_ok=True)
        Path("images/000/new.png").write_bytes(PNG)
        return read_image(content, preprocess)

    monkeypatch.setattr(pipeline, "read_image", meanwhile)
    code, said, _ = embed("images")
    assert code == 1 and said["written"] == 39
    assert said["unreadable"] == [{"path": str(last), "reason": "No such file or directory"}]


def test_a_path_of_four_thousand_characters_is_embedded_and_searched(embed, tmp_path, capsys):
    deep = tmp_path
    while len(os.fsencode(deep)) < 3850:
        deep = deep / f"ü{'n' * 200}"
        deep.mkdir()
    name = deep.relative_to(tmp_path) / "a.png"
    name.write_bytes(PNG)
    Path(os.fsdecode(b"\xff\xfe.png")).write_bytes(PNG)
    Path("b.png").write_bytes(PNG)
    code, said, _ = embed(".")
    assert (code, said["written"]) == (0, 2)
    assert sum(said["left_out"].values()) == 1
    assert run(["search", str(name), "--in", "e.parquet", "-k", "1"]) == 0
    assert "b.png" in capsys.readouterr().out


@pytest.mark.parametrize("limit", [columns.LARGE, 10])
def test_columns_say_the_same_of_a_large_file_which_is_not_read_whole(embed, limit, monkeypatch):
    Image.new("RGB", (48, 32)).save("a.png")
    content = Path("a.png").read_bytes()
    monkeypatch.setattr(columns, "LARGE", limit)
    assert embed("a.png", "--columns", "width,height,sha256,size")[0] == 0
    (row,) = pq.read_table("e.parquet").drop_columns("embedding").to_pylist()
    assert row == {
        "path": "a.png",
        "width": 48,
        "height": 32,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }


def test_columns_of_what_is_huge_or_no_file(embed, tmp_path, monkeypatch):
    """Ten gigabytes of nothing; by hand with the column sha256, too, which reads all of it."""
    tiff(tmp_path / "huge.tif", 8, 8)
    os.mkfifo("pipe.png")
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read_bytes(path) if path.name != "huge.tif" else None
    )
    assert embed("huge.tif", "--columns", "width,size")[0] == 0
    (row,) = pq.read_table("e.parquet").drop_columns("embedding").to_pylist()
    assert row == {"path": "huge.tif", "width": 8, "size": 10 << 30}
    said = embed("pipe.png", "--columns", "sha256", "--overwrite")[1]
    assert said["unreadable"] == [{"path": "pipe.png", "reason": "not a regular file"}]
