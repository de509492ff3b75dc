"""`cfamc-zoo train`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.completion import recipe_names
from cfamc_zoo.cli.options import Threads
from cfamc_zoo.errors import UsageError

if TYPE_CHECKING:
    from cfamc_zoo.training.loop import Report
    from cfamc_zoo.training.run import Job, Trained

EXAMPLES = (
    "cfamc-zoo train cf-amc-ssl-thin --show",
    "cfamc-zoo train cf-amc-ssl-photos --data photos/ --estimate",
    "cfamc-zoo train cf-amc-ssl-photos --data photos/ -o new-run --max-minutes 30",
)


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(autocompletion=recipe_names, help="A recipe's name, or a TOML file."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the recipe's keys, values and their meaning.")
    ] = False,
    list_all: Annotated[
        bool, typer.Option("--list", help="Print the recipes that the package has.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="A named set or a folder of images. [default: the recipe's]")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the run. [default: runs/RECIPE]"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a key of the recipe, like views.count=8; may be repeated.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start from its weights: a name, a folder, ORGANIZATION/NAME.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after so many minutes, with a checkpoint.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Try some batches and say what the run needs.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw RUN/curves.svg at the end.")] = False,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1, ...")
    ] = None,
    threads: Threads = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object to stdout.")] = False,
) -> None:
    """Pretrain an encoder from a recipe."""
    if list_all:
        _list(as_json=json)
        return
    if recipe is None:
        raise UsageError("train needs a RECIPE; `cfamc-zoo train --list` prints those there are")
    if show:
        _show(recipe, settings or (), as_json=json)
        return
    if max_minutes is not None and max_minutes <= 0:
        raise UsageError(f"--max-minutes is {max_minutes:g}; it must be over 0")
    from cfamc_zoo.allocator import keep_freed_memory
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.training import distributed
    from cfamc_zoo.training.run import job_of, run_job
    from cfamc_zoo.zoo.device import find_device

    job = job_of(recipe, settings or (), data=data, run=run, start=start, resume=resume)
    keep_freed_memory()
    use_threads(threads)
    if estimate:
        _estimate(job, device, to_json=json)
        return
    deadline = time.monotonic() + (max_minutes or float("inf")) * 60
    with distributed.join(find_device(device)) as torch_device, _interruptible() as interrupted:
        trained = run_job(
            job,
            torch_device,
            watch=partial(_logs, job, tensorboard=tensorboard),
            say=output.note,
            progress=output.progress,
            stop=lambda: interrupted() or time.monotonic() > deadline,
        )
        first = distributed.rank() == 0
    if not first:
        return
    if plot:
        from cfamc_zoo.training.curves import plot_curves

        output.note(f"curves: {plot_curves(job.run)}")
    result, release = trained.result, trained.release
    if not result.finished:
        so_far = f"; what it has learnt so far: {str(release)!r}" if release else ""
        output.note(f"stopped at batch {result.step}; go on with --resume{so_far}")
        if interrupted():
            raise KeyboardInterrupt
    if json:
        output.json_result(_summary(job, trained))
    else:
        output.result(str(release or job.run))


def _list(*, as_json: bool) -> None:
    from cfamc_zoo.training.recipe_files import describe_recipes

    found = describe_recipes()
    if as_json:
        output.json_result({"recipes": found})
        return
    output.table(("name", "title", "source"), [tuple(recipe.values()) for recipe in found])


def _show(recipe: str, settings: Sequence[str], *, as_json: bool) -> None:
    from dataclasses import asdict

    from cfamc_zoo.training.recipe import load_recipe
    from cfamc_zoo.training.recipe_keys import keys_of

    shown = load_recipe(recipe, settings)
    keys = keys_of(shown)
    if as_json:
        about = {"name": shown.name, "title": shown.title, "source": shown.source}
        output.json_result({**about, "keys": [asdict(key) for key in keys]})
        return
    output.note(f"{shown.name}: {shown.title}; {shown.source}")
    output.table(("key", "value", "meaning"), [(k.key, k.value, k.meaning) for k in keys])


def _summary(job: Job, trained: Trained) -> dict[str, Any]:
    from cfamc_zoo.zoo.catalogue.resolve import METRICS

    return {
        "run": str(job.run),
        "finished": trained.result.finished,
        "steps": trained.result.step,
        "seconds": round(trained.result.seconds, 1),
        "metrics": str(job.run / METRICS),
        "release": str(trained.release) if trained.release else None,
    }


@contextmanager
def _logs(job: Job, done: int, *, tensorboard: bool) -> Iterator[Callable[[Report], None]]:
    """What is told of each report: the person, and TensorBoard where it is wanted."""
    from cfamc_zoo.training import distributed

    with ExitStack() as stack:
        logs = [stack.enter_context(output.training_progress(job.recipe.name))]
        if tensorboard and distributed.rank() == 0:
            from cfamc_zoo.training.tensorboard import tensorboard as open_log

            logs.append(stack.enter_context(open_log(job.run, after=done)))

        def report(line: Report) -> None:
            for log in logs:
                log(line)

        yield report


def _estimate(job: Job, device: str | None, *, to_json: bool) -> None:
    from dataclasses import asdict

    from cfamc_zoo.training.estimate import estimate
    from cfamc_zoo.training.images import training_images
    from cfamc_zoo.zoo.device import find_device

    tried = training_images(job.data, job.recipe.size, say=output.note, progress=output.progress)
    found = estimate(job.recipe, tried.images, find_device(device))
    if to_json:
        output.json_result(asdict(found) | {"seconds": found.seconds})
        return
    memory = f", {found.memory / 2**30:.1f} GiB of memory" if found.memory else ""
    output.result(
        f"about {output.duration(found.seconds)} for {found.batches:,} batches "
        f"({found.crops_per_second:,.0f} crops/s){memory}"
    )


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C or a termination request came; a second one ends the program at once."""
    asked = False

    def note_it(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, previous[number])
        output.note("finishing this batch and saving; once more to quit at once")

    previous: dict[int, Any] = {
        s: signal.signal(s, note_it) for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
