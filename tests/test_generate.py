"""The tables of the generated pages, from runs whose numbers are known."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, row_of, rows_text

ROOT = Path(__file__).parent.parent
HERE = {"versions": {}, "device": "cpu"}


def row(value, eps="", n=10_000, data="cifar10", protocol=OWN_PROTOCOL, norm="linf"):
    attack = {"attack": "PGD-20", "norm": norm, "eps": eps, "steps": 20, "restarts": 1}
    measured = {"metric": "accuracy", "data": data, "n": n, "value": value, "low": 0.0}
    measured |= {"high": 100.0, **(attack if eps else {})}
    return row_of(measured, protocol=protocol, command="again", here=HERE)


@pytest.fixture
def generate(tmp_path, monkeypatch):
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.fixture
def add(tmp_path):
    def add(name, *rows, width=64, most=0, steps=500):
        folder = tmp_path / "docs/runs" / name
        folder.mkdir(parents=True)
        lines = [{"seconds": 60.0}, {"seconds": 5430.0}]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        recipe = {"name": "cf-amc-ssl", "data": "cifar10", "epochs": 10, "max_steps": most}
        recipe |= {"batch_size": 100, "seed": 3, "encoder": {"width": width}}
        made = {"device": "cuda", "torch": "2.9", "steps": steps}
        (folder / "run.json").write_text(json.dumps({"recipe": recipe, "provenance": made}))
        (folder / "results.json").write_bytes(rows_text(rows))

    return add


def table(text):
    return [line for line in text.splitlines() if line.startswith("| `")]


WHOLE = (row(75.5), row(50.25, "4/255"), row(30.125, "8/255"))
SAMPLE = tuple(replace(r, data="cifar10-sample", n=1000, value=99.0) for r in WHOLE)


def test_the_readmes_table_is_the_headline(generate, add):
    add("a", *SAMPLE, *WHOLE, row(1.0, "8/255", protocol="another"))
    add("b", *SAMPLE, most=14, steps=14)
    add("c", row(60.0), row(20.0, "8/255"))
    few = " (1,000 images of cifar10-sample)"
    assert table(generate.readme_table()) == [
        "| `a` | cf-amc-ssl, 10 epochs | 90 | 75.50 | 50.25 | 30.12 |",
        f"| `b` | cf-amc-ssl, 14 batches of 100 images | 90 | 99.00 | 99.00 | 99.00{few} |",
        "| `c` | cf-amc-ssl, 10 epochs | 90 | 60.00 | - | 20.00 |",
    ]


@pytest.mark.parametrize(
    ("width", "most", "ours"), [(64, 0, True), (64, 14, False), (16, 0, False)]
)
def test_beside_the_paper_stands_only_the_same_recipe(generate, add, tmp_path, width, most, ours):
    paper = {
        "source": "somewhere",
        "rows": [
            {"encoder": "E", "recipe": "cf-amc-ssl", "minutes": 97}
            | {"cifar10": [75.88, 55.97, 33.34], "cifar100": [50, 31.73, 17]}
        ],
    }
    add("a", *WHOLE, width=width, most=most, steps=most or 500)
    (tmp_path / "docs/paper.json").write_text(json.dumps(paper))
    text = generate.results()
    told = "75.50 / 50.25 / 30.12 | 90.5 | cuda" if ours else "not trained | - | -"
    assert f"| E | `cf-amc-ssl` | 75.88 / 55.97 / 33.34 | 97 | {told} |" in text
    assert "| E | `cf-amc-ssl` | 50 / 31.73 / 17 | 97 | not trained | - | - |" in text
    assert f"| {OWN_PROTOCOL} | cifar10 | 10000 | PGD-20 | 75.50 | 50.25 | 30.12 |" in text


def test_every_protocol_has_its_own_line_with_its_own_clean_accuracy(generate):
    other = [row(61.0, protocol="another"), row(11.0, "8/255", protocol="another")]
    found = generate.grouped([*WHOLE, *SAMPLE, *other])
    assert {key: [r.value for r in rows] for key, rows in found.items()} == {
        (OWN_PROTOCOL, "cifar10", "PGD-20"): [75.5, 50.25, 30.125],
        (OWN_PROTOCOL, "cifar10-sample", "PGD-20"): [99.0, 99.0, 99.0],
        ("another", "cifar10", "PGD-20"): [61.0, 11.0],
    }


def test_no_radius_is_left_out_and_none_is_needed(generate, add, tmp_path):
    add("a", row(75.5), row(33.0, "16/255"), row(60.0, "2/255"), row(44.0, "0.5", norm="l2"))
    add("b", row(50.0, "8/255"))
    add("c", row(75.5))
    (tmp_path / "docs/paper.json").write_text('{"source": "somewhere", "rows": []}')
    text = generate.results()
    assert "| attack | clean | 2/255 | 4/255 | 8/255 | 16/255 | 0.5 |" in text
    own = f"| {OWN_PROTOCOL} | cifar10 | 10000"
    assert f"{own} | PGD-20 | 75.50 | 60.00 | - | - | 33.00 | - |" in text
    assert "| 10000 | PGD-20, l2 | 75.50 | - | - | - | - | 44.00 |" in text
    assert "| 10000 | PGD-20 | - | - | 50.00 |" in text
    assert "| 10000 | - | 75.50 | - | - |" in text


def test_a_run_that_goes_on_is_in_no_table(generate, add, tmp_path):
    add("a", *WHOLE)
    before = generate.readme_table()
    going = tmp_path / "docs/runs/b"
    going.mkdir()
    (going / "metrics.jsonl").write_text('{"seconds": 60.0}\n')
    assert generate.readme_table() == before
