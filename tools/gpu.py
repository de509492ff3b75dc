"""Everything that a machine with a GPU is asked for, in slices of a few minutes.

    python tools/gpu.py --work /tmp/zoo --out OUT --minutes 9   # again and again, until done
    python tools/gpu.py --unpack FOLDER                          # where the repository lives

Each slice goes on where the last one stopped: training from its checkpoint, measuring from its
last whole protocol. What is finished is packed into OUT: logs, heads and measurements as one tar,
the weights to be bundled in parts that are small enough to carry. Data is taken from WORK/data,
to which any .data/ folder of the repository is moved first; a stage whose data is not there yet
waits. --only NAME keeps to one encoder, --set KEY=VALUE changes recipes; --rehearse runs all of it
at a tiny scale.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # nothing is installed there

from cfamc_zoo.datasets import NAMED  # noqa: E402
from cfamc_zoo.evaluation.protocols import USUAL  # noqa: E402
from cfamc_zoo.zoo.release.folder import (  # noqa: E402
    MODEL,
    PROBE,
    PROJECTOR,
    open_release,
    write_files,
)

PART = 15 << 20  # bytes of one part of a file of weights
MARGIN = 0.7  # minutes kept for packing
REHEARSAL = (
    "encoder.width=4",
    "encoder.representation=64",
    "encoder.projection=32",
    "views.count=2",
    "batch_size=50",
    "max_steps=3",
    "compile=none",
)


@dataclass(frozen=True)
class Model:
    """One encoder to train and measure."""

    name: str
    recipe: str
    data: str = "cifar10"
    settings: tuple[str, ...] = ()
    protocols: tuple[str, ...] = (*USUAL, "autoattack", "published")
    bundled: bool = False  # its weights come back


CROPS = (*USUAL, "crops-1", "crops-16", "crops-64")
# A checkpoint is 400 MB, and a GPU does a hundred batches in some seconds.
SPARING = ("checkpoint_steps=1000000", "checkpoint_minutes=3")
# A GPU has the time for one long cosine.
LONG = ("epochs=10", "optimizer.schedule=cosine")
HEADLINE = Model("resnet18-cifar10-free", "cf-amc-ssl", bundled=True)
MODELS = (
    HEADLINE,
    Model("resnet18-cifar100-free", "cf-amc-ssl", data="cifar100", bundled=True),
    Model("resnet18-thin-cifar10-free", "cf-amc-ssl-thin", settings=LONG, bundled=True),
    Model("resnet18-cifar10-patch-free", "emp-patch-free", protocols=CROPS),
    Model("resnet18-cifar10-simclr-free", "simclr-crop-free"),
)


class Session:
    """One slice: where things are, how long is left, and how big they are to be."""

    def __init__(self, work: Path, minutes: float, rehearse: bool, settings: Sequence[str]):
        self.work, self.runs = work, work / "runs"
        self.settings = (*SPARING, *settings, *(REHEARSAL if rehearse else ()))
        self.deadline = time.monotonic() + 60 * (minutes - MARGIN)
        self.rehearse = rehearse
        self.runs.mkdir(parents=True, exist_ok=True)
        self.environment = os.environ | {"PYTHONPATH": str(ROOT)}
        if not rehearse:
            self.environment["CFAMC_ZOO_DATA"] = str(work / "data")

    def left(self) -> float:
        """Minutes."""
        return (self.deadline - time.monotonic()) / 60

    def has(self, data: str) -> bool:
        """Whether all of a data set's files have arrived."""
        if self.rehearse:
            return True
        files = list((self.work / "data" / data / NAMED[data].folder).glob("*.parquet"))
        expected = {int(f.stem.rsplit("-", 1)[1]) for f in files if f.stem.startswith("train-")}
        return len(files) > 1 and expected == {len(files) - 1}

    def run(self, *command: str) -> int:
        """Runs Python in the repository; stops it when the slice ends."""
        print("$ python", *command, file=sys.stderr, flush=True)
        try:
            return subprocess.run(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment,
                timeout=max(1.0, 60 * self.left()),
            ).returncode
        except subprocess.TimeoutExpired:
            return 124


def benchmark(session: Session) -> bool:
    """What the device can do and what the engine makes of it."""
    file = session.runs / "training-benchmark.json"
    if file.exists():
        return True
    small = ["--batches", "1"] if session.rehearse else ["--device", "cuda", "--batches", "10"]
    settings = [x for s in REHEARSAL[:5] for x in ("--set", s)] if session.rehearse else []
    reference = ROOT / ".data/reference"
    if reference.exists():
        small += ["--reference", str(reference)]
    return session.run("benchmarks/training.py", *small, *settings, "-o", str(file)) == 0


def train(session: Session, model: Model) -> bool:
    """Trains, or goes on; True when the run has ended."""
    run = session.runs / model.name
    if (run / "release").exists():
        return True
    settings = (*model.settings, *session.settings)
    command = ["-m", "cfamc_zoo", "train", model.recipe, "-o", str(run), "--data", model.data]
    command += [x for s in settings for x in ("--set", s)]
    command += ["--max-minutes", f"{max(0.1, session.left() - 0.3):.2f}"]
    if (run / "checkpoint.safetensors").exists():
        command += ["--resume"]
    if session.run(*command) != 0 or not (run / "release").exists():
        return False
    release = open_release(run / "release")
    files = {k: v for k, v in release.config.files.items() if k != PROJECTOR}
    (run / "release" / PROJECTOR).unlink()  # for continued training; too large to carry
    write_files(run / "release", replace(release.config, files=files), {})
    return True


def measure(session: Session, model: Model) -> bool:
    if not (session.runs / model.name / "release").exists():
        return False
    few = ["--limit", "300"] if session.rehearse else []
    protocols = model.protocols[:3] if session.rehearse else model.protocols
    command = ["-m", "cfamc_zoo", "measure", str(session.runs / model.name), "--name", model.name]
    command += ["--data", model.data, "--protocol", ",".join(protocols)]
    return session.run(*command, *few) == 0


def stages(only: str) -> list[tuple[str, str, float, Callable[[Session], bool]]]:
    """Name, data set that it needs, least minutes worth starting it with, what it does."""
    result: list[tuple[str, str, float, Callable[[Session], bool]]] = []
    for model in (model for model in MODELS if only in ("", model.name)):
        result += [
            (f"train {model.name}", model.data, 1, partial(train, model=model)),
            (f"measure {model.name}", model.data, 2, partial(measure, model=model)),
        ]
        if model is HEADLINE:
            result.append(("benchmark", "", 3, benchmark))
    return result


def take_data(work: Path) -> None:
    """Moves what was carried here out of the repository, which is replaced at every call."""
    for file in (ROOT / ".data").glob("**/*.parquet"):
        target = work / "data" / file.relative_to(ROOT / ".data")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)


def pack(session: Session, out: Path) -> None:
    """Logs and measurements of all runs, and the bundled models' weights in parts."""
    out.mkdir(parents=True, exist_ok=True)
    kept = {"metrics.jsonl", "config.json", PROBE}
    with tarfile.open(out / "runs.tar", "w") as tar:
        for file in sorted(session.runs.glob("**/*")):
            small = file.suffix == ".json" or file.name in kept or file.name.startswith("own.")
            if file.is_file() and small:
                tar.add(file, file.relative_to(session.runs))
    for model in MODELS:
        weights = session.runs / model.name / "release" / MODEL
        if model.bundled and weights.exists():
            content = weights.read_bytes()
            for part in range(0, len(content), PART):
                name = f"{model.name}.{part // PART}.part"
                (out / name).write_bytes(content[part : part + PART])


def unpack(folder: Path) -> None:
    """The inverse of `pack`, into runs/."""
    runs = ROOT / "runs"
    with tarfile.open(folder / "runs.tar") as tar:
        tar.extractall(runs, filter="data")
    for model in MODELS:
        parts = sorted(folder.glob(f"{model.name}.*.part"))
        if parts:
            content = b"".join(part.read_bytes() for part in parts)
            (runs / model.name / "release" / MODEL).write_bytes(content)
            open_release(runs / model.name / "release").verify()
            print(f"{model.name}: {len(content):,} bytes", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/tmp/zoo"))
    parser.add_argument("--out", type=Path, default=ROOT / ".out")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--only", default="", choices=["", *(model.name for model in MODELS)])
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--unpack", type=Path)
    arguments = parser.parse_args()
    if arguments.unpack:
        unpack(arguments.unpack)
        return 0
    session = Session(arguments.work, arguments.minutes, arguments.rehearse, arguments.settings)
    take_data(arguments.work)
    report = {}
    for name, data, least, stage in stages(arguments.only):
        if data and not session.has(data):
            report[name] = f"waits for {data}"
        elif session.left() < least and not session.rehearse:
            report[name] = "waits for the next slice"
        else:
            report[name] = "done" if stage(session) else "not done"
    pack(session, arguments.out)
    print(json.dumps(report, indent=2))
    return 0 if set(report.values()) == {"done"} else 1


if __name__ == "__main__":
    sys.exit(main())
