"""Vectors against float64, order, and files and names that are hard; see also tests/cli."""

import io
import json
import os
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding import partial
from tests.bombs import bomb


def encode(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, sample):
    """Seven images: in sub-folders, with suffixes in any case, and names that are hard."""
    names = [
        "b.png",
        "a.PNG",
        "sub/c.jpeg",
        "sub/deep/d.Png",
        "é 写真.png",
        "line\nend.png",
        "z.tif",
    ]
    for name, pixels in zip(names, sample.images, strict=False):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "images" / "notes.txt").write_text("not for embedding")
    return tmp_path / "images"


@pytest.fixture
def embed(tiny_release, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model=tiny_release):
        code = run(["embed", *map(str, arguments), "-m", str(model), "--threads", "1"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize("feature", ["backbone", "representation"])
def test_onnx_and_torch_give_the_vectors_of_the_encoder(
    embed, folder, tmp_path, sample, tiny_release, feature
):
    for backend in ("onnx", "torch"):
        arguments = ("--backend", backend, "--device", "cpu", "--features", feature)
        assert embed("images", *arguments, "-o", f"{backend}.parquet")[0] == 0
    onnx, eager = (
        np.stack(pq.read_table(tmp_path / f"{b}.parquet").column("embedding").to_pylist())
        for b in ("onnx", "torch")
    )
    paths = pq.read_table(tmp_path / "onnx.parquet").column("path").to_pylist()
    scale = np.abs(eager).max()
    assert np.abs(onnx - eager).max() < 1e-5 * scale
    # Against float64, for the two files that keep the sample's pixels exactly.
    encoder = cfamc_zoo.load(str(tiny_release)).double()
    for name, i in (("images/b.png", 0), ("images/a.PNG", 1)):
        x = torch.from_numpy(sample.images[i].copy()).permute(2, 0, 1)[None].double() / 255
        exact = encoder(x, feature)[0].numpy()
        assert np.abs(onnx[paths.index(name)] - exact).max() < 1e-5 * scale


def test_vectors_do_not_depend_on_batch_size_and_normalize_scales_them(embed, folder, tmp_path):
    for name, more in (("one", ("--batch-size", "1")), ("all", ()), ("unit", ("--normalize",))):
        assert embed("images", "-o", f"{name}.npy", *more)[0] == 0
    one, whole, unit = (np.load(tmp_path / f"{n}.npy") for n in ("one", "all", "unit"))
    np.testing.assert_allclose(one, whole, rtol=0, atol=1e-5 * np.abs(whole).max())
    np.testing.assert_allclose(unit, whole / np.linalg.norm(whole, axis=1, keepdims=True), 1e-5)


def test_files_folders_and_patterns_come_once_each_in_order(embed, folder, tmp_path):
    code, out, _ = embed("images/z.tif", "images/*.png", "images", "--json")
    assert code == 0
    assert json.loads(out)["written"] == 7
    paths = pq.read_table(tmp_path / "embeddings.parquet").column("path").to_pylist()
    assert paths[:2] == ["images/z.tif", "images/b.png"]
    assert len(set(paths)) == 7


def test_unreadable_files_are_listed_with_reasons_and_the_rest_is_written(
    embed, folder, tmp_path, sample
):
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("hello")
    whole = encode(Image.fromarray(sample.images[0]))
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bomb.png").write_bytes(bomb())
    os.mkfifo(folder / "pipe.png")
    code, out, err = embed("images", "images/pipe.png", "--json")
    assert code == 1
    assert "left out: 1 .txt, 1 pipe, socket or device" in err
    assert "5 of 12 images could not be read" in err
    result = json.loads(out)
    reasons = {u["path"].removeprefix("images/"): u["reason"] for u in result["unreadable"]}
    assert result["written"] == 7 == pq.read_table(tmp_path / "embeddings.parquet").num_rows
    assert "empty" in reasons["empty.png"]
    assert "not an image" in reasons["text.png"]
    assert "50000 x 50000" in reasons["bomb.png"] or "pixels" in reasons["bomb.png"]
    assert "not a regular file" in reasons["pipe.png"]
    assert reasons["half.png"]
    assert len(err.splitlines()) == 7


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("suffix", ["parquet", "npy", "csv", "jsonl"])
def test_where_nothing_can_be_read_nothing_is_written(embed, tmp_path, suffix):
    """A list or an archive by mistake: no file is then in the way of the right command."""
    (tmp_path / "list.txt").write_text("a.png\n")
    with zipfile.ZipFile(tmp_path / "images.cbz", "w") as archive:
        archive.writestr("a.png", encode(Image.new("RGB", (8, 8))))
    before = files_of(tmp_path)
    code, out, err = embed("list.txt", "images.cbz", "-o", f"e.{suffix}")
    assert (code, out) == (1, "")
    assert "list.txt: not an image" in err and "images.cbz: not an image" in err
    assert "2 of 2 images could not be read; nothing was written" in err
    assert files_of(tmp_path) == before
    code, out, _ = embed("list.txt", "-o", f"e.{suffix}", "--json")
    said = json.loads(out)
    assert code == 1 and said["output"] is None and said["written"] == 0
    assert [u["path"] for u in said["unreadable"]] == ["list.txt"]
    assert files_of(tmp_path) == before


def test_where_nothing_can_be_read_the_old_output_stays(embed, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "e.npy").write_text("precious")
    assert embed("empty.png", "-o", "e.npy", "--overwrite")[0] == 1
    assert (tmp_path / "e.npy").read_text() == "precious"


def test_a_resumed_job_in_which_nothing_can_be_read_writes_nothing(
    embed, tmp_path, tiny_release, monkeypatch
):
    """Two parts of one broken file each; the first was done by a job that was then killed."""
    monkeypatch.setattr(partial, "PART", 1)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("broken")
    before = files_of(tmp_path)

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partial.Partial, "unreadable", killed)
        assert embed("a.png", "b.png", "-o", "e.npy", "--batch-size", "1")[0] == 130
    assert (tmp_path / ".e.npy.partial" / "000001.arrow").exists()
    code, _, err = embed("a.png", "b.png", "-o", "e.npy")
    assert code == 1 and "went on after 2 images" in err
    assert "a.png: not an image" in err and "b.png: not an image" in err
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a" * 5000], 2, "does not exist"),
        (["gone/*.png"], 2, "matches nothing"),
        (["images/b.png", "--device", "tpu"], 2, "device 'tpu'"),
        (["images", "-o", "e.parket"], 2, "did you mean .parquet?"),
        (["images", "-o", "dir.parquet"], 2, "is a folder"),
    ],
)
def test_a_wrong_call_gets_one_line_and_leaves_nothing(
    embed, folder, tmp_path, arguments, code, said
):
    (tmp_path / "dir.parquet").mkdir()
    before = sorted(tmp_path.rglob("*"))
    got, out, err = embed(*arguments)
    assert (got, out) == (code, "")
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
