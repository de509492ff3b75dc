"""What a person gets wrong, or a disk, by command: one line, the right code, nothing half-written.

`embed`'s own images are in test_embed, its kills in embedding/test_resume.
"""

import dataclasses
import os
import pickle
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load, save

from cfamc_zoo.cli.app import run
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL, open_release, write_files
from tests import inside
from tests.bombs import bomb


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.fixture
def refuse(capsys, monkeypatch, tmp_path):
    """Runs a command that must fail with one line and leave the folder as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def call(*arguments, code):
        before = tree(tmp_path)
        assert run([str(a) for a in arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1, captured.err
        assert tree(tmp_path) == before
        return captured.err

    return call


@pytest.fixture
def images(tmp_path, sample):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(sample.images[i]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("attack -m resnet18-thin-cifar10-fre", 2, "did you mean resnet18-thin-cifar10-free"),
        ("attack -m TINY --data cifar10-sampel", 2, "did you mean cifar10-sample"),
        ("attack -m TINY --data gone/", 2, "unknown data set 'gone/'"),
        ("attack -m TINY --restarts 0", 2, "must be at least 1"),
        ("attack -m TINY --save gone/x.npy", 2, "create it first"),
        ("attack -m TINY --save file/x.npy", 2, "create it first"),
        ("attack -m TINY --report file/x.html", 2, "create it first"),
        ("attack -m TINY --limit 2 --state gone/x", 2, "create it first"),
        ("attack -m TINY --limit 2 --state file/x", 2, "create it first"),
        ("probe -m TINY --data cifar11", 2, "did you mean cifar10"),
        ("probe -o file/x.safetensors", 2, "create it first"),
        ("train cf-amc-ssl --set adversary.replays=0", 2, "at least 1"),
        ("train cf-amc-ssl --set max_steps=-1", 2, "at least 0"),
        ("train cf-amc-ssl --set adversary.eps=8", 2, "did you mean 8/255?"),
        ("train cf-amc-ssl --set adversary.eps=eight", 2, "is not a number"),
        ("train cf-amc-ssl --set vews.count=3", 2, "views.count"),
        ("pull TINY --dest gone/copy", 2, "create it first"),
        ("pull TINY --dest file/copy", 2, "create it first"),
        ("pull TINY --dest empty", 2, "already there"),
        ("info gone/model", 1, "gone/model"),
        ("export TINY -o file/x", 2, "create it first"),
        ("export TINY -o empty", 2, "already there"),
        ("push gone a/b", 2, "is not a folder"),
        ("push empty a/b", 1, "has no config.json"),
        ("embed texts -m TINY", 1, "no images in 'texts'"),
        ("embed images -m TINY -o file/e.parquet", 2, "create it first"),
        ("embed images -m TINY -o ./", 2, "'.' has no name of its own"),
        *(
            (f"{command} s3://b/x{suffix}", 2, f"'s3://b/x{suffix}' is an address")
            for command, suffix in (
                ("embed images -m TINY -o", ".parquet"),
                ("embed images -m TINY -o", ".csv"),
                ("attack -m TINY --limit 2 --save", ".npy"),
                ("attack -m TINY --limit 2 --report", ".html"),
                ("attack -m TINY --limit 2 --state", ""),
                ("verify TINY --state", ""),
                ("verify TINY --report", ".html"),
                ("edits -m TINY --limit 2 --report", ".html"),
                ("probe -m TINY -o", ".safetensors"),
                ("export TINY -o", ""),
                ("pull TINY --dest", ""),
                ("train cf-amc-ssl --data cifar10-sample -o", ""),
            )
        ),
        ("embed images -m empty", 1, "has no config.json"),
        ("embed images -m texts/notes.txt", 2, "is not a folder"),
        ("embed images -m file", 2, "'file' is not a folder"),
        ("train cf-amc-ssl-thin --data cifar10-sample --from file", 2, "'file' is not a folder"),
    ],
)
def test_it_is_one_line(refuse, tiny_release, images, tmp_path, arguments, code, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("no image")
    words = [str(tiny_release) if word == "TINY" else word for word in arguments.split()]
    assert said in refuse(*words, code=code)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.png", "the file is empty"),
        ("text.png", "not an image"),
        ("cut.png", "truncated"),
        ("bomb.png", "pixels"),
        ("zwei\nZeilen žluťoučký.png", "not an image"),
    ],
)
def test_an_image_that_attack_cannot_read_is_named(refuse, tiny_release, images, name, reason):
    whole = (images / "0.png").read_bytes()
    contents = {"empty.png": b"", "cut.png": whole[: len(whole) // 2], "bomb.png": bomb()}
    (images / name).write_bytes(contents.get(name, b"hello"))
    said = refuse("attack", "-m", tiny_release, "--data", images, code=1)
    assert repr(name)[1:-1] in said and reason in said and "remove it" in said


def without_one(tensors):
    del tensors["backbone.conv1.weight"]


def with_one_more(tensors):
    tensors["backbone.extra"] = torch.zeros(1)


def with_another_shape(tensors):
    tensors["backbone.conv1.weight"] = torch.zeros(5, 3, 3, 3)


class Exploit:
    def __reduce__(self):
        return (open, ("exploited", "w"))


def write_damaged(release, damage):
    """The release with other weights: repinned, so that only what reads them can notice."""
    opened = open_release(release)
    if damage == "digest":
        content = bytearray((release / MODEL).read_bytes())
        content[-1] ^= 1
        (release / MODEL).write_bytes(content)
        return
    if damage == "pickle":
        content = pickle.dumps(Exploit())
    else:
        tensors = load(opened.read(MODEL))
        damage(tensors)
        content = save(tensors)
    write_files(release, dataclasses.replace(opened.config), {MODEL: content})


DAMAGES = {
    "digest": "is not the file that its config pins",
    "pickle": "safetensors",
    without_one: "backbone.conv1.weight",
    with_one_more: "backbone.extra",
    with_another_shape: "(5, 3, 3, 3)",
}


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_release_embeds_nothing(refuse, tiny_release, images, tmp_path, damage, backend):
    release = shutil.copytree(tiny_release, tmp_path / "release")
    write_damaged(release, damage)
    said = refuse("embed", "images", "-m", release, "--backend", backend, code=1)
    assert MODEL in said or DAMAGES[damage] in said
    if backend == "torch" or damage == "digest":
        assert DAMAGES[damage] in said


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", ["attack --limit 2", "export -o copy"])
def test_a_damaged_release_is_neither_attacked_nor_exported(
    refuse, tiny_release, tmp_path, damage, command
):
    release = shutil.copytree(tiny_release, tmp_path / "release")
    write_damaged(release, damage)
    verb, *rest = command.split()
    model = [release] if verb == "export" else ["-m", release]
    assert DAMAGES[damage] in refuse(verb, *model, *rest, code=1)


@pytest.mark.parametrize("name", [MODEL, GRAPH])
def test_a_wrong_digest_is_not_pulled(refuse, tiny_release, tmp_path, name):
    release = shutil.copytree(tiny_release, tmp_path / "release")
    (release / name).write_bytes((release / name).read_bytes()[:-1] + b"?")
    said = refuse("pull", release, "--dest", tmp_path / "copy", code=1)
    assert "is not the file that its config pins" in said and name in said


@contextmanager
def files_up_to(size):
    """No file grows over so many bytes, as on a full disk; Python ignores the signal for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "arguments",
    [
        "pull TINY --dest copy",
        "export TINY -o copy",
        "export TINY --single-file one.onnx",
        *(
            f"attack -m TINY --limit 16 --steps 1 --batch-size 8 {output}"
            for output in ("--save a.npy", "--save a.parquet", "--state a.json", "--report a.html")
        ),
        "attack -m TINY --attack feature --limit 16 --steps 1 --save a.npy",
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(tiny_release, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    words = [str(tiny_release) if word == "TINY" else word for word in arguments.split()]
    with files_up_to(4096):
        done = inside.cfamc_zoo(*words, code=1)
    assert "free some space" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "--json"], ["--help"], ["attack", "--help"], []]
)
def test_a_result_that_cannot_be_printed_is_one_line(arguments, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cfamc_zoo", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: cannot write")
    assert "Traceback" not in done.stderr
