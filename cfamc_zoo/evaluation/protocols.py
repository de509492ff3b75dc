"""The protocols behind the numbers of a card: which head, which attacks, which images.

Each is a TOML file of protocols/, named by its key; a new protocol is a new file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from typing import Any, Literal

from cfamc_zoo.datasets import SAMPLE, SAMPLES
from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.choice import Choice
from cfamc_zoo.evaluation.heads.fitting import ProbeSettings
from cfamc_zoo.toml_files import names_in, read_toml
from cfamc_zoo.typed import read
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, Row, row_of
from cfamc_zoo.zoo.threat import Threat, norm_called, threat_of

FOLDER = resources.files(__package__) / "protocols"
USUAL = ("own", "clean-head")  # what is measured where nobody says
CARRIED = "released"  # a head that is not fitted: the one that the release carries
KEPT = ("metric", "attack", "eps", "n")  # what a row repeats of an answer's


@dataclass(frozen=True)
class HeadTerms:
    """How `cfamc-zoo probe` fits a protocol's head; "" and None are its own defaults.

    The head "released" is not fitted: protocol "own" put it into the release.
    """

    head: str = "linear"
    select: str = "clean"
    features: str = ""
    crops: int | None = None

    def __post_init__(self) -> None:
        if self.head == CARRIED:
            if any(getattr(self, f.name) != f.default for f in fields(self) if f.name != "head"):
                raise UsageError(
                    f"head {CARRIED!r} is there already; leave select, features and crops away"
                )
            return
        self.settings(seed=0)
        if self.crops is not None and self.crops < 1:
            raise UsageError(f"crops is {self.crops}; it must be at least 1")

    def settings(self, *, seed: int) -> ProbeSettings:
        return ProbeSettings(self.features, self.head, self.select, seed)

    def options(self) -> list[str]:
        """As the command line takes them; a default is left away."""
        usual = HeadTerms()
        words = []
        for name, value in asdict(self).items():
            if value != getattr(usual, name):
                words += [f"--{name}", str(value)]
        return words


@dataclass(frozen=True)
class AttackTerms:
    """What `cfamc-zoo attack` runs: radii in pixels, and what the attack is set to."""

    eps: tuple[str, ...]
    attack: str = "pgd"
    norm: str = "linf"
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.eps:
            raise UsageError("eps is empty; give at least one radius, like 8/255")
        _ = self.threats  # refuses impossible radii
        self.choice.settings()

    @property
    def threats(self) -> list[Threat]:
        return [threat_of(self.norm, eps) for eps in self.eps]

    @property
    def choice(self) -> Choice:
        return Choice(self.attack, self.settings, norm_called(self.norm))


@dataclass(frozen=True)
class Protocol:
    """One way to measure an encoder.

    Attributes:
        key: its name, and that of its files.
        text: says what it is, in every row.
        attacks: one call of `cfamc-zoo attack` each.
        head: is fitted to the training images.
        sets: "test", the whole test split, or "sample", the part of it that is in the package,
            where there is one.

    Raises:
        UsageError, UnknownNameError: an impossible or unknown setting.
    """

    key: str
    text: str
    attacks: tuple[AttackTerms, ...]
    head: HeadTerms = HeadTerms()
    sets: tuple[Literal["test", "sample"], ...] = ("test",)

    def __post_init__(self) -> None:
        for name in ("text", "attacks", "sets"):
            if not getattr(self, name):
                raise UsageError(f"protocol {self.key!r} has no {name}; every protocol has them")

    @property
    def released(self) -> bool:
        """Whether its head is the one that a release carries."""
        return self.text == OWN_PROTOCOL or not self.fits

    @property
    def fits(self) -> bool:
        """Whether it ever fits a head."""
        return self.head.head != CARRIED

    def data(self, name: str) -> list[str]:
        """The images to attack, of a model of the data set `name`."""
        sample = f"{name}{SAMPLE}"
        of = {"test": [name], "sample": [sample] if sample in SAMPLES else []}
        return [found for part in self.sets for found in of[part]]

    def rows(self, answer: Mapping[str, Any], fitted: str) -> list[Row]:
        """Rows of results.json.

        Args:
            answer: what `cfamc-zoo attack --json` tells of one of the attacks.
            fitted: the command that made the head; "" where the release has it.
        """
        command = answer["command"]
        if fitted:
            words = shlex.split(command)
            at = words.index("--data") + 2
            words[at:at] = ["--probe", self.file]
            command = f"{fitted} && {shlex.join(words)}"
        rows = []
        for found in answer["results"]:
            measured = {key: found[key] for key in KEPT} | {
                key: round(found[key], 4) for key in ("value", "low", "high")
            }
            measured |= {"data": answer["data"], "seed": answer["seed"]}
            if answer["data"] in SAMPLES:  # few, and there wherever the package is
                measured["correct"] = verdicts_text(found["correct"])
            if found["attack"]:
                measured["norm"] = answer["norm"]
                measured |= {key: answer.get(key, 0) for key in ("steps", "restarts")}
            rows.append(row_of(measured, protocol=self.text, command=command, here=answer))
        return rows

    @property
    def file(self) -> str:
        """Its head's name."""
        return f"{self.key}.safetensors"

    def fitting(self, name: str, data: str, limit: int | None, seed: int) -> str:
        """The command that makes the head; "" where the release carries it."""
        if self.released:
            return ""
        words = ["cfamc-zoo", "probe", "-m", name, "--data", data, *self.head.options()]
        words += ["--limit", str(limit)] if limit is not None else []
        words += ["--seed", str(seed)] if seed else []
        return shlex.join([*words, "-o", self.file])


def verdicts_text(correct: Sequence[bool | None]) -> str:
    """Verdicts as rows hold them: a character an image, "1" where it stands."""
    return "".join("1" if stands else "0" for stands in correct)


def list_protocols() -> list[str]:
    """Names of the protocols in the package."""
    return names_in(FOLDER)


def load_protocol(name: str) -> Protocol:
    """A protocol of the package by name, or a TOML file by path, which ends in .toml.

    Raises:
        UsageError: an unknown protocol or key, or an impossible value; says which.
    """
    values = read_toml("protocol", name, FOLDER)
    if "key" in values:
        raise UsageError(f"protocol {name!r} has a key of its own; its file's name is its key")
    key = name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".toml")
    return read(Protocol, {"key": key, **values}, "protocol")
