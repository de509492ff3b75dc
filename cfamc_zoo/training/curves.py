"""A picture of a run: loss, its parts, learning rate and speed, from metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.loop import METRICS

CURVES = "curves.svg"


def plot_curves(run: Path) -> Path:
    """Draws RUN/curves.svg.

    Raises:
        UsageError: no metrics there, or matplotlib is not installed.
        StorageError: it cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib; pip install 'cfamc-zoo[train]'") from error
    lines = read_metrics(run)
    epochs = [line["epoch"] for line in lines]
    panels = {"loss": [line["loss"] for line in lines]}
    panels |= {name: [line["parts"][name] for line in lines] for name in lines[0]["parts"]}
    panels |= {
        "learning rate": [line["learning_rate"] for line in lines],
        "crops a second": [line["crops_per_second"] for line in lines],
    }
    figure = Figure(figsize=(4.5, 1.7 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        axis.plot(epochs, values, linewidth=1)
        axis.set_title(name.replace("_", " "), loc="left", fontsize=9)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    axes[-1].set_ylim(bottom=0)
    axes[-1].set_xlabel("epoch", fontsize=9)
    with atomic_file(run / CURVES) as path:
        # Without a date, so that the same metrics give the same file.
        figure.savefig(path, format="svg", metadata={"Date": None})
    return run / CURVES


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl.

    Raises:
        UsageError: there are none.
    """
    path = run / METRICS
    lines = [json.loads(x) for x in path.read_text("utf-8").splitlines()] if path.is_file() else []
    if not lines:
        raise UsageError(f"{str(run)!r} has no {METRICS} to draw; train first")
    return lines
