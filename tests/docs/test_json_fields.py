"""The tables of what `--json` prints say what the schemas do."""

from pathlib import Path

import pytest

from cfamc_zoo.cli.app import COMMANDS
from tests.scripts import script

FILE = Path(__file__).parents[2] / "docs/site/json_fields.py"


@pytest.fixture(scope="module")
def sections():
    """By command, the rows of its tables: field, what it is, meaning."""
    text = script(FILE).json_fields(COMMANDS)
    sections = {}
    for section in text.split("## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("| `")]
        rows = [line.strip("| ").split(" | ") for line in lines]
        sections[section.splitlines()[0]] = {row[0].strip("`"): row[1:] for row in rows}
    return sections


def test_every_command_has_a_section(sections):
    assert list(sections) == list(COMMANDS)


@pytest.mark.parametrize(
    ("command", "field", "kind", "meaning"),
    [
        ("pull", "folder", "text", "Its release folder."),
        ("list", "models[].architecture.width", "whole number; may be absent", "Channels"),
        ("info", "files.NAME.size", "whole number", "Bytes."),
        ("info", "results[].value", "number", "Percent"),
        ("info", "results[].correct", "text; may be absent", "A character an image"),
        ("search", "groups[][].row", "whole number", "Where it stands"),
        ("search", "recall", "number or null", "The part of the 10 nearest"),
        ("search", "queries[].attacked", "object; may be absent", "The same query under attack"),
        ("search", "queries[].attacked.kept", "whole number", "Neighbours that stay"),
        ("probe", "head", "`linear`, `published`", ""),
        ("probe", "decay", "number; may be absent", "The weight decay"),
        ("attack", "targets", "whole number; may be absent", "Wrong classes"),
        ("attack", "results[].breakaway_risk", "number", "How often"),
        ("export", "logits.relative", "number", "The same as a part"),
        ("train", "memory", "whole number or null", "Bytes at most"),
    ],
)
def test_a_field_is_described(sections, command, field, kind, meaning):
    is_, *text = sections[command][field]
    assert is_ == kind
    assert " ".join(text).startswith(meaning)
