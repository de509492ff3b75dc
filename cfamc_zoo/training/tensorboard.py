"""A run's reports as TensorBoard scalars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.loop import Report

FOLDER = "tensorboard"


@contextmanager
def tensorboard(run: Path, *, after: int) -> Iterator[Callable[[Report], None]]:
    """Something to report to that writes RUN/tensorboard.

    Args:
        after: the step a run goes on from; what an earlier part wrote beyond it is hidden.

    Raises:
        UsageError: tensorboard is not installed.
        StorageError: the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs tensorboard; pip install 'cfamc-zoo[train]'"
        ) from error
    with storage_errors(run / FOLDER):
        writer = SummaryWriter(str(run / FOLDER), purge_step=after + 1 if after else None)

    def write(report: Report) -> None:
        values = {
            "loss": report.loss,
            **{f"parts/{name}": value for name, value in report.parts.items()},
            "learning_rate": report.learning_rate,
            "crops_per_second": report.crops_per_second,
        }
        for name, value in values.items():
            writer.add_scalar(name, value, report.step)

    try:
        yield write
    finally:
        writer.close()
