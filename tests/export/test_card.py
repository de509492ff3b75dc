"""Every claim of a card is held against the release that it is the card of."""

import json
import re
import shlex
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.datasets import NAMED
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.evaluation.heads import linear as probe
from cfamc_zoo.export.card import HEADS, render_body, render_release
from cfamc_zoo.export.release import changes_since
from cfamc_zoo.training.recipe import load_recipe
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import GRAPH, PROBE, PROJECTOR, RESULTS, open_release
from cfamc_zoo.zoo.release.loading import probe_bytes, save_release
from cfamc_zoo.zoo.release.probe_file import read_head
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, accuracies, read_results, row_of

HERE = {"versions": {"torch": "2.9"}, "device": "cpu: some processor"}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
MADE = {"torch": "2.9.0", "device": "cpu", "seconds": 47.0, "steps": 14, "data": "cifar10"}
PLAIN = Preprocess()
LINF = {"norm": "linf", "eps": "4/255"}


def row(metric, value, data="cifar10", n=10_000, protocol=OWN_PROTOCOL, **attack):
    measured = {"metric": metric, "data": data, "n": n, "value": value, **attack}
    interval = {"low": value - 1, "high": value + 1}
    command = f"cfamc-zoo attack -m some --data {data}"
    return row_of(measured | interval, protocol=protocol, command=command, here=HERE)


def robust(value, eps, **more):
    attack = {"attack": "PGD-20", "norm": "linf", "eps": eps, "steps": 20, "restarts": 1}
    return row("robust accuracy", value, **attack, **more)


@dataclass(frozen=True)
class Kind:
    """What one kind of release differs in."""

    width: int = 4
    stem: str = "cifar"
    preprocess: Preprocess = PLAIN
    threat: dict | None = None
    recipe: dict | None = None
    made: dict | None = None
    head: str | None = None
    crops: CropPlan | None = None
    rows: tuple = ()
    licence: str = "Apache-2.0"


def trained(name, *settings, **more):
    return load_recipe(name, settings).to_json() | more


CUT = "max_steps=14"
KINDS = {
    "imported": Kind(
        stem="imagenet",
        preprocess=Preprocess(size=64, **IMAGENET),
        made={"imported": {"layout": "torchvision", "left_out": ["fc.weight"]}},
        licence="unknown",
    ),
    "trained with a probe": Kind(
        width=8,
        threat=LINF,
        recipe=trained("cf-amc-ssl-thin", "encoder.width=8", "adversary.eps=4/255"),
        made=MADE | {"steps": 2000, "seconds": 8786.4},
        head="representation",
        rows=(
            row("clean accuracy", 57.5),
            robust(31.25, "4/255"),
            robust(12.5, "2/255", data="cifar10-sample", n=1000),
            row("clean accuracy", 61.0, protocol="another head"),
        ),
    ),
    "standard-trained, of another size": Kind(
        preprocess=Preprocess(size=48),
        recipe=trained("emp-standard", CUT, "data=cifar100", "encoder.width=4"),
        made=MADE | {"data": "cifar100"},
    ),
    "normalized, of an own data set, with a head over crops": Kind(
        width=24,
        preprocess=Preprocess(size=40, **IMAGENET),
        threat=LINF,
        recipe=trained("simclr-crop-pgd", "data=pets"),
        made=MADE | {"data": "pets"},
        head="backbone",
        crops=CropPlan(3, (0.5, 1.0), (1.0, 1.0)),
        rows=(row("clean accuracy", 40.0, data="pets", n=500),),
    ),
    "averaged, from another one": Kind(
        threat=LINF,
        recipe=trained("cf-amc-ssl", CUT, averaging=0.98, batch_size=50),
        made=MADE
        | {"from": {"name": "teacher", "sha256": "ab" * 32, "started_anew": ["projector"]}},
        rows=(
            row("clean accuracy", 40.0, data="cifar10-sample", n=1000),
            robust(20.0, "8/255", data="cifar10-sample", n=1000),
        ),
    ),
    "of which nothing is known": Kind(),
}


def make(kind, folder):
    torch.manual_seed(0)
    architecture = ResNetArchitecture(
        width=kind.width, stem=kind.stem, representation=32, projection=16
    )
    encoder = Encoder(architecture, preprocess=kind.preprocess).eval()
    others = {}
    if kind.head is not None:
        head = nn.Linear(architecture.dimension(kind.head), 7)
        reader = MultiCrop(encoder, kind.crops) if kind.crops else encoder
        data = (kind.recipe or {}).get("data", "")
        classifier = Classifier(
            reader, head, feature=kind.head, classes=tuple("abcdefg"), data=data
        )
        others[PROBE] = probe_bytes(classifier)
    if kind.rows:
        others[RESULTS] = json.dumps(kind.rows).encode()
    config = ReleaseConfig(
        format_version=1,
        name=folder.name,
        architecture=architecture,
        preprocess=kind.preprocess,
        threat_model=kind.threat or {},
        recipe=kind.recipe or {},
        provenance=kind.made or {},
        licence=kind.licence,
    )
    return save_release(folder, encoder, config, others)


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
            *(r["data"], str(r["n"]), r["metric"]),
            *(r[key] or "-" for key in ("attack", "norm", "eps")),
            *(f"{r['value']:.2f}", f"{r['low']:.2f} to {r['high']:.2f}"),
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
    for command in {r["command"] for r in rows}:
        assert command in body
    robust = [r for r in rows if r["metric"] == "robust accuracy"]
    assert ("The robust accuracy holds" in body) == bool(robust)
    assert ("Nothing was measured of its robustness" in body) == (not robust)
    few = [r for r in accuracies(rows) if r["n"] < 10_000]
    assert ("All accuracies are of" in body) == (bool(few) and len(few) == len(accuracies(rows)))


WORDS = {
    "an eighth": Fraction(1, 8),
    "a quarter": Fraction(1, 4),
    "a sixteenth": Fraction(1, 16),
}


def test_its_words_are_its_numbers(release, body):
    config, said = release.config, prose(body)
    part = Fraction(config.architecture.width, 64)
    for word, value in WORDS.items():
        assert (f"{word} of the usual width" in said) == (part == value)
    assert f"width {config.architecture.width}" in said
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
    assert ("without labels" in said) == (objective in ("emp", "nt-xent"))
    assert ("without an attack" in said) == (recipe.get("adversary") == {"kind": "none"})
    assert ("should not move" in said) == bool(threat)
    if threat:
        assert f"against {threat['norm']} perturbations of {threat['eps']}" in said
    else:
        assert "against" not in said
    assert ("imported from" in said) == ("imported" in made)
    assert ("not recorded" in said) == (not recipe)
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
    assert ("projection" in said) == release.has(PROJECTOR)
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
    values = json.dumps([config.to_json(), read_results(release)])
    known |= set(re.findall(r"\d+", values))
    a = config.architecture
    known |= {str(a.features), "64" if a.width != 64 else "", "0", "1", "3"}
    known |= set(re.findall(r"\d+", wording.duration(config.provenance.get("seconds", 0))))
    if release.has(PROBE):
        head = read_head(release.read(PROBE), PROBE)
        known |= {str(len(head.classes)), str((head.crops or {}).get("count"))}
    text = prose(body)
    for sentence in HEADS.values():  # its numbers are the code's: the next test
        text = text.replace(sentence, "")
    assert set(re.findall(r"\d+", text.replace(",", ""))) <= known


def test_how_heads_are_chosen_is_as_the_code_has_it():
    sentence = HEADS[OWN_PROTOCOL]
    assert f"keep {probe.KEPT:.0%} of the best clean accuracy" in sentence
    assert Fraction(str(probe.HELD_OUT)) == Fraction(1, 10) and "A tenth of those" in sentence


def test_the_rule_of_the_head_is_told_where_there_is_such_a_head(release, body):
    protocols = {r["protocol"] for r in read_results(release)}
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
    assert sorted(told) == sorted((r["value"], r["n"], where[r["data"]]) for r in rows)


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


@pytest.mark.parametrize("averaging", [0.98, 0.5, 0.0, None, False, "none", {"decay": 0.5}])
def test_averages_are_named_where_there_are_any(averaging):
    (_, *more) = wording.training({"seed": 1, "averaging": averaging}, {})
    named = averaging in (0.98, 0.5)
    assert [f"with a decay of {averaging}," in s for s in more] == [True] * named


def test_what_was_behind_the_first_weights_is_told():
    before = {"name": "some", "sha256": "ab" * 32, "steps": 85, "seconds": 7200.0}
    (_, said) = wording.training({"seed": 1}, {"from": before})
    assert "`some` (sha256 abababababab), after 85 batches and 120 minutes of training." in said


@pytest.mark.parametrize(
    ("recipe", "steps", "said"),
    [
        ({"epochs": 2, "max_steps": 0, "batch_size": 5}, 400, "2 epochs, 400 batches of 5 images"),
        ({"epochs": 2, "max_steps": 500}, 400, "2 epochs, 400 batches"),
        ({"epochs": 2, "max_steps": 14}, 14, "14 batches, after which the run was ended"),
        ({"epochs": 1, "max_steps": 0}, 1, "1 epoch, 1 batch"),
        ({"epochs": 2}, 400, "400 batches"),
    ],
)
def test_epochs_are_told_where_all_of_them_were_run(recipe, steps, said):
    assert wording.training(recipe, {"steps": steps}) == [f"{said}."]


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (64, "ResNet-50"),
        (32, "ResNet-50 of half the usual width"),
        (8, "ResNet-50 of an eighth of the usual width"),
        (128, "ResNet-50 of twice the usual width"),
        (20, "ResNet-50 of width 20, where 64 is usual"),
    ],
)
def test_widths_in_words(width, said):
    assert ResNetArchitecture(backbone="resnet50", width=width).title == said


def test_weights_that_were_changed_are_not_passed_off_as_the_trained_ones(tiny_release):
    encoder = cfamc_zoo.load(str(tiny_release))
    assert changes_since(encoder) == {}
    with torch.no_grad():
        encoder.backbone.conv1.weight += 0.5
    digest = open_release(tiny_release).digest
    (said,) = wording.training({}, changes_since(encoder))
    assert f"changed since they were read from `tiny` (sha256 {digest[:12]})" in said
    assert (
        changes_since(Encoder(ResNetArchitecture(width=4, representation=32, projection=16))) == {}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": {"objective": 3}},
        {"recipe": {"epochs": 1, "batch_size": [], "max_steps": "x"}, "provenance": {"steps": 1}},
        {"provenance": {"imported": {"left_out": []}}},
        {"provenance": {"from": {"name": "some"}}},
    ],
)
def test_what_cannot_be_is_an_error_of_one_line(tmp_path, wrong):
    release = make(Kind(), tmp_path / "some")
    release = replace(release, config=replace(release.config, **wrong))
    with pytest.raises(ReleaseError, match="nothing can be said of 'some'"):
        render_release(release)
