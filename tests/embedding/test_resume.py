"""A job that is killed, interrupted or out of space keeps what it did and half-writes nothing."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding import partial

SMALL = 4  # inputs a part, so that twelve images are three parts

SCRIPT = """
import os, resource, signal, sys
from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding import partial
partial.PART = 4
add, fault = partial.Partial.add, sys.argv[1]
def add_then_fail(self, *arguments):
    add(self, *arguments)
    if len(self.done) == 2 and fault.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, fault))
partial.Partial.add = add_then_fail
if fault.isdigit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(fault), int(fault)))
sys.exit(run(["embed", "images", "-m", sys.argv[2], "--threads", "1", "--batch-size", "4"]))
"""


@pytest.fixture(autouse=True)
def _small_parts(tmp_path, sample, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(partial, "PART", SMALL)
    (tmp_path / "images").mkdir()
    for i in range(12):
        Image.fromarray(sample.images[i]).save(tmp_path / "images" / f"{i:02}.png")


def embed(model, *more):
    return run(["embed", "images", "-m", str(model), "--threads", "1", "--batch-size", "4", *more])


def start_and_fail(fault, model):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, fault, str(model)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("fault", "code"), [("SIGKILL", -signal.SIGKILL), ("SIGINT", 130)])
def test_a_job_stopped_halfway_goes_on_and_ends_with_the_same_file(
    tiny_release, tmp_path, capsys, fault, code
):
    assert embed(tiny_release, "-o", "whole.parquet") == 0
    stopped = start_and_fail(fault, tiny_release)
    assert stopped.returncode == code
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / "embeddings.parquet").exists()
    capsys.readouterr()
    assert embed(tiny_release) == 0
    assert "went on after 8 images" in capsys.readouterr().err
    assert pq.read_table("embeddings.parquet").equals(pq.read_table("whole.parquet"))
    assert not list(tmp_path.glob(".*"))


def other_feature(tmp_path):
    return ["--features", "representation"]


def other_columns(tmp_path):
    return ["--columns", "width"]


def other_image(tmp_path):
    path = tmp_path / "images" / "03.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return []


def image_before_all(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "-.png")
    return []


@pytest.mark.parametrize("change", [other_feature, other_columns, other_image, image_before_all])
def test_parts_of_another_job_are_discarded_with_a_note(tiny_release, tmp_path, capsys, change):
    assert start_and_fail("SIGKILL", tiny_release).returncode < 0
    more = change(tmp_path)
    assert embed(tiny_release, *more) == 0
    err = capsys.readouterr().err
    assert "discarded" in err and "went on" not in err
    assert embed(tiny_release, *more, "-o", "fresh.parquet") == 0
    assert pq.read_table("embeddings.parquet").equals(pq.read_table("fresh.parquet"))


def changed(path):
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


@pytest.mark.parametrize(
    ("change", "name", "resumed", "discarded"),
    [
        (changed, "05.png", 4, True),
        (os.unlink, "04.png", 4, True),
        (changed, "08.png", 8, False),
        (os.unlink, "11.png", 8, False),
    ],
)
def test_parts_before_the_first_difference_are_kept(
    tiny_release, tmp_path, capsys, change, name, resumed, discarded
):
    """Two parts of four images were done when the job was killed."""
    assert start_and_fail("SIGKILL", tiny_release).returncode < 0
    change(tmp_path / "images" / name)
    assert embed(tiny_release) == 0
    err = capsys.readouterr().err
    assert f"went on after {resumed} images" in err
    assert ("discarded" in err) == discarded
    assert embed(tiny_release, "-o", "fresh.parquet") == 0
    assert pq.read_table("embeddings.parquet").equals(pq.read_table("fresh.parquet"))


def test_unreadable_files_of_the_first_try_are_still_reported_by_the_second(
    tiny_release, tmp_path, capsys
):
    (tmp_path / "images" / "01.png").write_text("text")
    assert start_and_fail("SIGKILL", tiny_release).returncode < 0
    assert embed(tiny_release) == 1
    err = capsys.readouterr().err
    assert "went on after 8 images" in err and "unreadable: images/01.png" in err
    assert pq.read_table("embeddings.parquet").num_rows == 11


@pytest.mark.parametrize("limit", ["500", "3000"])
def test_a_file_size_limit_is_one_line_and_a_later_try_succeeds(tiny_release, tmp_path, limit):
    failed = start_and_fail(limit, tiny_release)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: cannot write") and failed.stderr.count("\n") == 1
    assert not (tmp_path / "embeddings.parquet").exists()
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*/.*.tmp"))
    assert embed(tiny_release) == 0
    assert pq.read_table("embeddings.parquet").num_rows == 12


@pytest.mark.parametrize("suffix", ["parquet", "npy", "csv", "jsonl"])
def test_a_disk_that_fills_while_the_output_is_written_keeps_the_parts(
    tiny_release, tmp_path, monkeypatch, capsys, suffix
):
    replace = os.replace

    def full(source, target):
        if str(target).startswith("e."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert embed(tiny_release, "-o", f"e.{suffix}") == 1
    err = capsys.readouterr().err
    assert "No space left" in err and "free some space" in err
    assert not list(tmp_path.glob("e.*"))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(partial, "PART", SMALL)
    assert embed(tiny_release, "-o", f"e.{suffix}") == 0
    assert "went on after 12 images" in capsys.readouterr().err
