"""What a measurement is of and how it is made: data that every kind of measurement reads."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cfamc_zoo.evaluation.attacks.choice import Choice
from cfamc_zoo.evaluation.outputs import NOWHERE, Outputs
from cfamc_zoo.zoo.catalogue.registry import list_models
from cfamc_zoo.zoo.threat import Threat

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Subject:
    """A model by name, and labelled images for it.

    Attributes:
        model: name of the release.
        sha256: of the release.
        images: (N, S, S, 3) uint8.
        labels: (N,) int64.
        classes: names; empty where there are no labels.
        data: name of the images.
        rows: which of its rows they are, in words.
        card: where the model's card is; empty where that is not known.
    """

    model: str
    sha256: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    data: str
    rows: str = ""
    card: str = ""

    @property
    def digest(self) -> str:
        """Of images and labels."""
        content = hashlib.sha256(self.images.tobytes())
        content.update(self.labels.tobytes())
        return content.hexdigest()

    def inputs(self) -> np.ndarray:
        """(N, 3, S, S) float32 in [0, 1]."""
        from cfamc_zoo.zoo.images.preprocess import to_input

        return to_input(self.images)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Asked:
    """Which model, images and head, as they were asked for; None is the default.

    Attributes:
        model: a name, a folder or ORGANIZATION/NAME.
        data: a name or a folder.
        head: "probe", or "knn": neighbours among every other image.
        probe: file of a head.
        features: what an attack on the encoder, or the neighbours, read.
        crops: how many an image's vector is the mean of.
        limit: how many images were asked for; with neighbours, half of them vote.
    """

    model: str | None = None
    data: str | None = None
    head: str = "probe"
    probe: Path | None = None
    features: str | None = None
    crops: int | None = None
    limit: int | None = None

    def options(self, subject: Subject) -> list[str]:
        """As `cfamc-zoo attack` takes them from any folder; a default is named."""
        named = self.model in {spec.name for spec in list_models()}
        model = self.model if named else _absolute(self.model)
        words = ["-m", model or subject.model, "--data", _absolute(self.data) or subject.data]
        for option, value, usual in (
            ("--head", self.head, "probe"),
            ("--probe", self.probe and self.probe.absolute(), None),
            ("--features", self.features, None),
            ("--crops", self.crops, None),
            ("--limit", self.limit, None),
        ):
            if value != usual:
                words += [option, str(value)]
        return words


def _absolute(name: str | None) -> str | None:
    """The name, or the absolute path where it is a folder or a file."""
    if name is None or not Path(name).exists():
        return name
    return str(Path(name).absolute())


def batch_size_on(device: torch.device) -> int:
    """How many images are attacked at a time there, where nobody says."""
    return 512 if device.type == "cuda" else 128


@dataclass(frozen=True)
class Plan:
    """Which attack at which radii.

    Attributes:
        choice: the attack.
        threats: of one norm; at least one.
        seed: of all draws.
        asked: which model, images and head.
        outputs: files to write.
        batch_size: images at a time; None is 128, 512 on a GPU.
    """

    choice: Choice
    threats: list[Threat]
    seed: int = 0
    asked: Asked = Asked()
    outputs: Outputs = NOWHERE
    batch_size: int | None = None

    @property
    def norm(self) -> str:
        """Name of the norm."""
        return self.threats[0].norm

    @property
    def epsilons(self) -> list[str]:
        """Radii as they were given."""
        return [threat.text for threat in self.threats]

    def batch(self, device: torch.device) -> int:
        return self.batch_size or batch_size_on(device)

    @property
    def largest(self) -> int:
        """Which of the radii is the largest: pictures show it."""
        return max(range(len(self.threats)), key=lambda i: self.threats[i].eps)

    def command(self, subject: Subject) -> str:
        """What measures the same again, from any folder, as a shell takes it.

        The batch size is not among its settings: every image has its own draws.
        """
        words = ["cfamc-zoo", "attack", *self.asked.options(subject)]
        words += ["--attack", self.choice.name, *self.choice.options()]
        words += ["--norm", self.norm, "--eps", ",".join(self.epsilons), "--seed", str(self.seed)]
        return shlex.join(words)
