"""What a measurement is of and how it is made: data that every kind of measurement reads."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from cfamc_zoo.evaluation.attacks.choice import Choice
from cfamc_zoo.evaluation.outputs import NOWHERE, Outputs
from cfamc_zoo.zoo.catalogue.registry import list_models
from cfamc_zoo.zoo.threat import Threat


@dataclass(frozen=True)
class Asked:
    """Which model, images and head, as they were asked for; None is the default.

    Attributes:
        model: a name, a folder or ORGANIZATION/NAME.
        data: a name or a folder.
        head: "probe", "knn": neighbours among every other image, or "own" of a classifier.
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

    def options(self, model: str, data: str) -> list[str]:
        """As `cfamc-zoo attack` takes them from any folder.

        Args:
            model, data: names, where none were asked for.
        """
        named = self.model in {spec.name for spec in list_models()}
        asked = self.model if named else _absolute(self.model)
        words = ["-m", asked or model, "--data", _absolute(self.data) or data]
        for option, value, usual in (
            ("--head", "knn" if self.head == "knn" else None, None),
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


class OfOneNorm:
    """Whatever has radii of one norm, at least one."""

    threats: list[Threat]

    @property
    def norm(self) -> str:
        """Name of the norm."""
        return self.threats[0].norm

    @property
    def epsilons(self) -> list[str]:
        """Radii as they were given."""
        return [threat.text for threat in self.threats]

    @property
    def largest(self) -> int:
        """Which of the radii is the largest: pictures show it."""
        return max(range(len(self.threats)), key=lambda i: self.threats[i].eps)


@dataclass(frozen=True)
class Plan(OfOneNorm):
    """Which attack at which radii.

    Attributes:
        choice: the attack.
        threats: of one norm; at least one.
        seed: of all draws.
        asked: which model, images and head.
        outputs: files to write.
        batch_size: as `Run` has it.
    """

    choice: Choice
    threats: list[Threat]
    seed: int = 0
    asked: Asked = Asked()
    outputs: Outputs = NOWHERE
    batch_size: int | None = None

    def command(self, model: str, data: str) -> str:
        """What measures the same again, from any folder, as a shell takes it.

        Args:
            model, data: as `Asked.options` takes them.

        The batch size is not among its settings: every image has its own draws.
        """
        words = ["cfamc-zoo", "attack", *self.asked.options(model, data)]
        words += ["--attack", self.choice.name, *self.choice.options()]
        words += ["--norm", self.norm, "--eps", ",".join(self.epsilons), "--seed", str(self.seed)]
        return shlex.join(words)
