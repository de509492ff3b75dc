"""A measurement as a person sees it: notes, progress, what there is when it is stopped, results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cfamc_zoo.allocator import keep_freed_memory
from cfamc_zoo.cli import output
from cfamc_zoo.errors import ZooError

if TYPE_CHECKING:
    from cfamc_zoo.evaluation.measurement import Measurement


def measure(measurement: Measurement, json: bool) -> None:
    """Runs it and shows it; whole, or as far as it came."""
    keep_freed_memory()
    state = measurement.plan.outputs.state
    for text in measurement.notes:
        output.note(f"note: {text}")
    try:
        with output.progress(measurement.title, measurement.total) as bar:
            measurement.run(bar.advance, lambda text: output.note(f"note: {text}"))
    except (ZooError, KeyboardInterrupt):
        if measurement.begun:
            output.note("not all was measured; so far:")
            _show(measurement, "partial", json)
        if state is not None:
            output.note(f"the same command goes on from {state}")
        raise
    for doubt in measurement.doubts:
        output.note(f"warning: {doubt.text}")
    measurement.write()
    if not json:
        output.note(measurement.headline)
    _show(measurement, "complete", json)


def _show(measurement: Measurement, completeness: str, json: bool) -> None:
    if json:
        output.json_result(measurement.to_json(completeness))
    else:
        for text in measurement.legend:
            output.note(text)
        headers, rows, right = measurement.table()
        output.table(headers, rows, right=right)
