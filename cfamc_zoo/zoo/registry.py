"""The models of the zoo by name. A new model is a new JSON file: no line of Python changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.spec import from_mapping
from cfamc_zoo.zoo.weights import Release, open_release


@dataclass(frozen=True)
class ModelSpec:
    """One file of models/: what a model is, where it comes from and how good it is.

    `config_sha256` pins the release's config.json, which pins its other files. `results` is a
    summary of its results.json: rows {metric, attack, norm, eps, steps, data, n, value}.
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
    results: list[dict[str, Any]]

    def threat(self) -> str:
        """What it was trained to withstand, in a word or two."""
        if not self.threat_model:
            return "nothing"
        return f"{self.threat_model['norm']} {self.threat_model['eps']}"

    def accuracy(self, metric: str, eps: str) -> str:
        """A measured accuracy in percent on the full test split, "-" where there is none."""
        for row in self.results:
            if row["metric"] == metric and row["eps"] == eps:
                return f"{row['value']:.2f}"
        return "-"


@cache
def _specs() -> dict[str, ModelSpec]:
    folder = resources.files(__package__) / "models"
    specs = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".json"):
            spec = from_mapping(ModelSpec, json.loads(file.read_text()), file.name)
            specs[spec.name] = spec
    return specs


def list_models() -> list[ModelSpec]:
    """Every model of the zoo, the most robust first."""
    return sorted(_specs().values(), key=lambda s: -_robustness(s))


def find_model(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        UnknownNameError: there is none; the message offers the nearest names.
    """
    if name not in _specs():
        raise UnknownNameError("model", name, _specs())
    return _specs()[name]


def default_model() -> str:
    """Name of the best bundled encoder: the highest robust accuracy at 8/255."""
    bundled = [spec.name for spec in list_models() if spec.bundled]
    if not bundled:
        raise UsageError("this package has no bundled model; give -m a name or a release folder")
    return bundled[0]


def bundled_folder(name: str) -> Path:
    """Folder of a release that is part of the package."""
    return Path(str(resources.files(__package__) / "bundled" / name))


def resolve(name: str) -> Release:
    """Opens a release by model name or folder.

    A name is a known model's; anything with a path separator, or an existing folder, is a
    release folder, which pins itself through its config.json.

    Raises:
        UnknownNameError: neither.
        ReleaseError: the folder is not a release, or not the pinned one.
    """
    if name in _specs():
        spec = _specs()[name]
        return open_release(_folder(spec), config_sha256=spec.config_sha256)
    if "/" in name or "\\" in name or Path(name).is_dir():
        return open_release(Path(name))
    raise UnknownNameError("model", name, _specs())


def _folder(spec: ModelSpec) -> Path:
    if spec.bundled:
        return bundled_folder(spec.name)
    from cfamc_zoo.zoo.download import download

    return download(spec)


def _robustness(spec: ModelSpec) -> float:
    measured = spec.accuracy("robust accuracy", "8/255")
    return 0.0 if measured == "-" else float(measured)
