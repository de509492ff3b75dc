"""Formats, columns and types of outputs as other programs read them; and one run at a time."""

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

import datasets
import duckdb
import faiss
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image
from usearch.index import Index

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding import partial
from cfamc_zoo.embedding.lock import only_one
from cfamc_zoo.errors import UsageError


@pytest.fixture
def images(tmp_path, monkeypatch, sample):
    """Ten images in a folder, the fourth of them wider than high."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(10):
        image = Image.fromarray(sample.images[i])
        image.resize((48, 32) if i == 3 else (32, 32)).save(f"images/{i}.png")
    return tmp_path / "images"


@pytest.fixture
def embed(images, tiny_release, capsys):
    def call(*arguments):
        code = run(["embed", *map(str, arguments), "-m", str(tiny_release), "--threads", "1"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def expected(images, tiny_release):
    return cfamc_zoo.embed(sorted(images.iterdir()), model=str(tiny_release))


PANDAS = {
    "e.parquet": pd.read_parquet,
    "e/": pd.read_parquet,
    "e.jsonl": lambda path: pd.read_json(path, lines=True),
}
POLARS = {"e.parquet": pl.read_parquet, "e/": pl.read_parquet, "e.jsonl": pl.read_ndjson}
TABLES = {"e.parquet": "e.parquet", "e/": "e/*.parquet", "e.jsonl": "e.jsonl"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("output", TABLES)
def test_programs_read_names_vectors_and_columns(
    embed, tmp_path, monkeypatch, expected, output, dtype
):
    monkeypatch.setattr(partial, "PARTITION", 4)
    more = ("--columns", "width,size", "--dtype", dtype, "--batch-size", "4")
    assert embed("images", "-o", output, *more)[0] == 0
    frame, polars = PANDAS[output](output), POLARS[output](output)
    rows = duckdb.sql(f"select path, embedding, width from '{TABLES[output]}'").fetchall()
    kind = "json" if output == "e.jsonl" else "parquet"
    hub = datasets.load_dataset(
        kind, data_files=TABLES[output], split="train", cache_dir=str(tmp_path / "cache")
    )
    names = [f"images/{i}.png" for i in range(10)]
    widths = [48 if i == 3 else 32 for i in range(10)]
    read = {
        "pandas": (list(frame.path), np.stack(frame.embedding), list(frame.width)),
        "polars": (
            list(polars["path"]),
            np.array(polars["embedding"].to_list()),
            list(polars["width"]),
        ),
        "duckdb": ([r[0] for r in rows], np.array([r[1] for r in rows]), [r[2] for r in rows]),
        "datasets": (hub["path"][:], np.array(hub["embedding"][:]), hub["width"][:]),
    }
    tolerance = 1e-5 if dtype == "float32" else 1e-3
    for program, (paths, vectors, width) in read.items():
        assert list(paths) == names and list(width) == widths, program
        assert vectors.shape == expected.shape, program
        np.testing.assert_allclose(vectors, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_arrays_and_csv_hold_the_same(embed, expected, dtype):
    for output in ("e.npy", "e.csv"):
        assert embed("images", "-o", output, "--dtype", dtype)[0] == 0
    array = np.load("e.npy", mmap_mode="r")
    assert array.dtype == dtype
    values = [f"e{i}" for i in range(expected.shape[1])]
    for frame in (pd.read_csv("e.csv"), pl.read_csv("e.csv"), duckdb.sql("from 'e.csv'").df()):
        assert list(frame["path"]) == [f"images/{i}.png" for i in range(10)]
        np.testing.assert_array_equal(np.asarray(frame[values], np.float32), array)
    tolerance = 1e-5 if dtype == "float32" else 1e-3
    np.testing.assert_allclose(array, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("output", ["e.npy", "e.parquet"])
def test_indexes_of_neighbours_find_each_image_itself(embed, output):
    assert embed("images", "-o", output, "--normalize")[0] == 0
    if output == "e.npy":
        vectors = np.load(output)
    else:
        vectors = np.stack(pq.read_table(output).column("embedding").to_pylist()).astype("f4")
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    assert flat.search(vectors, 1)[1].ravel().tolist() == [*range(10)]
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(10), vectors)
    assert [int(index.search(v, 1).keys[0]) for v in vectors] == [*range(10)]


def test_columns_say_what_the_file_is(embed, images):
    names = ["width", "height", "sha256", "size", "mtime"]
    (images / "bad.png").write_text("no image")
    assert embed("images", "-o", "e.parquet", "--columns", ",".join(names))[0] == 1
    for row in pq.read_table("e.parquet").to_pylist():
        path = images / os.path.basename(row["path"])  # noqa: PTH119
        content, status = path.read_bytes(), path.stat()
        with Image.open(path) as image:
            wanted = [*image.size, hashlib.sha256(content).hexdigest()]
        assert [row[name] for name in names] == [*wanted, len(content), status.st_mtime_ns]
    assert embed("images", "-o", "e.csv", "--columns", "height,mtime")[0] == 1
    head, first = (images.parent / "e.csv").read_text().splitlines()[:2]
    assert head.startswith("path,height,mtime,e0,")
    assert first.startswith(f"images/0.png,32,{(images / '0.png').stat().st_mtime_ns},")


def test_the_default_is_path_and_vector(embed):
    assert embed("images")[0] == 0
    assert pq.read_schema("embeddings.parquet").names == ["path", "embedding"]


def test_a_folder_has_files_of_a_bounded_size_and_of_one_job(embed, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "PARTITION", 4)
    assert embed("images", "-o", "e/", "--batch-size", "4")[0] == 0
    files = sorted((tmp_path / "e").iterdir())
    assert [pq.read_metadata(file).num_rows for file in files] == [4, 4, 2]
    said = [pq.read_schema(file).metadata for file in files]
    assert said[0][b"model"] == b"tiny"
    for key in (b"job", b"sha256", b"feature", b"preprocessing"):
        assert len({one[key] for one in said}) == 1
    monkeypatch.setattr(partial, "PARTITION", 8192)
    monkeypatch.setattr(partial, "PARTITION_BYTES", 2 * 32 * 4)
    assert embed("images", "-o", "e", "--batch-size", "2", "--overwrite")[0] == 0
    assert [pq.read_metadata(f).num_rows for f in sorted((tmp_path / "e").iterdir())] == [2] * 5


def test_reasons_lie_beside_a_folder(embed, images, tmp_path):
    (images / "bad.png").write_text("no image")
    assert embed("images", "-o", "e/")[0] == 1
    (line,) = (tmp_path / "e.unreadable.jsonl").read_text().splitlines()
    said = json.loads(line)
    assert said["path"] == "images/bad.png" and "not an image" in said["reason"]
    (images / "bad.png").unlink()
    assert embed("images", "-o", "e/", "--overwrite")[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"images", "e"}


def test_skipped_errors_are_listed_and_no_failure(embed, images):
    (images / "bad.png").write_text("no image")
    code, out, err = embed("images", "--on-error", "skip")
    assert code == 0 and out == "embeddings.parquet\n"
    assert "unreadable: images/bad.png: not an image" in err
    assert "1 of 11 images could not be read" in err
    # Without any output there is nothing to go on with.
    assert embed("images/bad.png", "-o", "b.npy", "--on-error", "skip")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--columns", "widht"], "did you mean width"),
        (["--columns", "width,,size"], "empty name"),
        (["--columns", "width", "-o", "e.npy"], "no room for columns (width); choose .parquet"),
        (["--dtype", "float61"], "did you mean float16"),
        (["--by", "time"], "did you mean mtime"),
        (["--on-error", "ignore"], "known: fail, skip"),
        (["-o", "images/"], "did not write; give a new one"),
        (["-o", "images/0.png/"], "is a file"),
        (["-o", "nowhere/e/"], "does not exist"),
    ],
)
def test_what_cannot_be_is_one_line(embed, tmp_path, arguments, said):
    code, out, err = embed("images", *arguments)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"images"}


def test_a_value_beyond_float16_is_refused(tiny_release):
    from cfamc_zoo.embedding.scaling import scale

    with pytest.raises(UsageError, match="70000, and float16 ends at 65,504"):
        scale(np.array([[1, -7e4]], np.float32), unit=False, dtype="float16")
    assert scale(np.array([[3, 4e5]], np.float32), unit=True, dtype="float16").dtype == "float16"


def test_a_second_run_into_one_output_is_refused(embed, tmp_path):
    with only_one(tmp_path / "e.parquet"):
        code, out, err = embed("images", "-o", tmp_path / "e.parquet")
    assert (code, out) == (2, "")
    assert err.startswith("error: another run is writing") and err.count("\n") == 1
    assert embed("images", "-o", tmp_path / "e.parquet")[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"images", "e.parquet"}


def test_a_lock_dies_with_its_process(tmp_path):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom cfamc_zoo.embedding.lock import only_one\n"
        "with only_one(Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "e.npy")], check=False)
    assert (tmp_path / ".e.npy.lock").exists()
    with only_one(tmp_path / "e.npy"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_at_the_last_partition_keeps_the_others(embed, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "PARTITION", 4)
    replace = os.replace

    def full(source, target):
        if str(target).endswith("part-00002.parquet"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        code, _, err = embed("images", "-o", "e/", "--batch-size", "4")
    assert code == 1 and "No space left" in err and err.count("\n") == 1
    assert not (tmp_path / "e").exists()
    code, _, err = embed("images", "-o", "e/", "--batch-size", "4")
    assert code == 0 and "went on after 8 images" in err
    assert pd.read_parquet("e").path.is_monotonic_increasing
    assert {p.name for p in tmp_path.iterdir()} == {"images", "e"}


def test_columns_of_what_lies_in_an_archive(embed, images, tmp_path):
    with tarfile.open("images.tar", "w") as archive:
        archive.add("images/3.png")
    assert embed("images.tar", "-o", "e.jsonl", "--columns", "width,sha256,size")[0] == 0
    row = json.loads((tmp_path / "e.jsonl").read_text())
    content = (images / "3.png").read_bytes()
    assert row["width"] == 48 and row["size"] == len(content)
    assert row["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_list_without_images_leaves_nothing(embed, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    code, out, err = embed("-")
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"images"}
