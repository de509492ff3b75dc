"""A training run as a person asks for it: from a recipe's name to a release in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cfamc_zoo.atomic import check_local, storage_errors
from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.progress import Bar, Progress, Say
from cfamc_zoo.training import distributed
from cfamc_zoo.training.checkpoint import FILE, read_progress, read_recipe
from cfamc_zoo.training.images import data_name, recorded, training_images
from cfamc_zoo.training.loop import Report, Result, train
from cfamc_zoo.training.recipe import Recipe, load_recipe
from cfamc_zoo.training.start import start_from
from cfamc_zoo.training.teacher import teacher_for
from cfamc_zoo.version import __version__
from cfamc_zoo.zoo.catalogue.resolve import RELEASE
from cfamc_zoo.zoo.device import described
from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
from cfamc_zoo.zoo.release.loading import save_release

# Keys of a recipe that change when a run reports or stops, not what it computes.
REPORTING = (
    *("max_steps", "checkpoint_steps", "checkpoint_minutes", "log_steps"),
    *("title", "source"),
)

# Told how many batches are done already; gives what is told of each report.
Watch = Callable[[int], AbstractContextManager[Callable[[Report], None]]]


@dataclass(frozen=True)
class Job:
    """What is trained, on what, from where and to where.

    Attributes:
        recipe: what to do.
        data: a named set or a folder of images.
        run: folder of the run.
        start: the release to start from: a name, a folder or a Hub repository; None is at random.
        resume: whether `run` holds a run to go on with.

    Raises:
        UsageError: both a start and a run to go on with.
    """

    recipe: Recipe
    data: str
    run: Path
    start: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.start is not None and self.resume:
            raise UsageError("--resume goes on from the run's own checkpoint; leave --from away")


def job_of(
    recipe: str,
    settings: Sequence[str] = (),
    *,
    data: str | None = None,
    run: Path | None = None,
    start: str | None = None,
    resume: bool = False,
) -> Job:
    """A job from what a person gives.

    Args:
        recipe, settings: as `load_recipe` takes them.
        data: None is the recipe's own.
        run: None is runs/ and the recipe's name.

    Raises:
        UsageError: as `load_recipe` and `Job`.
    """
    chosen = load_recipe(recipe, settings)
    source = data or chosen.data
    chosen = replace(chosen, data=data_name(source))
    return Job(chosen, source, run or Path("runs") / chosen.name, start, resume)


def on_bar(bar: Bar) -> Callable[[Report], None]:
    """Shows reports on a bar over batches: loss, its parts and crops a second."""
    done = 0

    def show(report: Report) -> None:
        nonlocal done
        parts = "".join(f"  {part} {value:.4g}" for part, value in report.parts.items())
        bar.total(report.steps)
        bar.advance(
            report.step - done,
            f"loss {report.loss:.4g}{parts}  {report.crops_per_second:,.0f} crops/s",
        )
        done = report.step

    return show


@dataclass(frozen=True)
class Trained:
    """What a job ends with.

    Attributes:
        result: of the training loop.
        release: the folder; None where the run was stopped before it had anything to release, and
            on every process of several but the first.
    """

    result: Result
    release: Path | None


def run_job(
    job: Job,
    device: torch.device,
    *,
    watch: Watch,
    say: Say,
    progress: Progress,
    stop: Callable[[], bool],
) -> Trained:
    """Trains, and writes the release into the run's folder.

    Args:
        watch: opened once it is known how many batches are done.
        say: told what was left out of the data.
        progress: opens a bar for reading it.
        stop: asked after every batch and every image that is read; True ends the run, with a
            checkpoint.

    Raises:
        OutputExistsError: `job.run` holds a run, and it is not to be gone on with.
        UsageError: no run to go on with, or one of another recipe or other images; a release to
            start from that has another network.
        ZooError: as `training_images`, `start_from`, `teacher_for` and `loop.train`.
    """
    first = distributed.rank() == 0
    teacher = teacher_for(job.recipe)
    origin = job.start
    if teacher is not None and job.recipe.student == "from-teacher":
        origin = job.start or job.recipe.teacher
    start = start_from(origin, job.recipe) if origin and not job.resume else None
    if teacher is not None:  # a recipe names a release, not the way to it on this machine
        job = replace(job, recipe=replace(job.recipe, teacher=teacher.name))
    done = _open(job)
    images = training_images(
        job.data, job.recipe.size, say=say if first else _say_nothing, progress=progress, stop=stop
    )
    if done:
        images.check(job.run)
    elif first:
        images.record(job.run)
    with watch(done) as report:
        result = train(
            job.recipe,
            images.images,
            job.run,
            device=device,
            report=report,
            stop=stop,
            start=start,
            teacher=teacher,
        )
    kept = first and result.encoder is not None
    return Trained(result, _release(job, result, device) if kept else None)


def _say_nothing(text: str) -> None:
    """Of several processes the first alone speaks."""


def _open(job: Job) -> int:
    """Makes the folder of a new run, or checks that an old one is of the same recipe.

    Returns:
        The batches it has done.
    """
    run, there = job.run, (job.run / FILE).exists()
    check_local(run)
    if there and not job.resume:
        raise OutputExistsError(
            f"{str(run)!r} already holds a run; go on with --resume, or choose another -o"
        )
    if job.resume and not there:
        raise UsageError(f"{str(run)!r} holds no checkpoint; start without --resume")
    if there:
        old, new = read_recipe(run).to_json(), job.recipe.to_json()
        differing = [key for key in new if old.get(key) != new[key] and key not in REPORTING]
        if differing:
            raise UsageError(
                f"{str(run)!r} was started with another {', '.join(differing)}; resume with the "
                "same recipe and settings, or start a new run"
            )
    with storage_errors(run):
        run.mkdir(parents=True, exist_ok=True)
    return read_progress(run).step if there else 0


def _release(job: Job, result: Result, device: torch.device) -> Path:
    """The trained encoder as a release folder inside the run."""
    assert result.encoder is not None
    provenance = {
        "cfamc-zoo": __version__,
        "torch": torch.__version__,
        "device": described(device),
        "data": job.recipe.data,
        "method": job.recipe.objective.method,
        **recorded(job.run),
        "steps": result.step,
        "seconds": round(result.seconds, 1),
    }
    if result.teacher:
        provenance["teacher"] = result.teacher
    if result.origin:
        provenance["from"] = result.origin
    config = ReleaseConfig(
        format_version=FORMAT_VERSION,
        name=job.run.resolve().name,
        architecture=job.recipe.encoder,
        preprocess=result.encoder.preprocess,
        threat_model=job.recipe.threat_model,
        recipe=job.recipe.to_json(),
        provenance=provenance,
        licence="Apache-2.0",
    )
    return save_release(job.run / RELEASE, result.encoder.eval(), config).folder


def train_here(job: Job, device: torch.device, bars: Progress) -> Trained:
    """Trains to the end, for programs: `bars` shows how far reading and training have come."""

    @contextmanager
    def watch(done: int) -> Iterator[Callable[[Report], None]]:
        with bars(job.recipe.name, None) as bar:
            yield on_bar(bar)

    return run_job(job, device, watch=watch, say=_say_nothing, progress=bars, stop=lambda: False)
