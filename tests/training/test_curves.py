"""The picture of a run: every measure has its axis, in a light page and in a dark one."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.curves import plot_curves


def test_it_is_one_panel_a_measure_with_no_colour_that_a_page_could_swallow(tmp_path):
    line = {"loss": -3.0, "parts": {"coding_rate": 80.0}, "learning_rate": 0.3}
    lines = [{**line, "epoch": 0.1 * i, "crops_per_second": 10.0 + i} for i in range(5)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    text = plot_curves(tmp_path).read_text()
    for name in ("loss", "coding rate", "learning rate", "crops a second", "epoch"):
        assert f"<!-- {name} -->" in text, "matplotlib names each text that it draws"
    assert "#000000" not in text and "prefers-color-scheme:dark" in text
    ElementTree.fromstring(text)
    assert plot_curves(tmp_path).read_text() == text, "the same metrics give the same file"


def test_without_metrics_it_says_so(tmp_path):
    with pytest.raises(UsageError, match="train first"):
        plot_curves(tmp_path)
