"""A picture of a run: loss, its parts, learning rate and speed, from metrics.jsonl."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.catalogue.resolve import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = "curves.svg"
SCHEMES = (
    "<style>svg{color:#1b1f24;fill:currentColor;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e6e8eb;background:#14171a}}</style>"
)


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
    figure = Figure(figsize=(5.5, 1.7 * len(panels)), layout="constrained", facecolor="none")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        axis.plot(epochs, values, linewidth=1.2)
        axis.set_ylabel(name.replace("_", " "), fontsize=9)
        axis.set_facecolor("none")
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    figure.align_ylabels(axes)
    axes[-1].set_ylim(bottom=0)
    axes[-1].set_xlabel("epoch", fontsize=9)
    with atomic_file(run / CURVES) as path:
        path.write_text(as_svg(figure, CURVES), "utf-8")
    return run / CURVES


def as_svg(figure: Figure, name: str) -> str:
    """The picture of that name: what is black in a light page is white in a dark one."""
    from matplotlib import rc_context

    drawn = io.StringIO()
    # Without a date and with names that are no draws: the same figures give the same file.
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    head, start, body = drawn.getvalue().partition("<defs>")
    return head + SCHEMES + start + body.replace("#000000", "currentColor")


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
