"""What benchmarks/plan.py computes with: rates by processor time, bytes, requests, Ray's share."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tarfile import open as open_tar
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
from embedding import full_width, write_jpegs, write_pngs

from cfamc_zoo.embedding.arrow import strings, vectors
from cfamc_zoo.embedding.executors import embed_inputs
from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.job import Outcome, make_schema
from cfamc_zoo.embedding.outputs import Output
from cfamc_zoo.embedding.partial import PARQUET, Part, Partial
from cfamc_zoo.embedding.ray_cluster import read_rows, written_rows
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.release.folder import Release, open_release

IMAGES = {"thin": 256, "full": 128}  # embedded for a rate
ROWS = 8192  # of a partition
FOR_RAY = (400, 4000)
PNG, JPEG = "PNG, 32 × 32", "JPEG, 500 × 375"
PHOTO = (500, 375)
DTYPES = ("float32", "float16")


def measure(folder: Path) -> dict[str, Any]:
    """Every figure; `folder` is empty."""
    models = {
        "thin": open_release(bundled_folder(default_model())),
        "full": open_release(full_width(folder / "full")),
    }
    write_pngs(folder / PNG, max(FOR_RAY))
    write_jpegs(folder / JPEG, max(IMAGES.values()), PHOTO)
    files = {path.name: sorted(path.glob("all/*")) for path in folder.glob("*, *")}
    # Of images that differ, since equal vectors would be packed to one.
    rows = {
        model: {dtype: _bytes(release, files[PNG][:256], dtype) for dtype in DTYPES}
        for model, release in models.items()
    }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "cases": [
            {
                "model": model,
                "files": kind,
                "images_per_core_second": 1 / _seconds(release, paths[: IMAGES[model]]),
                "bytes_per_image": sum(path.stat().st_size for path in paths) / len(paths),
                "bytes_per_row": rows[model],
            }
            for model, release in models.items()
            for kind, paths in files.items()
        ],
        "driver": {"dimension": 512, "cpu_seconds_per_row": _seconds_to_keep(models["full"])},
        **_requests(models["thin"], files[JPEG][:100]),
        "ray": _ray(models["thin"], files[PNG]),
    }


def embed(
    release: Release, given: list[str], backend: str, *, dtype: str = "float32", threads: int = 1
) -> Outcome:
    """One job, by Ray on two workers; its output goes, its bytes are counted."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = embed_inputs(
            open_inputs(given),
            release,
            Output(Path(folder, "e"), "/"),
            settings=Settings(backend=backend, dtype=dtype),
            execution=Execution(threads=threads),
            workers=2 if backend == "ray" else None,
        )
        SIZES.append(sum(path.stat().st_size for path in Path(folder, "e").iterdir()))
    return outcome


SIZES: list[int] = []  # bytes of each output


def _seconds(release: Release, paths: list[Path]) -> float:
    """The processor's seconds for an image, opening the model left out."""
    few, times = paths[:32], []
    for given in (few, few, paths):  # the first opens what is kept afterwards
        before = time.process_time()
        embed(release, [str(path) for path in given], "onnx")
        times.append(time.process_time() - before)
    return (times[2] - times[1]) / (len(paths) - len(few))


def _bytes(release: Release, paths: list[Path], dtype: str) -> float:
    outcome = embed(release, [str(path) for path in paths], "onnx", dtype=dtype)
    return SIZES[-1] / outcome.written


def _seconds_to_keep(release: Release) -> float:
    """The driver's own part of a row: it reads what a worker sends, and writes a partition."""
    schema = make_schema(Output(Path(), "/"), release, Settings())
    values = np.random.default_rng(0).random((ROWS, 512), np.float32)
    names = strings([f"images/{i:09}.jpeg" for i in range(ROWS)])
    rows = pa.table([names, vectors(values, schema.field("embedding").type)], schema=schema)
    sent = written_rows(rows)
    with tempfile.TemporaryDirectory() as folder:
        parts = Partial(Path(folder, "e"), schema, {}, str, PARQUET)
        before = time.process_time()
        for i in range(3):
            parts.put(i, read_rows(sent), Part(ROWS))
        return (time.process_time() - before) / (3 * ROWS)


class Counted(SimpleHTTPRequestHandler):
    """Serves files, and counts."""

    requests = 0

    def log_message(self, *arguments: Any) -> None:
        Counted.requests += 1


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counted, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _requests(release: Release, paths: list[Path]) -> dict[str, float]:
    """To a server: for an image by its own address, and for a tar of all of them."""
    folder = paths[0].parent
    with open_tar(folder / "all.tar", "w") as tar:
        for path in paths:
            tar.add(path)
    counts = []
    with _served(folder) as url:
        for given in ([f"{url}/{path.name}" for path in paths], [f"{url}/all.tar"]):
            before = Counted.requests
            embed(release, given, "onnx")
            counts.append(Counted.requests - before)
    size = (folder / "all.tar").stat().st_size
    return {
        "requests_per_image": counts[0] / len(paths),
        "requests_per_tar": counts[1],
        "tar_megabytes": size / 1e6,
    }


def _ray(release: Release, paths: list[Path]) -> dict[str, float]:
    """Two workers beside the plain command on two threads; what more images take, and the start."""
    import ray

    given = [str(path) for path in paths]
    times: dict[tuple[str, int], list[float]] = {}
    started = time.perf_counter()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    start = time.perf_counter() - started
    few, many = FOR_RAY
    for backend, threads in (("ray", 1), ("onnx", 2)):
        for n in (few, few, many):  # what is first also starts the workers
            started = time.perf_counter()
            embed(release, given[:n], backend, threads=threads)
            times.setdefault((backend, n), []).append(time.perf_counter() - started)
    ray.shutdown()
    more = {b: times[b, many][-1] - times[b, few][-1] for b in ("ray", "onnx")}
    return {
        "few": few,
        "many": many,
        "ratio_few": times["ray", few][0] / times["onnx", few][0],
        "ratio_more": more["ray"] / more["onnx"],
        "start_seconds": start,
    }
