"""Kills a job before steps on the disk, or at random moments, then lets it go on.

    python -m tests.embedding.kills RELEASE IMAGES SCRATCH OUTPUT EXISTING COUNT [MOMENTS SEED]

A line of JSON a kill: COUNT before steps, all if there are fewer, and MOMENTS at random.

A process of its own, without threads, that forks one for each try: imports are paid for once.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from cfamc_zoo.embedding import job, partial
from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.outputs import Output, locate
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.errors import OutputExistsError
from cfamc_zoo.zoo.release.folder import open_release

STEPS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
partial.PART = partial.PARTITION = 4  # inputs, so that a dozen images are three parts


def first_pixels(release, settings, execution):
    """A model that costs nothing."""
    dimension = release.config.architecture.dimension(settings.features)
    return lambda images: np.asarray(images.reshape(len(images), -1)[:, :dimension])


job.open_for = first_pixels


def embed(release, images, text, existing, by):
    columns = ("sha256", "size", "mtime") if locate(text)[1] != ".npy" else ()
    return job.embed_to_file(
        open_inputs([str(images)]),
        release,
        Output(*locate(text), columns, existing, by),
        settings=Settings(),
        execution=Execution(batch_size=2),
    )


def in_child(work, seconds=None):
    """Runs it in a process of its own, killed after so long: what it returns, None if killed."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(writing, json.dumps(work()).encode())
        except OutputExistsError:
            os.write(writing, b'"finished before"')
        finally:
            os._exit(0)
    os.close(writing)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    # One that ends while it is killed may have answered.
    return None if os.WIFSIGNALED(status) or not said else json.loads(said)


def counted(work, scratch, limit=None):
    """Steps of the work on files of a folder; before the one of number `limit` it is killed."""
    steps = 0

    def hook(event, arguments):
        nonlocal steps
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in STEPS or writes) and str(arguments[0]).startswith(str(scratch)):
            if steps == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    sys.addaudithook(hook)
    work()
    return steps


def content(path):
    """All rows of an output; None where there is none."""
    if not path.exists():
        return None
    if path.suffix == ".npy":
        names = path.with_name(f"{path.name}.paths.txt").read_text().splitlines()
        return [*zip(names, np.load(path).tolist(), strict=True)]
    if path.suffix in (".csv", ".jsonl"):
        return path.read_text().splitlines()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def main(release, images, scratch, name, existing, count, moments="0", seed="0"):
    release, images, scratch = open_release(Path(release)), Path(images), Path(scratch)
    before, whole = scratch / "before", scratch / "whole"
    for folder in (before, whole):
        folder.mkdir(parents=True)
    if existing != "refuse":
        older = scratch / "older"
        shutil.copytree(images, older)
        for path in sorted(older.iterdir())[::3]:
            path.unlink()
        # The same names as now, so that an update keeps most of them.
        images.rename(scratch / "now")
        older.rename(images)
        in_child(lambda: str(embed(release, images, f"{before}/{name}", "replace", "content")))
        shutil.rmtree(images)
        (scratch / "now").rename(images)
    shutil.copytree(before, whole, dirs_exist_ok=True)

    def work(folder):
        return lambda: embed(release, images, f"{folder}/{name}", existing, "content").total

    started = time.perf_counter()
    steps = in_child(lambda: counted(work(whole), whole))
    seconds = time.perf_counter() - started
    path = Path(name.rstrip("/"))
    expected, old = (in_child(lambda f=f: str(content(f / path))) for f in (whole, before))
    chosen = sorted({round(i) for i in np.linspace(0, steps - 1, min(int(count), steps))})
    drawn = np.random.default_rng(int(seed)).uniform(0, seconds, int(moments))
    tries = [
        *((f"{step} of {steps}", step, None) for step in chosen),
        *((f"after {moment:.4f} of {seconds:.4f} s", None, moment) for moment in drawn.tolist()),
    ]
    for said, step, moment in tries:
        folder = scratch / "killed"
        shutil.copytree(before, folder)
        killed = in_child(lambda f=folder, s=step: counted(work(f), f, s), moment) is None
        found = in_child(lambda f=folder: str(content(f / path)))
        again = in_child(work(folder))
        line = {
            "step": said,
            "killed": killed,
            # Between two's change of places there is none, and the next run puts it back.
            "whole": found in (old, expected) or (found == "None" and name.endswith(("/", ".npy"))),
            "same": in_child(lambda f=folder: str(content(f / path))) == expected,
            "again": again,
            "left": sorted(p.name for p in folder.iterdir() if p.name.startswith(".")),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
