"""Embedding on the machines of a Ray cluster, by Ray Data.

Ray's workers hold the model, read and decode the images of one unit after the other and send its
rows back. This process alone writes: the machines need no disk in common for the output. What is
finished is a part of the output, which a next run of the same job does not embed again.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.embedding.inputs import Inputs
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.job import Outcome, gather, make_schema, open_embed, open_parts, sum_up
from cfamc_zoo.embedding.lock import only_one
from cfamc_zoo.embedding.outputs import Output, settle
from cfamc_zoo.embedding.partial import Part, Partial, digest
from cfamc_zoo.embedding.rows import Embed, Rows, mark
from cfamc_zoo.embedding.scaling import scale
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.embedding.units import Unit, cut
from cfamc_zoo.embedding.update import stamp
from cfamc_zoo.embedding.writers import FORMATS
from cfamc_zoo.errors import ClusterError, UsageError, ZooError, first_line
from cfamc_zoo.folders import merged
from cfamc_zoo.zoo.cores import usable_cores
from cfamc_zoo.zoo.release.folder import CONFIG, GRAPH, MODEL, Release, open_release

ADDRESS = "RAY_ADDRESS"  # Ray's own variable: the cluster to join
STORE = 256 << 20  # bytes of memory that a Ray of our own shares; it spills to the disk
THREADS = 1  # cores of a worker: several workers do more than one with several
STAMP = partial(stamp, by="mtime")


@dataclass(frozen=True)
class Job:
    """What every worker is told.

    Attributes:
        files: Ray's reference to the release's files, name to content.
        config_sha256: of the release.
        schema: of the rows.
        folder: where relative names begin.
        roots: folders that a worker's machine must see.
    """

    files: Any
    config_sha256: str
    schema: pa.Schema
    settings: Settings
    execution: Execution
    folder: str
    roots: tuple[str, ...]


def embed_with_ray(
    inputs: Inputs,
    release: Release,
    output: Output,
    *,
    settings: Settings,
    execution: Execution,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> Outcome:
    """As `embed_to_file`, into a folder of Parquet files, on the cluster that $RAY_ADDRESS names.

    Without that variable Ray is started on this machine, and ended with the job.

    Args:
        execution: of one worker; its threads are the cores that a worker takes.
        workers: None is as many as the cluster has cores, or GPUs, for.
        inputs, release, output, settings, advance: as `embed_to_file`.

    Raises:
        UsageError, ReleaseError, StorageError: as `embed_to_file`; a worker's machine does not
            see the inputs.
        DataError: no images.
        ClusterError: the cluster cannot be reached, or gives up.
    """
    # Here, so that what no worker could open is said at once.
    open_backend(release, feature=settings.features, backend=settings.backend, threads=THREADS)
    with only_one(output.path), _ray(workers, execution.threads) as ray:
        settle(output)
        schema = make_schema(output, release, settings)
        parts = open_parts(output, schema, STAMP)
        units = cut(inputs, parts.size)
        files = ray.put({name: _content(release, name) for name in (CONFIG, *_needed(release))})
        here = str(Path.cwd())
        job = Job(files, release.config_sha256, schema, settings, execution, here, output.roots)
        done: dict[int, Part] = {}
        resumed = 0
        left_out: list[Counter[str]] = []
        for row in _rows(ray, job, units, parts, workers):
            number, part = row["number"], Part(**json.loads(row["part"]))
            if row["made"]:
                parts.put(number, read_rows(row["table"]), part)
            resumed += 0 if row["made"] else part.items
            done[number] = part
            left_out.append(Counter(json.loads(row["left_out"])))
            advance(part.items)
        inputs.note_left_out(merged(left_out))
        parts.end([done[number] for number in sorted(done)])
        outcome = sum_up(parts, resumed)
        if not outcome.total:
            raise inputs.without_images()
        if outcome.written:
            FORMATS[output.format].finish(output.path, parts)
        parts.remove()
    return outcome


class Worker:
    """One of Ray's workers: makes the rows of units."""

    def __init__(self, job: Job):
        self._job = job
        with suppress(OSError):  # a machine that does not have it may not need it
            os.chdir(job.folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The part of a unit; without rows where it is finished and its images are the same.

        Args:
            row: `number`, `unit`, and what the part of this number covers, "" where there is none.
        """
        unit: Unit = row["unit"]
        made = True
        table = pa.Table.from_batches([], self._job.schema)
        if row["part"]:
            part = Part(**json.loads(row["part"]))
            made = digest([mark(item, STAMP) for item in _items(unit)]) != part.digest
        if made:
            pieces = Rows(self._job.schema, None, STAMP, self._scaled).pieces(
                _items(unit), self._embed
            )
            table, part = gather([*pieces], self._job.schema)
        return {
            "number": row["number"],
            "made": made,
            "part": json.dumps(asdict(part)),
            "table": written_rows(table),
            "left_out": json.dumps(merged(piece.left_out for piece in unit)),
        }

    @cached_property
    def _embed(self) -> Embed:
        import ray

        job = self._job
        for root in job.roots:
            if not os.path.isdir(root):  # noqa: PTH112
                raise UsageError(
                    f"machine {platform.node()!r} does not see folder {root!r}; give inputs that "
                    "all machines of the cluster can read"
                )
        with TemporaryDirectory() as folder:
            for name, content in ray.get(job.files).items():
                Path(folder, name).write_bytes(content)
            release = open_release(Path(folder), config_sha256=job.config_sha256)
            return open_embed(release, job.settings, job.execution)

    def _scaled(self, vectors: Any) -> Any:
        return scale(vectors, unit=self._job.settings.normalize, dtype=self._job.settings.dtype)


def _rows(
    ray: Any, job: Job, units: list[Unit], parts: Partial, workers: int | None
) -> Iterator[dict[str, Any]]:
    """What the workers answer, in the order in which they do.

    Raises:
        ZooError: as a worker has raised it.
        ClusterError: Ray has given up.
    """
    if not units:
        return
    threads, gpus = job.execution.threads or THREADS, int(_needs_gpu(job.execution))
    room = _room(ray, threads, gpus)
    count = min(workers or room, len(units))
    if not count:
        raise UsageError(
            f"no machine of the cluster has {threads} free cores{' and a GPU' if gpus else ''} for "
            "a worker; give fewer --threads, or --workers where machines are still to come"
        )
    found = [parts.find(number) for number in range(len(units))]
    given = [
        {"number": i, "unit": unit, "part": json.dumps(asdict(part)) if part else ""}
        for i, (unit, part) in enumerate(zip(units, found, strict=True))
    ]
    job = replace(job, execution=replace(job.execution, threads=threads))
    rows = ray.data.from_items(given, override_num_blocks=len(given)).map(
        Worker, fn_constructor_args=(job,), concurrency=count, num_cpus=threads, num_gpus=gpus
    )
    try:
        yield from rows.iter_rows()
    except Exception as error:
        raise _said(ray, error) from error


def _said(ray: Any, error: Exception) -> Exception:
    """What was raised on purpose, here or by a worker; a bug keeps its traceback."""
    inner: Any = error
    while inner is not None:
        within = getattr(inner, "cause", None) or inner.__cause__  # Ray's own word for it
        if isinstance(inner, ZooError) and not isinstance(inner, ray.exceptions.RayError):
            return inner
        inner = within
    if isinstance(error, ray.exceptions.RayError) and not isinstance(
        error, ray.exceptions.RayTaskError
    ):
        return ClusterError(f"Ray gave up: {first_line(error)}; the same command goes on")
    return error


def _needs_gpu(execution: Execution) -> bool:
    return execution.device not in (None, "cpu")


def _room(ray: Any, threads: int, gpus: int) -> int:
    """Workers that the machines of the cluster have room for."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        int(min(has.get("CPU", 0) // threads, has.get("GPU", 0) if gpus else has.get("CPU", 0)))
        for has in machines
    )


@contextmanager
def _ray(workers: int | None, threads: int | None) -> Iterator[Any]:
    """Ray, joined as the user has set it up, and quiet.

    A Ray that this process is in already is used, and left running.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    with warnings.catch_warnings():
        # Ray warns of what it does itself.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"ray\.")
        import ray
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it raises is said here
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.raise_original_map_exception = True
        joined = ray.is_initialized()
        if not joined:
            _join(ray, workers, threads)
        try:
            yield ray
        finally:
            if not joined:
                ray.shutdown()


def _join(ray: Any, workers: int | None, threads: int | None) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it blames its own actors
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get(ADDRESS):
        try:
            ray.init(**quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(
                f"no Ray cluster at {ADDRESS} {os.environ[ADDRESS]!r}: {first_line(error)}; start "
                "one with `ray start --head`, or unset it"
            ) from error
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers
    cores = workers * (threads or THREADS) if workers else usable_cores()
    ray.init(
        address="local",
        num_cpus=cores,
        object_store_memory=STORE,
        include_dashboard=False,
        **quiet,
    )


def _needed(release: Release) -> list[str]:
    return [name for name in (MODEL, GRAPH) if release.has(name)]


def _content(release: Release, name: str) -> bytes:
    """A file of a release; the config is checked by its digest where it arrives."""
    return (release.folder / name).read_bytes() if name == CONFIG else release.read(name)


def _items(unit: Unit) -> Iterator[Item]:
    return chain.from_iterable(unit)


def written_rows(table: pa.Table) -> bytes:
    """Rows as they travel from a worker."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def read_rows(content: bytes) -> pa.Table:
    """What `written_rows` wrote."""
    with pa.ipc.open_stream(content) as stream:
        return stream.read_all()
