"""Peak memory of `embed` over ever more images, with a model and decoding that cost nothing.

Each number of images and each output is a process of its own; an update changes every tenth image.

    python benchmarks/stream.py [--images 10000,100000,1000000] [--output e.parquet]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cfamc_zoo.embedding import job
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.outputs import Output, locate
from cfamc_zoo.embedding.pipeline import Batch
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.release.folder import open_release


def items(n: int, changed: int) -> Iterator[Item]:
    """Names as of photos; every `changed`-th has another time, 0 for none."""
    for i in range(n):
        later = int(changed > 0 and i % changed == 0)
        yield Item(f"photos/{i // 1000:05}/image-{i:09}.jpeg", bytes, 20_000 + i % 7, later)


def no_model(images: Iterable[Item], *, batch_size: int, **options: Any) -> Iterator[Batch]:
    stream = iter(images)
    dimension = open_release(bundled_folder(default_model())).config.architecture.dimension(
        "backbone"
    )
    while batch := list(islice(stream, batch_size)):
        yield Batch(batch, np.ones((len(batch), dimension), np.float32), [])


def run(n: int, out: str, existing: str) -> None:
    """One job; prints images, seconds and MiB."""
    job.open_backend = lambda *a, **k: None  # type: ignore[attr-defined, assignment, return-value]
    job.embed_files = no_model  # type: ignore[attr-defined, assignment]
    started = time.perf_counter()
    outcome = job.embed_to_file(
        items(n, 10 if existing == "update" else 0),
        open_release(bundled_folder(default_model())),
        Output(*locate(out), () if out.endswith(".npy") else ("size", "mtime"), existing),
        settings=Settings(),
        execution=Execution(),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{existing:8} {n:>9,} images, {outcome.kept:>9,} kept: "
        f"{time.perf_counter() - started:6.1f} s, peak {peak:,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="10000,100000,1000000")
    parser.add_argument("--output", default="e.parquet")
    parser.add_argument("--one", nargs=2, metavar=("PATH", "EXISTING"))
    arguments = parser.parse_args()
    counts = [int(n) for n in arguments.images.split(",")]
    if arguments.one:
        run(counts[0], *arguments.one)
        return
    for n in counts:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder, arguments.output)) + "/" * arguments.output.endswith("/")
            for existing in ("refuse", "update"):
                one = [sys.executable, __file__, "--images", str(n), "--one", out, existing]
                if existing == "refuse" or arguments.output.endswith((".parquet", "/")):
                    subprocess.run(one, check=True)


if __name__ == "__main__":
    main()
