"""Releases of every kind, which cards are written of."""

from dataclasses import dataclass

import torch
from torch import nn

from cfamc_zoo.training.recipe import load_recipe
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.families.timm import TimmArchitecture
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import PROBE, RESULTS
from cfamc_zoo.zoo.release.loading import probe_bytes, save_release
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, row_of, rows_text

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
    architecture: Architecture | None = None


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
    "timm's, with random weights": Kind(
        architecture=TimmArchitecture("test_vit", 64, {"img_size": 16}, input_size=16),
        preprocess=Preprocess(size=16, crop=0.8, interpolation="bilinear", **IMAGENET),
        made={"timm": "1.0", "weights": {"kind": "random", "seed": 0}},
        head="backbone",
        licence="unknown",
    ),
    "timm's, with weights of a file": Kind(
        architecture=TimmArchitecture("test_resnet", 96),
        made={"weights": {"kind": "file", "name": "some.pth", "sha256": "ab", "left_out": []}},
        licence="unknown",
    ),
}


def make(kind, folder):
    torch.manual_seed(0)
    architecture = kind.architecture or ResNetArchitecture(
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
        others[RESULTS] = rows_text(kind.rows)
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
