"""`list` by pattern, order and form; `train --list` and `--show`; colours; doctor's extras."""

import csv
import io
import json
import re
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cfamc_zoo import doctor
from cfamc_zoo.cli import output
from cfamc_zoo.cli.app import run
from cfamc_zoo.training.recipe import Recipe, list_recipes, load_recipe
from cfamc_zoo.training.recipe_keys import keys_of
from cfamc_zoo.zoo.catalogue import registry

COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|38|9[0-7])[0-9;]*m")


@pytest.fixture
def three(monkeypatch):
    """Models a, b and c: accuracies at 8/255 fall, clean ones rise; c was not attacked."""
    model = registry.list_models()[0]

    def variant(name, clean, robust):
        rows = []
        for row in model.results:
            if row.metric == "clean accuracy":
                rows.append(replace(row, value=clean))
            elif row.eps == "8/255" and robust is not None:
                rows.append(replace(row, value=robust))
        return replace(model, name=name, results=rows)

    specs = [variant("a-wide", 50.0, 30.0), variant("b-thin", 60.0, 20.0), variant("c", 70.0, None)]
    monkeypatch.setattr(registry, "list_models", lambda: specs)


def names(capsys, *arguments, code=0):
    assert run(["list", *arguments, "--json"]) == code
    return [model["name"] for model in json.loads(capsys.readouterr().out)["models"]]


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        ([], ["a-wide", "b-thin", "c"]),
        (["--sort", "8/255"], ["a-wide", "b-thin", "c"]),
        (["--sort", "clean"], ["c", "b-thin", "a-wide"]),
        (["--sort", "name"], ["a-wide", "b-thin", "c"]),
        (["THIN"], ["b-thin"]),
        (["-"], ["a-wide", "b-thin"]),
        (["?"], ["c"]),
        (["[bc]*"], ["b-thin", "c"]),
    ],
)
def test_models_are_chosen_and_sorted(three, capsys, arguments, listed):
    assert names(capsys, *arguments) == listed


def test_a_list_as_csv_is_the_table(three, capsys):
    assert run(["list", "--csv", "--sort", "clean"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert [row[header.index("name")] for row in rows] == ["c", "b-thin", "a-wide"]
    assert [row[header.index("clean")].rstrip("*") for row in rows] == ["70.00", "60.00", "50.00"]
    assert rows[0][header.index("8/255")] == "-"
    assert [row[header.index("data")] for row in rows] == ["cifar10"] * 3
    assert [row[header.index("threat")] for row in rows] == ["linf 8/255"] * 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["b-thinn"], "did you mean b-thin"),
        (["--sort", "8/225"], "did you mean 8/255"),
        (["--csv", "--json"], "give one"),
    ],
)
def test_a_wrong_list_is_refused(three, capsys, arguments, said):
    assert run(["list", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.out == ""


def test_recipes_are_listed_as_they_are(capsys):
    assert run(["train", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert [recipe["name"] for recipe in listed] == list_recipes()
    for recipe in listed:
        loaded = load_recipe(recipe["name"])
        assert recipe == {k: getattr(loaded, k) for k in ("name", "title", "source")}
    assert run(["train", "--list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(listed) + 1


def test_a_recipe_is_shown_with_what_was_set(capsys):
    line = ["train", "cf-amc-ssl-thin", "--show", "--json", "--set", "views.count=5"]
    assert run(line) == 0
    shown = json.loads(capsys.readouterr().out)
    values = {key["key"]: key["value"] for key in shown["keys"]}
    assert shown["name"] == "cf-amc-ssl-thin"
    assert values["views.count"] == "5"
    assert values["adversary.eps"] == '"8/255"'
    assert run(["train", "cf-amc-ssl-thin", "--show"]) == 0
    assert "crops are views.count times as many" in capsys.readouterr().out
    assert run(["train", "--show"]) == 2
    assert "train --list" in capsys.readouterr().err


def flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("name", list_recipes())
def test_every_key_is_shown_with_a_meaning_and_can_be_set(name):
    recipe = load_recipe(name)
    keys = keys_of(recipe)
    assert {key.key for key in keys} == set(flat(asdict(recipe))) - {"name", "title", "source"}
    for key in keys:
        assert key.meaning, f"{key.key} has no comment beside its field"
    again = load_recipe(name, [f"{key.key}={key.value}" for key in keys])
    assert isinstance(again, Recipe) and again == recipe


@pytest.mark.parametrize("unwanted", [True, False])
def test_no_color_is_respected(monkeypatch, capsys, unwanted):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if unwanted:
        monkeypatch.setenv("NO_COLOR", "1")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert run(["list"]) == 0
    with output.progress("embedding", 3) as bar:
        bar.advance(3, "almost")
    printed = "".join(capsys.readouterr())
    assert (COLOUR.search(printed) is None) == unwanted


def test_doctor_knows_every_extra_and_what_it_installs(monkeypatch):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra, wanted in project["optional-dependencies"].items():
        if extra != "dev":
            listed = {re.match(r"[\w.-]+", one)[0] for one in wanted}
            assert set(doctor.EXTRAS[extra][0]) == listed, f"EXTRAS of doctor.py lacks {extra}"
    assert "ray" in doctor.EXTRAS
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "s3fs" else "1.0")
    found = {f.what: f for f in [doctor._extra(n, *x) for n, x in doctor.EXTRAS.items()]}
    assert found["extra s3"].state == "note"
    assert found["extra s3"].remedy == "pip install 'cfamc-zoo[s3]'"
    assert found["extra heif"].state == "ok"
