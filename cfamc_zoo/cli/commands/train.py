"""`cfamc-zoo train`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cfamc_zoo.cli import output
from cfamc_zoo.cli.options import Threads
from cfamc_zoo.errors import OutputExistsError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from cfamc_zoo.training.loop import Report, Result
    from cfamc_zoo.training.recipe import Recipe


# Keys of a recipe that change when a run reports or stops, not what it computes.
REPORTING = (
    *("max_steps", "checkpoint_steps", "checkpoint_minutes", "log_steps"),
    *("title", "source"),
)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
    data: Annotated[
        str | None, typer.Option(help="Train on these images: a named set or a folder.")
    ] = None,
    run: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a recipe key.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="Start from the weights of this release."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after so long, with a checkpoint.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Try some batches and say what the run needs.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw RUN/curves.svg at the end.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    threads: Threads = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object to stdout.")] = False,
) -> None:
    """Pretrain an encoder from a recipe."""
    from cfamc_zoo.training.recipe import load_recipe

    chosen = load_recipe(recipe, settings or [])

    from cfamc_zoo.training.images import data_name, training_images

    source = data or chosen.data
    chosen = replace(chosen, data=data_name(source))
    if max_minutes is not None and max_minutes <= 0:
        raise UsageError(f"--max-minutes is {max_minutes:g}; it must be over 0")
    if start is not None and resume:
        raise UsageError("--resume goes on from the run's own checkpoint; leave --from away")
    run = run or Path("runs") / chosen.name

    from cfamc_zoo.allocator import keep_freed_memory
    from cfamc_zoo.threads import use_threads
    from cfamc_zoo.training import distributed
    from cfamc_zoo.training.loop import METRICS, train
    from cfamc_zoo.training.start import start_from
    from cfamc_zoo.zoo.device import find_device

    keep_freed_memory()
    use_threads(threads)
    if estimate:
        tried = training_images(source, chosen.size, say=output.note, progress=output.progress)
        _estimate(chosen, tried.images, device, as_json=json)
        return
    deadline = time.monotonic() + (max_minutes or float("inf")) * 60
    with (
        distributed.join(find_device(device)) as where,
        _interruptible() as interrupted,
        ExitStack() as stack,
    ):
        origin = start_from(start, chosen) if start is not None else None
        done = _open_run(run, chosen, resume)
        first = distributed.rank() == 0
        images = training_images(
            source,
            chosen.size,
            say=output.note if first else lambda text: None,
            progress=output.progress,
            stop=interrupted,
        )
        if done:
            images.check(run)
        elif first:
            images.record(run)
        logs = [stack.enter_context(output.training_progress(chosen.name))]
        if tensorboard and distributed.rank() == 0:
            from cfamc_zoo.training.tensorboard import tensorboard as open_log

            logs.append(stack.enter_context(open_log(run, after=done)))
        result = train(
            chosen,
            images.images,
            run,
            device=where,
            report=_to_all(logs),
            stop=lambda: interrupted() or time.monotonic() > deadline,
            start=origin,
        )
    if not first:
        return
    if plot:
        from cfamc_zoo.training.curves import plot_curves

        output.note(f"curves: {plot_curves(run)}")
    folder = _save(chosen, result, run, str(where)) if result.encoder is not None else None
    if not result.finished:
        so_far = f"; what it has learnt so far: {str(folder)!r}" if folder else ""
        output.note(f"stopped at batch {result.step}; go on with --resume{so_far}")
        if interrupted():
            raise KeyboardInterrupt
    summary = {
        "run": str(run),
        "finished": result.finished,
        "steps": result.step,
        "seconds": round(result.seconds, 1),
        "metrics": str(run / METRICS),
        "release": str(folder) if folder else None,
    }
    if json:
        output.json_result(summary)
    else:
        output.result(str(folder or run))


def _estimate(recipe: Recipe, images: np.ndarray, device: str | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from cfamc_zoo.training.estimate import estimate
    from cfamc_zoo.zoo.device import find_device

    found = estimate(recipe, images, find_device(device))
    if as_json:
        output.json_result(asdict(found) | {"seconds": found.seconds})
        return
    memory = f", {found.memory / 2**30:.1f} GiB of memory" if found.memory else ""
    output.result(
        f"about {output.duration(found.seconds)} for {found.batches:,} batches "
        f"({found.crops_per_second:,.0f} crops/s){memory}"
    )


def _open_run(run: Path, recipe: Recipe, resume: bool) -> int:
    """Makes the folder of a new run, or checks that an old one is of the same recipe.

    Returns:
        The batches it has done.
    """
    from cfamc_zoo.training.checkpoint import FILE, read_progress, read_recipe

    there = (run / FILE).exists()
    if there and not resume:
        raise OutputExistsError(
            f"{str(run)!r} already holds a run; go on with --resume, or choose another -o"
        )
    if resume and not there:
        raise UsageError(f"{str(run)!r} holds no checkpoint; start without --resume")
    if there:
        old, new = read_recipe(run).to_json(), recipe.to_json()
        differing = [key for key in new if old.get(key) != new[key] and key not in REPORTING]
        if differing:
            raise UsageError(
                f"{str(run)!r} was started with another {', '.join(differing)}; resume with the "
                "same recipe and settings, or start a new run"
            )
    from cfamc_zoo.atomic import storage_errors

    with storage_errors(run):
        run.mkdir(parents=True, exist_ok=True)
    return read_progress(run).step if there else 0


def _to_all(logs: Sequence[Callable[[Report], None]]) -> Callable[[Report], None]:
    def report(line: Report) -> None:
        for log in logs:
            log(line)

    return report


def _save(recipe: Recipe, result: Result, run: Path, device: str) -> Path:
    """The trained encoder as a release folder inside the run."""
    import torch

    from cfamc_zoo.training.images import recorded
    from cfamc_zoo.version import __version__
    from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
    from cfamc_zoo.zoo.release.loading import save_release

    assert result.encoder is not None
    config = ReleaseConfig(
        format_version=FORMAT_VERSION,
        name=run.name,
        architecture=recipe.encoder,
        preprocess=result.encoder.preprocess,
        threat_model=recipe.threat_model,
        recipe=recipe.to_json(),
        provenance={
            "cfamc-zoo": __version__,
            "torch": torch.__version__,
            "device": device,
            "data": recipe.data,
            **recorded(run),
            "steps": result.step,
            "seconds": round(result.seconds, 1),
        }
        | ({"from": result.origin} if result.origin else {}),
        licence="Apache-2.0",
    )
    return save_release(run / "release", result.encoder.eval(), config).folder


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
