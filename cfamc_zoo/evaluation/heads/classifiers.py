"""What classifies: a release with a head of its own or another, or labelled neighbours."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.evaluation.heads.linear import extract
from cfamc_zoo.evaluation.heads.neighbours import NeighbourHead
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.release.folder import Release
from cfamc_zoo.zoo.release.loading import attach_probe, load_encoder, load_probe
from cfamc_zoo.zoo.release.own import OwnModel


def with_classes_of(
    classifier: Classifier, dataset: LabelledImages, *, model: str | None, data: str | None
) -> LabelledImages:
    """The data with labels as the classifier numbers them, if it knows all of its classes.

    Args:
        model, data: as they were asked for; None is the default.

    Raises:
        UsageError: it does not.
    """
    known = {name: i for i, name in enumerate(classifier.classes)}
    missing = [name for name in dataset.classes if name not in known]
    if missing:
        options = [*(["-m", model] if model else []), "--data", data or dataset.name]
        command = shlex.join(["cfamc-zoo", "probe", *options, "-o", "head.safetensors"])
        raise UsageError(
            f"the head knows the classes of {classifier.data}, not those of {dataset.name} (such "
            f"as {missing[0]!r}); give --head knn, or --probe head.safetensors once `{command}` "
            "has made it"
        )
    numbers = np.array([known[name] for name in dataset.classes], np.int64)
    return replace(dataset, labels=numbers[dataset.labels], classes=classifier.classes)


def reader_of(release: Release, crops: int | None, seed: int) -> Encoder | MultiCrop:
    """The encoder, or the mean of its features over so many crops of the kind it was trained on.

    Raises:
        UsageError: the release does not say which these are, or it is a classifier.
    """
    encoder = plain_encoder(release)
    return encoder if crops is None else _cropped(encoder, release, crops, seed)


def plain_encoder(release: Release) -> Encoder:
    """The encoder, of whole images.

    Raises:
        UsageError: it is a classifier of somebody's own.
    """
    if isinstance(release, OwnModel) and release.classes is not None:
        raise UsageError(
            f"{release.config.name} is a classifier, and an encoder is needed; take `attack`, or "
            "give a module of vectors without classes"
        )
    return load_encoder(release)


def _cropped(encoder: Encoder, release: Release, crops: int, seed: int) -> MultiCrop:
    views = release.config.recipe.get("views")
    if views is None:
        raise UsageError(
            f"release {release.config.name!r} does not say which crops it was trained on; "
            "leave --crops away"
        )
    return MultiCrop(encoder, CropPlan(crops, tuple(views["scale"]), tuple(views["ratio"]), seed))


def classifier_of(
    release: Release, probe: Path | None, crops: int | None = None, seed: int = 0
) -> Classifier:
    """The release with its own head, or with the one in the file `probe`.

    Args:
        crops: the head reads the mean over so many, drawn from `seed`.

    Raises:
        UsageError: no such file, or crops for a head that has its own.
    """
    if probe is None:
        classifier = load_probe(release)
    elif probe.is_file():
        classifier = attach_probe(load_encoder(release), probe.read_bytes(), str(probe))
    else:
        raise UsageError(
            f"probe {str(probe)!r} is not a file; make one with "
            "`cfamc-zoo probe -o head.safetensors`"
        )
    if crops is None:
        return classifier
    if isinstance(classifier.encoder, MultiCrop):
        count = classifier.encoder.plan.count
        raise UsageError(
            f"--crops {crops}: the head was fitted to the mean over {count} crops of its own; "
            "leave --crops away"
        )
    classifier.encoder = _cropped(classifier.encoder, release, crops, seed)
    return classifier


def own_classifier(release: Release, dataset: LabelledImages) -> Classifier | None:
    """What a person's own code made, where that is a classifier; None where it is none.

    Args:
        dataset: which names the classes of one that only counts them.

    Raises:
        UsageError: it counts others than the data has.
    """
    if not isinstance(release, OwnModel) or release.classes is None:
        return None
    names = release.classes
    if isinstance(names, int):
        if names != len(dataset.classes):
            raise UsageError(
                f"{release.config.name} has {names} classes and {dataset.name} has "
                f"{len(dataset.classes)}; set module.classes to their names, in the order of the "
                "logits"
            )
        names = dataset.classes
    return Classifier(
        release.encoder, nn.Identity(), feature="backbone", classes=names, data=dataset.name
    ).eval()


def neighbours_of(
    reader: Encoder | MultiCrop, dataset: LabelledImages, feature: str, device: torch.device
) -> tuple[Classifier, LabelledImages]:
    """A nearest-neighbour classifier of the even rows, and the odd rows for it to classify."""
    if len(dataset) < 2:
        raise DataError("--head knn needs at least 2 images: one votes, one is attacked")
    reader = reader.to(device)
    vectors = extract(reader, dataset.images[::2], feature, device=device)
    labels = torch.from_numpy(dataset.labels[::2]).to(device)
    head = NeighbourHead(vectors, labels, len(dataset.classes)).to(device)
    classifier = Classifier(
        reader, head, feature=feature, classes=dataset.classes, data=dataset.name
    )
    rest = replace(
        dataset,
        images=dataset.images[1::2],
        labels=dataset.labels[1::2],
        rows=f"every other one of {dataset.rows}",
    )
    return classifier, rest
