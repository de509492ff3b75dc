"""Images in memory to a fitted head: what `cfamc_zoo.probe` is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.evaluation.encoder_images import Images, pixels_of
from cfamc_zoo.evaluation.heads.fitting import FittedProbe, ProbeSettings, default_feature, fit
from cfamc_zoo.evaluation.sampling import hold_out
from cfamc_zoo.evaluation.subject import Material
from cfamc_zoo.evaluation.victim.model import device_of
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.device import find_device
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.loading import load_encoder

Labels = np.ndarray | Tensor | Sequence[int] | Sequence[str]


def probe_images(
    model: Encoder | str,
    images: Images,
    labels: Labels,
    *,
    test: tuple[Images, Labels] | None = None,
    settings: ProbeSettings,
) -> FittedProbe:
    """Fits a head to an encoder's features of images and tests it on others.

    Args:
        model: an encoder, which stays as and where it is; or whatever `cfamc_zoo.load` takes, which
            goes to the GPU if there is one.
        images: (N, H, W, 3) uint8 of any size, or (N, 3, S, S) floating point in [0, 1].
        labels: (N,) integers from 0, or names of classes.
        test: images and labels of the same kinds; without them a fifth of each class is held out
            by the settings' seed.
        settings: of the head.

    Raises:
        UsageError: test images without labels, one class alone, or an impossible setting.
        DataError: images or labels of another kind, or that do not go together.
    """
    if test is not None and not (isinstance(test, tuple | list) and len(test) == 2):
        raise UsageError(
            f"test is of type {type(test).__name__}; give a pair, (test_images, test_labels)"
        )
    if isinstance(model, Encoder):
        # A copy, so that the caller's stays in its mode and on its device.
        encoder = copy.deepcopy(model).eval().requires_grad_(False)
        own = encoder.architecture.probed_feature
        device = device_of(encoder, images)
    else:
        release = resolve(model)
        encoder, own = load_encoder(release), default_feature(release)
        device = find_device(None)
    settings = settings if settings.feature else replace(settings, feature=own)
    train = _labelled(images, labels, encoder.preprocess, "images")
    if len(np.unique(train.labels)) < 2:
        raise UsageError("all labels are the same; a head needs images of at least 2 classes")
    if test is None:
        material = _held_out(train, settings.seed)
    else:
        held = _labelled(*test, encoder.preprocess, "test images", like=train)
        material = Material(train, held, None)
    against = encoder.config.threat_model if encoder.config else {}
    return fit(encoder.to(device), material, settings, against=against, device=device)


def _held_out(whole: LabelledImages, seed: int) -> Material:
    kept, held = hold_out(whole.labels, seed)
    if not len(held):
        raise DataError(
            "no class has two images; give at least two, one of which tests the head, or give "
            "test=(images, labels)"
        )
    train, test = (
        replace(whole, images=whole.images[rows], labels=whole.labels[rows], rows=name)
        for rows, name in ((kept, "not held out"), (held, f"held out by seed {seed}"))
    )
    return Material(train, test, None)


def _labelled(
    images: Images,
    labels: Labels,
    preprocess: Preprocess,
    what: str,
    like: LabelledImages | None = None,
) -> LabelledImages:
    """What `fit` takes: images as `network_input` does, labels as indices of classes."""
    pixels = pixels_of(images, preprocess, what)
    values = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if values.shape != (len(pixels),) or values.dtype.kind not in "iuU":
        raise DataError(
            f"labels of {what} are {values.dtype} {values.shape}; give {len(pixels)} integers or "
            "names, one an image"
        )
    if values.dtype.kind == "U":
        classes = like.classes if like else tuple(str(name) for name in np.unique(values))
        number = {name: i for i, name in enumerate(classes)}
        numbers = np.array([number.get(str(name), -1) for name in values], np.int64)
    else:
        numbers = values.astype(np.int64)
        count = len(like.classes) if like else int(numbers.max()) + 1
        classes = tuple(map(str, range(count)))
    if like and classes != like.classes:
        raise DataError(f"labels of {what} are integers, but the training labels are names")
    wrong = (numbers < 0) | (numbers >= len(classes))
    if wrong.any():
        raise DataError(
            f"label {values[wrong][0]!r} of {what} is none of the {len(classes)} classes; give "
            "integers from 0, or names that the training labels have"
        )
    return LabelledImages(pixels, numbers, classes, "images in memory")
