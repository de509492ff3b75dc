"""Memory of `embed` over ever more images, with all of it at work but the model, which is free.

Each number of images and each kind of job is a process of its own; an update changes every tenth
image. With `-o docs` it writes docs/soak.json, and the page and the picture that show it.

    python benchmarks/stream.py [--images 10000,100000,1000000] [--jobs parquet,folder] [-o docs]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from PIL import Image

from cfamc_zoo.embedding import job
from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.outputs import Output, locate
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.training.curves import as_svg
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.release.folder import open_release

POINTS = 200  # of a curve, at the most
LIMIT = 400  # MiB that no job may take


@dataclass(frozen=True)
class Kind:
    """A job.

    Attributes:
        title: what the page calls it.
        images: what is embedded: by their number, a folder of one's own, and which have changed.
        output: its name; jobs of one number of images share a folder.
        existing: what is done with an output that is there.
    """

    title: str
    images: Callable[[int, Path, int], Iterable[Item]]
    output: str
    existing: str = "refuse"


def pixels() -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, "PNG")
    return file.getvalue()


def items(n: int, folder: Path, changed: int) -> Iterator[Item]:
    """Names as of photos; every `changed`-th has another time, 0 for none."""
    content = pixels()
    for i in range(n):
        later = int(changed > 0 and i % changed == 0)
        yield Item(
            f"photos/{i // 1000:05}/image-{i:09}.jpeg", lambda: content, 20_000 + i % 7, later
        )


def rows(n: int, folder: Path, changed: int) -> Iterable[Item]:
    """A Parquet file of images, as on the Hugging Face Hub."""
    path, group, content = folder / "images.parquet", 10_000, pixels()
    column = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    with pq.ParquetWriter(path, pa.schema([("image", column)]), use_dictionary=False) as file:
        for first in range(0, n, group):
            some = [{"bytes": content, "path": ""}] * min(group, n - first)
            file.write_table(pa.table({"image": pa.array(some, column)}))
    return open_inputs(str(path))


KINDS = {
    "parquet": Kind("files to Parquet", items, "e.parquet"),
    "parquet-update": Kind("the same, updated", items, "e.parquet", "update"),
    "folder": Kind("files to a folder", items, "e/"),
    "folder-update": Kind("the same folder, updated", items, "e/", "update"),
    "rows": Kind("rows of Parquet to Parquet", rows, "rows.parquet"),
}


class Watch(threading.Thread):
    """Notes this process's memory; ever less often, so that a curve has few points."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.started, self.done = time.monotonic(), 0
        self.curve: list[tuple[float, int, float]] = []  # seconds, images, MiB
        self._every, self._over = 0.05, threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._every):
            resident = int(Path("/proc/self/statm").read_text().split()[1])
            mib = resident * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.curve.append((round(time.monotonic() - self.started, 1), self.done, round(mib, 1)))
            if len(self.curve) == 2 * POINTS:  # of each two the higher one
                pairs = zip(self.curve[::2], self.curve[1::2], strict=True)
                self.curve = [max(pair, key=lambda point: point[2]) for pair in pairs]
                self._every *= 2

    def advance(self, n: int) -> None:
        self.done += n

    def end(self) -> None:
        self._over.set()
        self.join()


def run(name: str, n: int, folder: Path) -> dict[str, Any]:
    """One job: how long it took, and this process's memory over time."""
    kind, release = KINDS[name], open_release(bundled_folder(default_model()))
    dimension = release.config.architecture.dimension("backbone")
    job.open_for = lambda *a, **k: lambda x: np.ones((len(x), dimension), np.float32)  # type: ignore[attr-defined, assignment, return-value]
    images = kind.images(n, folder, 10 if kind.existing == "update" else 0)
    watch = Watch()
    watch.start()
    outcome = job.embed_to_file(
        images,
        release,
        Output(*locate(f"{folder}/{kind.output}"), ("size", "mtime"), kind.existing),
        settings=Settings(),
        execution=Execution(),
        advance=watch.advance,
    )
    watch.end()
    assert outcome.written == n
    # Not getrusage's, which begins with what the parent had.
    highest = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    return {
        "job": kind.title,
        "images": n,
        "kept": outcome.kept,
        "seconds": round(time.monotonic() - watch.started, 1),
        "peak": round(int(highest) / 1024),
        "curve": watch.curve,
    }


def draw(runs: list[dict[str, Any]]) -> str:
    """Memory over time of the largest runs, and the peaks of all."""
    figure = Figure(figsize=(9, 3.4), layout="constrained", facecolor="none")
    over_time, peaks = figure.subplots(1, 2, sharey=True)
    largest = max(run["images"] for run in runs)
    for title in dict.fromkeys(run["job"] for run in runs):
        mine = [run for run in runs if run["job"] == title]
        for run in mine:
            if run["images"] == largest:
                over_time.plot(
                    *zip(*((t, mib) for t, _, mib in run["curve"]), strict=True), linewidth=1.2
                )
        peaks.plot(
            [run["images"] for run in mine],
            [run["peak"] for run in mine],
            marker="o",
            markersize=3,
            linewidth=1.2,
            label=title,
        )
    over_time.set_ylabel("MiB in memory", fontsize=9)
    over_time.set_xlabel(f"seconds of a run of {largest:,} images", fontsize=9)
    peaks.set_xlabel("images, peak of a run", fontsize=9)
    peaks.set_xscale("log")
    for axis in (over_time, peaks):
        axis.set_facecolor("none")
        axis.axhline(LIMIT, linewidth=1, linestyle=":", color="gray")
        axis.set_ylim(0, LIMIT * 1.1)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=5)
    return as_svg(figure, "soak.svg")


def page(found: dict[str, Any]) -> str:
    """What was measured, as Markdown."""
    runs = found["runs"]
    counts = sorted({run["images"] for run in runs})
    peak = max(run["peak"] for run in runs)
    lines = [
        "<!-- Generated by benchmarks/stream.py. -->",
        "# Memory of a long run\n",
        f"`embed` of {counts[0]:,} to {counts[-1]:,} images takes {peak} MiB at the most, whatever "
        "their number. Reading, decoding, parts on the disk and the output are those of a real "
        "run; the images are small and the model is free, so that the stream is what is "
        "measured. A model adds its own memory once. An update finds every tenth image changed.\n",
        f"{found['date']}, {found['cores']} cores.\n",
        f"    {found['command']}\n",
        "![Memory over time, and peaks over images](soak.svg)\n",
        "| MiB, peak | " + " | ".join(f"{n:,} images" for n in counts) + " |",
        "|---" * (1 + len(counts)) + "|",
    ]
    for title in dict.fromkeys(run["job"] for run in runs):
        peaks = {run["images"]: run["peak"] for run in runs if run["job"] == title}
        lines.append(f"| {title} | " + " | ".join(str(peaks.get(n, "")) for n in counts) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="10000,100000,1000000")
    parser.add_argument("--jobs", default=",".join(KINDS))
    parser.add_argument("-o", type=Path, help="a folder for soak.json, soak.svg and soak.md")
    parser.add_argument("--one", nargs=3, metavar=("JOB", "IMAGES", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.one:
        name, n, folder = arguments.one
        print(json.dumps(run(name, int(n), Path(folder))))
        return
    runs = []
    for n in arguments.images.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for name in arguments.jobs.split(","):
                one = [sys.executable, __file__, "--one", name, n, folder]
                said = subprocess.run(one, check=True, stdout=subprocess.PIPE, text=True).stdout
                runs.append(json.loads(said))
                print({key: value for key, value in runs[-1].items() if key != "curve"}, flush=True)
    if arguments.o:
        found = {
            "command": " ".join(["python", "benchmarks/stream.py", *sys.argv[1:]]),
            "date": datetime.now(UTC).date().isoformat(),
            "cores": os.cpu_count(),
            "runs": runs,
        }
        (arguments.o / "soak.json").write_text(json.dumps(found) + "\n", "utf-8")
        (arguments.o / "soak.svg").write_text(draw(runs), "utf-8")
        (arguments.o / "soak.md").write_text(page(found), "utf-8")


if __name__ == "__main__":
    main()
