"""Models by name: exact accuracies, and entries of models that are on the Hub alone."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.export.card import render_entry
from cfamc_zoo.zoo.catalogue import entry, registry
from cfamc_zoo.zoo.catalogue.registry import AT_8, CLEAN, default_model, find_model, list_models
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, headline, row_of, summarize
from tests.scripts import script

ROOT = Path(__file__).parent.parent.parent
HERE = {"versions": {}, "device": "cpu"}
PGD = {"attack": "PGD-20", "norm": "linf", "eps": "8/255", "steps": 20, "restarts": 1}


def row(value, data="cifar10", n=10_000, protocol=OWN_PROTOCOL, **attack):
    metric = "robust accuracy" if attack else "clean accuracy"
    measured = {"metric": metric, "data": data, "n": n, "value": value, "low": 0.0, "high": 99.0}
    return row_of(measured | attack, protocol=protocol, command="again", here=HERE)


def spec_of(*rows):
    return replace(find_model(default_model()), results=summarize([*rows]))


@pytest.mark.parametrize(
    "other",
    [
        {"attack": "PGD-20 dlr"},
        {"norm": "l2"},
        {"eps": "4/255"},
        {"steps": 200},
        {"restarts": 10},
    ],
)
def test_an_accuracy_is_that_of_the_protocol_asked_for(other):
    weaker, ours = row(40.0, **(PGD | other)), row(20.5, **PGD)
    for rows in ([weaker, ours], [ours, weaker]):
        assert spec_of(row(60.25), *rows).accuracy(AT_8) == 20.5
    assert spec_of(row(60.25), weaker).accuracy(AT_8) is None
    assert spec_of(row(60.25), weaker).accuracy(CLEAN) == 60.25


def test_samples_are_told_only_where_no_whole_split_was_measured():
    whole, part = row(20.0, **PGD), row(25.0, "cifar10-sample", 1000, **PGD)
    assert headline([part, whole]) == [whole]
    assert headline([part, row(1.0, protocol="another", **PGD)]) == [part]
    limited = row(25.0, n=300, **PGD)
    assert headline([limited, whole]) == [whole]


@pytest.fixture
def known(tmp_path, monkeypatch, tiny_release):
    """The package's models in a folder of their own, and one more that is on the Hub alone."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    shutil.copytree(registry.FOLDER / "models", folder / "models")
    (folder / "bundled").symlink_to(registry.FOLDER / "bundled")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(registry, "FOLDER", folder)
    registry.forget()
    release = open_release(tiny_release)
    spec = entry.entry_of(release, repo="zoo/tiny", revision="f" * 40)
    sample = {"data": "cifar10-sample", "n": 1000}
    rows = summarize([row(61.0, **sample), row(60.5, **sample, **PGD)])
    entry.write_entry(replace(spec, results=rows))
    yield find_model("tiny")
    registry.forget()


def test_the_most_robust_model_may_be_on_the_hub_alone(known):
    assert list_models()[0].name == "tiny"
    assert not find_model("tiny").bundled and find_model(default_model()).bundled


def test_list_and_info_tell_of_it_without_the_hub(known, capsys):
    assert run(["list"]) == 0
    told = capsys.readouterr()
    line = next(x.split("\t") for x in told.out.splitlines() if x.startswith("tiny\t"))
    assert line[2:] == ["cifar10 linf 8/255", "61.00*", "-", "60.50*", "on the Hub"]
    assert "* tiny: on 1,000 images of cifar10-sample\n" in told.err
    assert told.err.count("* ") == 1, "the other one was measured on a whole split"
    assert run(["info", "tiny"]) == 0
    told = capsys.readouterr()
    assert "what the package knows of tiny" in told.err
    assert "cifar10-sample\trobust accuracy\tPGD-20\t8/255\t60.50\t1000\n" in told.out
    assert f"\n{OWN_PROTOCOL} (linf)\n" in told.out
    assert run(["info", "zoo/tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config_sha256"] == known.config_sha256


def test_the_generated_pages_tell_of_it_without_the_hub(known):
    cards = script(ROOT / "docs/generate.py").model_cards()
    assert render_entry(known) in cards
    assert "| cifar10-sample | 1000 | robust accuracy | PGD-20 | linf | 8/255 | 60.50 |" in cards
    assert f"# {default_model()}\n" in cards


def test_a_model_on_the_hub_is_registered_at_its_commit(known, monkeypatch, tiny_release, capsys):
    asked = []

    def fetch_summary(repo, revision):
        asked.append((repo, revision))
        return open_release(tiny_release)

    tool = script(ROOT / "tools/register.py")
    monkeypatch.setattr(tool, "fetch_summary", fetch_summary)
    monkeypatch.setattr(sys, "argv", ["register.py", "others/tiny", "--revision", "v1"])
    tool.main()
    assert asked == [("others/tiny", "v1")]
    assert capsys.readouterr().out.strip().endswith("models/tiny.json")
    spec, release = find_model("tiny"), open_release(tiny_release)
    assert (spec.repo, spec.bundled) == ("others/tiny", False)
    assert spec.revision == release.folder.name  # the commit, in the Hub's cache
    assert spec.config_sha256 == release.config_sha256


@pytest.mark.parametrize("name", ["../tiny", "a b", "-m", "zoo/tiny"])
def test_a_name_that_is_no_files_is_refused(known, name):
    with pytest.raises(ReleaseError, match="cannot be known as"):
        entry.write_entry(replace(known, name=name))
