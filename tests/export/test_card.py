"""Every claim of a card is held against the release that it is the card of."""

import json
import re
import shlex
from fractions import Fraction

import pytest
import torch
import yaml
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.datasets import NAMED
from cfamc_zoo.export.card import HEADS, render_body, render_release
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.folder import GRAPH, PROBE, PROJECTOR, open_release
from cfamc_zoo.zoo.release.probe_file import read_head
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, accuracies, read_results
from tests.export.kinds import KINDS, make


@pytest.fixture(scope="module", params=["bundled", "exported", *KINDS])
def release(request, tmp_path_factory):
    if request.param == "bundled":
        return open_release(bundled_folder(default_model()))
    if request.param == "exported":
        return open_release(request.getfixturevalue("tiny_release"))
    return make(KINDS[request.param], tmp_path_factory.mktemp("cards") / "some")


@pytest.fixture(scope="module")
def body(release):
    return render_body(release)


def prose(body):
    """Without code, tables and the heading."""
    text = re.sub(r"```.*?```", "", body, flags=re.DOTALL)
    text = " ".join(line for line in text.splitlines() if not line.startswith(("#", "|")))
    return re.sub(r"\s+", " ", text)


def block(body, language):
    found = re.findall(r"```(\w*)\n(.*?)```", body, re.DOTALL)
    return [code for kind, code in found if kind == language]


def test_its_python_does_what_its_comments_say(release, body, monkeypatch):
    monkeypatch.chdir(release.folder.parent)
    (code,) = block(body, "python")
    side, features = re.search(r"\(N, 3, (\d+), \1\) in \[0, 1\] -> \(N, (\d+)\)", code).groups()
    names = {"images": torch.rand(2, 3, int(side), int(side))}
    exec(code, names)
    assert names["z"].shape == (2, int(features))
    assert int(side) == release.config.preprocess.size
    assert ("load_classifier" in code) == release.has(PROBE)
    if release.has(PROBE):
        (classes,) = re.findall(r"# -> \(N, (\d+)\)", code)
        assert names["logits"].shape == (2, int(classes))


def test_its_command_embeds(release, body, monkeypatch, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (70, 50), "red").save(tmp_path / "images" / "red.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / release.config.name).symlink_to(release.folder)
    command = next(b for b in block(body, "") if b.startswith("cfamc-zoo embed"))
    assert run(shlex.split(command)[1:]) == 0
    assert ("--backend torch" in command) != release.has(GRAPH)


def test_its_tables_are_the_rows(release, body):
    rows = read_results(release)
    expected = [
        (
            *(r.data, str(r.n), r.metric),
            *(getattr(r, key) or "-" for key in ("attack", "norm", "eps")),
            *(f"{r.value:.2f}", f"{r.low:.2f} to {r.high:.2f}"),
        )
        for r in accuracies(rows)
    ]
    shown = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in body.splitlines()
        if line.startswith("| ") and not line.startswith("| data")
    ]
    assert [cells for cells in shown if len(cells) == 8] == expected
    assert ("## Measured" in body) == bool(rows)
    for command in {r.command for r in rows}:
        assert command in body
    robust = [r for r in rows if r.metric == "robust accuracy"]
    assert ("The robust accuracy holds" in body) == bool(robust)
    assert ("Nothing was measured of its robustness" in body) == (not robust)
    few = [r for r in accuracies(rows) if r.n < 10_000]
    assert ("All accuracies are of" in body) == (bool(few) and len(few) == len(accuracies(rows)))


WORDS = {
    "an eighth": Fraction(1, 8),
    "a quarter": Fraction(1, 4),
    "a sixteenth": Fraction(1, 16),
}


def test_its_words_are_its_numbers(release, body):
    config, said = release.config, prose(body)
    if isinstance(config.architecture, ResNetArchitecture):
        part = Fraction(config.architecture.width, 64)
        for word, value in WORDS.items():
            assert (f"{word} of the usual width" in said) == (part == value)
        assert f"width {config.architecture.width}" in said
    else:
        assert "width" not in said
        assert f"timm's {config.architecture.model} (" in said
        for key, value in config.architecture.arguments.items():
            assert f"{key} {value}" in said
    recipe, made = config.recipe, config.provenance
    if "seconds" in made:
        number, unit = re.search(r"(\d+) (second|minute)s of training", said).groups()
        scale = {"second": 1, "minute": 60}[unit]
        assert abs(int(number) * scale - made["seconds"]) <= scale / 2
    else:
        assert "of training" not in said
    epochs = re.findall(r"(\d+) epochs?\b", said)
    whole = "steps" in made and not recipe.get("max_steps")
    assert epochs == ([str(recipe["epochs"])] if whole else [])
    if "steps" in made:
        batches, size = re.search(r"([\d,]+) batch(?:es)? of (\d+) images", said).groups()
        assert int(batches.replace(",", "")) == made["steps"]
        assert int(size) == recipe["batch_size"]
        assert f"{recipe['views']['count']} views of each image" in said


def test_it_says_of_its_making_what_is_recorded(release, body):
    config, said = release.config, prose(body)
    recipe, made, threat = config.recipe, config.provenance, config.threat_model
    objective = recipe.get("objective", {}).get("kind")
    without = bool(recipe) and bool(made.get("method") or objective in ("emp", "nt-xent"))
    assert ("without labels" in said) == without
    assert ("without an attack" in said) == (recipe.get("adversary") == {"kind": "none"})
    assert ("should not move" in said) == bool(threat)
    if threat:
        assert f"against {threat['norm']} perturbations of {threat['eps']}" in said
    else:
        assert "against" not in said
    assert ("imported from" in said) == ("imported" in made)
    weights = made.get("weights", {}).get("kind")
    assert ("never trained" in said) == (weights == "random")
    assert ("with the weights of `some.pth`" in said) == (weights == "file")
    assert ("not recorded" in said) == (not recipe and weights != "random")
    assert ("## How it was made" in body) == bool(wording.training(recipe, made))
    assert (f"by recipe `{recipe.get('name')}`" in said) == ("name" in recipe)
    assert ("weights are an average" in said) == (bool(recipe.get("averaging")))
    assert ("began with the weights of" in said) == ("from" in made)
    if data := made.get("data", recipe.get("data")):
        assert f"trained on images of {data}." in said
    else:
        assert "trained on" not in said
    assert ("2501.03507" in body) == ("2501.03507" in recipe.get("source", ""))


def test_it_says_of_its_input_and_outputs_what_they_are(release, body):
    config, said = release.config, prose(body)
    size = config.preprocess.size
    assert {*re.findall(r"(\d+) x (\d+)", said)} == {(str(size), str(size))}
    if config.preprocess.mean == (0, 0, 0):
        assert "normalizes nothing" in said and "subtracts" not in said
    else:
        assert f"subtracts {', '.join(map(str, config.preprocess.mean))} and" in said
        assert f"divides by {', '.join(map(str, config.preprocess.std))}," in said
    side = config.preprocess.shorter_side
    assert f"shorter side to {side} ({config.preprocess.interpolation})" in said
    sizes = {name: str(size) for name, size in config.architecture.dimensions.items()}
    if not release.has(PROJECTOR):
        sizes.pop("projection", None)
    told = re.findall(r"`(\w+)` \((\d+)(?: values)?\)", said)
    assert dict(told) == sizes and len(told) == len(sizes)
    assert ("cfamc-zoo[timm]" in said) == (config.architecture.family == "timm")
    assert ("linear head reads" in said) == release.has(PROBE)
    if release.has(PROBE):
        head = read_head(release.read(PROBE), PROBE)
        assert f"head reads `{head.feature}`" in said
        assert f"{len(head.classes)} classes of {head.data}" in said
        assert ("crops, and tells" in said) == (head.crops is not None)
        if head.crops:
            assert f"the mean over {head.crops['count']} crops" in said


def test_every_number_of_its_prose_is_in_the_release(release, body):
    config, known = release.config, {"224"} - {"224"}
    values = json.dumps([config.to_json(), *(row.to_json() for row in read_results(release))])
    known |= set(re.findall(r"\d+", values))
    known |= {str(size) for size in config.architecture.dimensions.values()}
    usual = "64" if getattr(config.architecture, "width", 64) != 64 else ""
    known |= {usual, "0", "1", "3", str(config.preprocess.shorter_side)}
    known |= set(re.findall(r"\d+", wording.duration(config.provenance.get("seconds", 0))))
    if release.has(PROBE):
        head = read_head(release.read(PROBE), PROBE)
        known |= {str(len(head.classes)), str((head.crops or {}).get("count"))}
    text = prose(body)
    for sentence in HEADS.values():  # its numbers are the code's: the next test
        text = text.replace(sentence, "")
    assert set(re.findall(r"\d+", text.replace(",", ""))) <= known


def test_the_rule_of_the_head_is_told_where_there_is_such_a_head(release, body):
    protocols = {r.protocol for r in read_results(release)}
    told = release.has(PROBE) and OWN_PROTOCOL in protocols
    assert (HEADS[OWN_PROTOCOL] in body) == told
    assert ("(the released head)" in body) == told


def test_the_hub_is_told_the_same(release):
    config = release.config
    metadata = yaml.safe_load(render_release(release).split("---\n")[1])
    assert metadata["license"] == config.licence.lower()
    data = config.recipe.get("data", "")
    named = [NAMED[data].repo] if data in NAMED else None
    assert metadata.get("datasets") == named
    tags = set(metadata["tags"])
    assert ("adversarial-robustness" in tags) == bool(config.threat_model)
    assert ("self-supervised" in tags) == ("objective" in config.recipe)
    assert ("onnx" in tags) == release.has(GRAPH)
    rows = accuracies(read_results(release))
    results = [r for m in metadata.get("model-index", []) for r in m["results"]]
    told = [
        (m["value"], m["args"]["n"], r["dataset"]["type"]) for r in results for m in r["metrics"]
    ]
    where = {"cifar10": "uoft-cs/cifar10", "cifar10-sample": "uoft-cs/cifar10", "pets": "pets"}
    assert sorted(told) == sorted((r.value, r.n, where[r.data]) for r in rows)


def test_info_tells_no_more(release, capsys):
    assert run(["info", str(release.folder)]) == 0
    facts = dict(
        line.split("\t")[:2] for line in capsys.readouterr().out.splitlines() if "\t" in line
    )
    config = release.config
    assert "None" not in facts["made"]
    against = f"linf {config.threat_model['eps']}" if config.threat_model else "nothing"
    assert facts["trained against"] == (against if config.recipe else "not recorded")
    assert ("head" in facts) == release.has(PROBE)
