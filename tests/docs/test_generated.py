"""What the site takes from the package is whole, and Markdown shows it as it stands."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from cfamc_zoo.cli.app import COMMANDS
from cfamc_zoo.zoo.catalogue.registry import AT_8, list_models
from tests.docs.test_examples import examples_of, parameters_of
from tests.scripts import script

SITE = Path(__file__).parents[2] / "docs/site"


@pytest.fixture(scope="module")
def generated():
    return script(SITE / "generated.py")


def read(markdown):
    """What a reader sees of it: the text of every cell, block and line."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    parts = [t for token in tokens for t in (token.children or [token])]
    shown = [p.content if p.type != "html_inline" else "" for p in parts]
    return " ".join("".join(shown).replace("&#124;", "|").split())


def test_every_command_is_shown_as_its_help_says_it(generated):
    shown = read(generated.commands())
    for name in COMMANDS:
        for text in (*examples_of(name), *(t for record in parameters_of(name) for t in record)):
            plain = " ".join(text.replace("`", "").split())
            assert plain in shown, f"{name}: {text!r} is not shown as it stands"


def test_the_bundled_encoders_are_shown_with_their_numbers(generated):
    lines = generated.models().splitlines()[2:]
    bundled = [spec for spec in list_models() if spec.bundled]
    assert len(lines) == len(bundled) >= 2
    for line, spec in zip(lines, bundled, strict=True):
        assert line.startswith(f"| `{spec.name}` |")
        assert line.endswith(f"| {spec.accuracy(AT_8):.2f} |")


def test_explanations_show_rows_that_were_measured(generated):
    rows = generated.rows_of(generated.MEASURED)
    values = {f"{row.value:.2f}" for row in rows}
    for text in (generated.heads(rows), generated.attacks(rows)):
        found = re.findall(r"(?<= )\d\d\.\d\d(?= )", text)
        assert len(found) >= 5 and set(found) <= values
    robust, clean = (line.split(" | ")[1:] for line in generated.heads(rows).splitlines()[2:])
    assert robust[0] < clean[0] and robust[-1] > clean[-1], "what the page says of the two heads"


def test_a_row_that_is_missing_is_no_silent_gap(generated):
    rows = [row for row in generated.rows_of(generated.MEASURED) if row.attack != "AutoAttack"]
    with pytest.raises(KeyError):
        generated.attacks(rows)
