"""What several commands ask of a release: its data and its classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cfamc_zoo.datasets import SAMPLES, LabelledImages, load_dataset
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.zoo.weights import Release, load_encoder, load_probe

if TYPE_CHECKING:
    import torch

    from cfamc_zoo.zoo.classifier import Classifier
    from cfamc_zoo.zoo.encoder import Encoder
    from cfamc_zoo.zoo.multicrop import MultiCrop


def data_of(release: Release, name: str | None) -> LabelledImages:
    """The named test images, a folder's, or the bundled sample of what the model was trained on."""
    if name is not None and Path(name).is_dir():
        return folder_of(Path(name), release)
    if name is None:
        name = f"{release.config.recipe.get('data', '')}".removesuffix("-sample") + "-sample"
        if name not in SAMPLES:
            raise UsageError(f"model {release.config.name!r} has no bundled sample; give --data")
    return load_dataset(name, "test")


def folder_of(folder: Path, release: Release) -> LabelledImages:
    """A folder of class folders; without any, its own images, which then have no labels.

    Every image becomes the model's input as `embed` makes it. Hidden files and folders are
    skipped. Without labels `classes` is empty.

    Raises:
        DataError: no images, or one that cannot be read; says which.
    """
    import numpy as np

    from cfamc_zoo.zoo.preprocess import read_image

    parts = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    images, labels = [], []
    for label, part in enumerate(parts or [folder]):
        for path in sorted(part.iterdir()):
            if path.is_dir() or path.name.startswith("."):
                continue
            try:
                images.append(read_image(path, release.config.preprocess))
            except DataError as error:
                raise DataError(f"{str(path)!r} cannot be used: {error}; remove it") from error
            labels.append(label)
    if not images:
        raise DataError(
            f"{str(folder)!r} holds no images; give a folder of class folders, or of images"
        )
    classes = tuple(p.name for p in parts)
    return LabelledImages(np.stack(images), np.array(labels, np.int64), classes, folder.name)


def with_classes_of(classifier: Classifier, dataset: LabelledImages) -> LabelledImages:
    """The data with labels as the classifier numbers them, if it knows all of its classes.

    Raises:
        UsageError: it does not.
    """
    import numpy as np

    known = {name: i for i, name in enumerate(classifier.classes)}
    missing = [name for name in dataset.classes if name not in known]
    if missing:
        raise UsageError(
            f"the head knows the classes of {classifier.data}, not those of "
            f"{dataset.name} (such as {missing[0]!r}); give --data {classifier.data}, or a --probe "
            "or --head knn for these classes"
        )
    numbers = np.array([known[name] for name in dataset.classes], np.int64)
    return LabelledImages(dataset.images, numbers[dataset.labels], classifier.classes, dataset.name)


def reader_of(release: Release, crops: int | None, seed: int) -> Encoder | MultiCrop:
    """The encoder, or the mean of its features over so many crops of the kind it was trained on.

    Raises:
        UsageError: the release does not say which these are.
    """
    encoder = load_encoder(release)
    return encoder if crops is None else _cropped(encoder, release, crops, seed)


def _cropped(encoder: Encoder, release: Release, crops: int, seed: int) -> MultiCrop:
    from cfamc_zoo.zoo.multicrop import CropPlan, MultiCrop

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
    from cfamc_zoo.zoo.classifier import attach_probe
    from cfamc_zoo.zoo.multicrop import MultiCrop

    if probe is None:
        classifier = load_probe(release)
    elif probe.is_file():
        classifier = attach_probe(load_encoder(release), probe.read_bytes(), str(probe))
    else:
        raise UsageError(f"probe {str(probe)!r} is not a file; make one with `cfamc-zoo probe`")
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


def neighbours_of(
    reader: Encoder | MultiCrop, dataset: LabelledImages, feature: str, device: torch.device
) -> tuple[Classifier, LabelledImages]:
    """A nearest-neighbour classifier of the even rows, and the odd rows for it to classify."""
    import torch

    from cfamc_zoo.evaluation.neighbours import NeighbourHead
    from cfamc_zoo.evaluation.probe import extract
    from cfamc_zoo.zoo.classifier import Classifier

    if len(dataset) < 2:
        raise DataError("--head knn needs at least 2 images: one votes, one is attacked")
    reader = reader.to(device)
    vectors = extract(reader, dataset.images[::2], feature, device=device)
    labels = torch.from_numpy(dataset.labels[::2]).to(device)
    head = NeighbourHead(vectors, labels, len(dataset.classes)).to(device)
    classifier = Classifier(
        reader, head, feature=feature, classes=dataset.classes, data=dataset.name
    )
    rest = LabelledImages(dataset.images[1::2], dataset.labels[1::2], dataset.classes, dataset.name)
    return classifier, rest
