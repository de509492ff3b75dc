"""The whole flow that makes a model: train, measure, release, card, tables."""

import json
import sys
from pathlib import Path

import pytest

from cfamc_zoo.cli.app import run
from cfamc_zoo.evaluation.records import read_records
from cfamc_zoo.zoo.release.folder import CARD, PROBE, open_release
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, accuracies, differences, read_results
from tests import scripts
from tests.cli.test_train import TINY

ROOT = Path(__file__).parent.parent


def script(path, monkeypatch, root):
    """A file of the repository that is no part of the package, for a repository at `root`."""
    module = scripts.script(path)
    monkeypatch.setattr(module, "ROOT", root)
    return module


def test_from_a_run_to_a_card_with_its_rows(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    assert run(["train", *TINY, "-o", str(folder), "--set=max_steps=2"]) == 0
    measured = ["measure", str(folder), "--name", "tiny", "--limit", "12", "--json"]
    capsys.readouterr()
    assert run(measured) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(r["protocol"], r["eps"]) for r in told["results"][:3]] == [
        (OWN_PROTOCOL, eps) for eps in ("", "4/255", "8/255")
    ]
    assert len(read_records(Path(told["records"]))) == 2

    tool = script(ROOT / "tools/release.py", monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "argv", ["release.py", str(folder), "--name", "tiny"])
    tool.main()
    release = open_release(folder / "tiny")
    release.verify()
    rows = read_results(release)
    assert [row.to_json() for row in accuracies(rows)] == told["results"]
    assert release.has(PROBE) and differences(rows)
    card = (folder / "tiny" / CARD).read_text()
    for row in accuracies(rows):
        assert f"| {row.metric} | {row.attack or '-'} |" in card
        assert row.command in card
    assert "(the released head)" in card

    generate = script(ROOT / "docs/generate.py", monkeypatch, tmp_path)
    value = accuracies(rows)[0].value
    pretrained = "cifar10-sample | cf-amc-ssl-thin, 2 batches of 8 images | 0"
    assert f"| `tiny` | {pretrained} | {value:.2f} |" in generate.readme_table()


def test_a_run_that_was_not_measured_is_not_released(tiny_release, tmp_path, monkeypatch):
    tool = script(ROOT / "tools/release.py", monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match="has no head to release; first `cfamc-zoo measure"):
        tool.make_release(tiny_release, "tiny", folder=tmp_path / "out")


def test_the_card_of_a_measured_release_is_written_anew(tiny_release, tmp_path, capsys):
    import shutil

    folder = shutil.copytree(tiny_release, tmp_path / "tiny")
    (tmp_path / "mine.toml").write_text(
        'text = "my own"\n[[attacks]]\neps = ["2/255"]\nsettings = { steps = 1 }\n'
    )
    protocol = ["--protocol", str(tmp_path / "mine.toml")]
    data = ["--data", "cifar10-sample", "--limit", "10"]
    assert run(["measure", str(folder), *protocol, *data]) == 0
    _, heading, _, *lines = capsys.readouterr().out.splitlines()
    assert heading == "my own (linf)"
    assert [line.split("\t")[:4] for line in lines] == [
        ["cifar10-sample", "clean accuracy", "-", "-"],
        ["cifar10-sample", "robust accuracy", "PGD-1", "2/255"],
    ]
    card = (folder / CARD).read_text()
    assert "\nMy own:\n" in card and "PGD-1 | linf | 2/255" in card
    open_release(folder).verify()
