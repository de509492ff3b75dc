"""`cfamc-zoo embed` as a user calls it, and what it does when things go wrong."""

import csv
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

import cfamc_zoo
from cfamc_zoo.zoo.images.preprocess import PREPROCESSING
from tests import inside
from tests.bombs import bomb


def embed(*arguments, **options):
    done = inside.cfamc_zoo("embed", *arguments, **options)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def images(tmp_path, sample):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, pixels in enumerate(sample.images[:12]):
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def expected(sample, tiny_release):
    import torch

    x = torch.from_numpy(sample.images[:12]).permute(0, 3, 1, 2) / 255
    return cfamc_zoo.load(str(tiny_release))(x).numpy()


def test_vectors_are_the_encoders_and_the_file_says_what_made_them(
    images, tiny_release, tmp_path, expected
):
    out = tmp_path / "e.parquet"
    done = embed(images, "-m", tiny_release, "-o", out)
    assert done.stdout == f"{out}\n"

    frame = pd.read_parquet(out)
    assert list(frame.path) == [str(images / f"{i:02}.png") for i in range(12)]
    np.testing.assert_allclose(np.stack(frame.embedding), expected, rtol=1e-4, atol=1e-5)
    rows = duckdb.sql(f"select path, embedding from '{out}' order by path").fetchall()
    np.testing.assert_allclose([r[1] for r in rows], expected, rtol=1e-4, atol=1e-5)

    schema = pq.read_schema(out)
    assert str(schema.field("embedding").type) == "fixed_size_list<element: float>[32]"
    said = {k.decode(): v.decode() for k, v in schema.metadata.items() if k != b"ARROW:schema"}
    assert said["model"] == "tiny"
    assert (
        said["sha256"]
        == json.loads((tiny_release / "config.json").read_text())["files"]["model.safetensors"][
            "sha256"
        ]
    )
    assert said["feature"] == "backbone"
    preprocessing = json.loads(said["preprocessing"])
    assert preprocessing["size"] == 32 and preprocessing["version"] == PREPROCESSING


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("suffix", ["npy", "csv", "jsonl"])
def test_other_formats_hold_the_same(images, tiny_release, tmp_path, expected, suffix, backend):
    out = tmp_path / f"e.{suffix}"
    embed(images, "-m", tiny_release, "-o", out, "--backend", backend, "--batch-size", 5)
    if suffix == "npy":
        vectors = np.load(out)
        lines = (tmp_path / "e.npy.paths.txt").read_text().splitlines()
        names = [json.loads(line) for line in lines]
    elif suffix == "csv":
        rows = list(csv.reader(out.read_text().splitlines()))
        names, vectors = [r[0] for r in rows[1:]], np.array([r[1:] for r in rows[1:]], float)
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        names, vectors = [r["path"] for r in rows], np.array([r["embedding"] for r in rows])
    assert names == [str(images / f"{i:02}.png") for i in range(12)]
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)


def test_normalized_features_of_other_layers(images, tiny_release, tmp_path):
    for feature, backend in (("representation", "onnx"), ("projection", "torch")):
        out = tmp_path / f"{feature}.npy"
        options = ["--features", feature, "--backend", backend, "--normalize"]
        embed(images, "-m", tiny_release, "-o", out, *options)
        norms = np.linalg.norm(np.load(out), axis=1)
        np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_unreadable_files_are_listed_and_the_rest_is_written(images, tiny_release, tmp_path):
    (images / "empty.png").write_text("")
    (images / "text.png").write_text("this is no image")
    whole = (images / "00.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "zwei\nZeilen.png").write_bytes(b"?")
    (images / "žluťoučký kůň.png").write_bytes(whole)
    (images / "bomb.png").write_bytes(bomb())
    out = tmp_path / "e.parquet"
    done = embed(images, "-m", tiny_release, "-o", out, "--json", code=1)
    answer = json.loads(done.stdout)
    assert answer["written"] == 13
    reasons = {Path(u["path"]).name: u["reason"] for u in answer["unreadable"]}
    assert set(reasons) == {"empty.png", "text.png", "cut.png", "zwei\nZeilen.png", "bomb.png"}
    assert reasons["empty.png"] == "the file is empty"
    assert "pixels" in reasons["bomb.png"]
    assert "5 of 18 images could not be read" in done.stderr
    assert done.stderr.count("\n") == 6, "a name with a line end stays on one line"
    assert "žluťoučký kůň.png" in pd.read_parquet(out).path.iloc[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gone"], 2, "does not exist"),
        (["images", "-m", "resnet"], 2, "unknown model"),
        (["images", "--features", "backbon"], 2, "did you mean backbone"),
        (["images", "--backend", "onx"], 2, "did you mean onnx"),
        (["images", "-o", "nowhere/e.parquet"], 2, "does not exist; create it first"),
        (["images", "-o", "e.txt"], 2, "unknown output format"),
        (["images", "-o", "images"], 2, "unknown output format"),
        (["images", "--batch-size", "0"], 2, "--batch-size"),
        (["images", "--features", "projection"], 2, "needs --backend torch"),
        (["empty"], 1, "no images in"),
        (["images", "-o", "images/00.png/e.parquet"], 2, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line(images, tiny_release, arguments, code, said, tmp_path):
    (tmp_path / "empty").mkdir()
    model = [] if "-m" in arguments else ["-m", tiny_release]
    done = embed(*arguments, *model, code=code, cwd=tmp_path)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"images", "empty"}, "nothing half-written"


def test_a_finished_output_is_not_replaced_unasked(images, tiny_release, tmp_path):
    out = tmp_path / "e.npy"
    out.write_text("precious")
    done = embed(images, "-m", tiny_release, "-o", out, code=2)
    assert "--overwrite" in done.stderr
    assert out.read_text() == "precious"
    embed(images, "-m", tiny_release, "-o", out, "--overwrite")
    assert np.load(out).shape == (12, 32)


def test_a_disk_that_fills_up_leaves_nothing_half_written(images, tiny_release, tmp_path):
    """A limit on file size stands for the full disk: the write itself fails."""
    out = tmp_path / "e.parquet"

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    command = [sys.executable, "-B", "-m", "cfamc_zoo", "embed", images, "-m", tiny_release]
    done = subprocess.run(
        [*command, "-o", out], capture_output=True, text=True, preexec_fn=limit, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    embed(images, "-m", tiny_release, "-o", out)
    assert {p.name for p in tmp_path.iterdir()} == {"images", "e.parquet"}


SLOW = """
import sys, time
from cfamc_zoo.embedding import job, partial
partial.PART = 4
embed_files = job.embed_files
def slowly(*a, **k):
    for batch in embed_files(*a, **k):
        time.sleep(0.3)
        yield batch
job.embed_files = slowly
sys.argv = ["cfamc-zoo", *sys.argv[1:]]
from cfamc_zoo.cli.app import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_job_that_is_ended_goes_on_where_it_was(images, tiny_release, tmp_path, number):
    out = tmp_path / "e.npy"
    arguments = ["embed", str(images), "-m", str(tiny_release), "-o", str(out), "--batch-size=4"]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *arguments], stderr=subprocess.PIPE)
    parts = tmp_path / ".e.npy.partial"
    deadline = time.monotonic() + 60
    while not (parts / "000001.arrow").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert not out.exists()

    finish = [sys.executable, "-c", SLOW.replace("0.3", "0"), *arguments, "--json"]
    done = subprocess.run(finish, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["resumed"] == 8
    assert {p.name for p in tmp_path.iterdir()} == {"images", "e.npy", "e.npy.paths.txt"}
    embed(images, "-m", tiny_release, "-o", tmp_path / "whole.npy", "--batch-size", 4)
    assert np.array_equal(np.load(out), np.load(tmp_path / "whole.npy"))


def test_a_tampered_release_embeds_nothing(images, tiny_release, tmp_path):
    release = shutil.copytree(tiny_release, tmp_path / "release")
    path = release / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = embed(images, "-m", release, "-o", tmp_path / "e.npy", code=1)
    assert "is not the file that its config pins" in done.stderr
    assert not (tmp_path / "e.npy").exists()


def test_neither_torch_nor_pandas_is_imported(images, tiny_release, tmp_path):
    script = (
        "import sys\n"
        "from cfamc_zoo.cli.app import run\n"
        f"arguments = ['embed', {str(images)!r}, '-m', {str(tiny_release)!r}]\n"
        "for out in ('e.parquet', 'e.npy', 'e.jsonl', 'folder/'):\n"
        "    assert run([*arguments, '-o', out, '--dtype', 'float16']) == 0\n"
        "arguments += ['--update', '--columns', 'width,sha256,size,mtime']\n"
        "for out in ('u.parquet', 'u.parquet', 'u/', 'u'):\n"
        "    assert run([*arguments, '-o', out]) == 0\n"
        "print([m for m in ('torch', 'torchvision', 'pandas') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
