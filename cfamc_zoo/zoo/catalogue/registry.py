"""The models of the zoo by name. A new model is a new JSON file: no line of Python changes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.typed import read
from cfamc_zoo.zoo.release import wording
from cfamc_zoo.zoo.release.folder import MODEL
from cfamc_zoo.zoo.release.results import Summary

FOLDER = Path(__file__).parent.parent

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a model


@dataclass(frozen=True)
class Measure:
    """How an accuracy was measured: metric, and what the attack was."""

    metric: str
    attack: str = ""
    norm: str = ""
    eps: str = ""
    steps: int = 0
    restarts: int = 0


# What models are compared by: the columns of `list`.
CLEAN = Measure("clean accuracy")
AT_4, AT_8 = (
    Measure("robust accuracy", "PGD-20", "linf", eps, steps=20, restarts=1)
    for eps in ("4/255", "8/255")
)


@dataclass(frozen=True)
class ModelSpec:
    """One file of models/: what a model is, where it comes from and how good it is.

    `config_sha256` pins the release's config.json, which pins its other files. `results` is a
    summary of its results.json.
    """

    name: str
    title: str
    architecture: dict[str, Any]
    preprocess: dict[str, Any]
    recipe: str
    licence: str
    repo: str  # on the Hub
    revision: str
    config_sha256: str
    bundled: bool
    threat_model: dict[str, str]
    results: list[Summary]

    def threat(self) -> str:
        """What it was trained to withstand, in a word or two."""
        return wording.threat(self.threat_model, self.recipe)

    def find(self, measure: Measure) -> Summary | None:
        """The row measured in exactly that way, on most images; None where there is none."""
        wanted = asdict(measure).items()
        found = [row for row in self.results if all(getattr(row, k) == v for k, v in wanted)]
        return max(found, key=lambda row: row.n, default=None)

    def accuracy(self, measure: Measure) -> float | None:
        """A measured accuracy in percent; None where it was not measured in exactly that way."""
        row = self.find(measure)
        return None if row is None else row.value


@cache
def known_models() -> dict[str, ModelSpec]:
    """Every model of the zoo, by its name."""
    specs = {}
    for file in sorted((FOLDER / "models").glob("*.json")):
        spec = read(ModelSpec, json.loads(file.read_text("utf-8")), file.name)
        specs[spec.name] = spec
    return specs


def forget() -> None:
    """Reads models/ anew when it is next asked for."""
    known_models.cache_clear()


def list_models() -> list[ModelSpec]:
    """Every model of the zoo, the most robust first."""
    return sorted(known_models().values(), key=lambda s: -_robustness(s))


def find_model(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        UnknownNameError: there is none; the message offers the nearest names.
    """
    if name not in known_models():
        raise UnknownNameError("model", name, known_models())
    return known_models()[name]


def default_model() -> str:
    """Name of the smallest bundled encoder: it embeds and attacks at once on any machine.

    Of equally small ones it is the most robust; that of all is the first of `list_models`.
    """
    bundled = [spec.name for spec in list_models() if spec.bundled]
    if not bundled:
        raise UsageError("this package has no bundled model; give -m a name or a release folder")
    return min(bundled, key=lambda name: (bundled_folder(name) / MODEL).stat().st_size)


def bundled_folder(name: str) -> Path:
    """Folder of a release that is part of the package."""
    return FOLDER / "bundled" / name


def _robustness(spec: ModelSpec) -> float:
    return spec.accuracy(AT_8) or 0.0
