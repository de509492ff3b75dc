"""The models of the zoo by name. A new model is a new JSON file: no line of Python changes."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo import wording
from cfamc_zoo.zoo.spec import from_mapping

if TYPE_CHECKING:
    from cfamc_zoo.zoo.weights import Release

FOLDER = Path(__file__).parent
# What training writes into the folder of a run, and where its release is when it has ended.
CHECKPOINT, RELEASE = "checkpoint.safetensors", "release"
OF_A_RUN = (CHECKPOINT, "metrics.jsonl")
REINSTALL = "pip install --force-reinstall cfamc-zoo"

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # of a model
REPOSITORY = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?"
)


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
    summary of its results.json: rows of `zoo.results.SUMMARY_KEYS`.
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
        return wording.threat(self.threat_model, self.recipe)

    def find(self, measure: Measure) -> dict[str, Any] | None:
        """The row measured in exactly that way, on most images; None where there is none."""
        wanted = asdict(measure).items()
        found = [row for row in self.results if wanted <= row.items()]
        return max(found, key=lambda row: row["n"], default=None)

    def accuracy(self, measure: Measure) -> float | None:
        """A measured accuracy in percent; None where it was not measured in exactly that way."""
        row = self.find(measure)
        return None if row is None else float(row["value"])


@cache
def _specs() -> dict[str, ModelSpec]:
    specs = {}
    for file in sorted((FOLDER / "models").glob("*.json")):
        spec = from_mapping(ModelSpec, json.loads(file.read_text("utf-8")), file.name)
        specs[spec.name] = spec
    return specs


def forget() -> None:
    """Reads models/ anew when it is next asked for."""
    _specs.cache_clear()


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
    return FOLDER / "bundled" / name


def open_folder(folder: Path) -> Release:
    """Opens a release folder, or the release that a training run has made in its folder.

    Raises:
        UsageError: no such folder, or a run that is not finished.
        ReleaseError: not a release.
    """
    from cfamc_zoo.zoo.weights import CONFIG, open_release

    if not folder.is_dir() or os.path.lexists(folder / CONFIG):
        return open_release(folder)
    if os.path.lexists(folder / RELEASE / CONFIG):
        return open_release(folder / RELEASE)
    if any((folder / name).exists() for name in OF_A_RUN):
        raise UsageError(f"{str(folder)!r} is a run that is not finished: {_finish(folder)}")
    return open_release(folder)  # which says what is missing


def _finish(run: Path) -> str:
    """The command that brings a run to its end."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(run / CHECKPOINT, "np") as file:
            recipe = json.loads(file.metadata()["recipe"])["name"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return "it has no checkpoint that can be read; start it again with `cfamc-zoo train`"
    return f"cfamc-zoo train {recipe} -o {shlex.quote(str(run))} --resume"


def resolve(
    name: str, *, revision: str | None = None, say: Callable[[str], None] | None = None
) -> Release:
    """Opens a release by model name, folder or Hub repository.

    Args:
        name: a known model's; or an existing folder, which pins itself through its config.json,
            or holds a training run that has come to its end; or ORGANIZATION/NAME[@REVISION] on
            the Hub, which pins itself too, unless it is a known model's repository.
        revision: of a repository.
        say: takes a line for each file of the Hub's cache that was damaged and is whole again.

    Raises:
        UnknownNameError: none of these.
        UsageError: no such folder or revision, or a revision of what has none.
        ReleaseError: not a release, or not the pinned one.
        HubError: the Hub cannot be reached or refuses.
    """
    found = REPOSITORY.fullmatch(name)
    by_repo = {spec.repo: spec for spec in _specs().values()}
    if name in _specs() or name in by_repo:
        return _open(_specs().get(name) or by_repo[name], revision, say)
    if Path(name).exists() or not found:
        if "/" not in name and "\\" not in name and not Path(name).is_dir():
            raise UnknownNameError("model", name, _specs())
        if revision is not None:
            raise UsageError(f"folder {name!r} has no revisions; leave {revision!r} away")
        return open_folder(Path(name))
    if revision is not None and found["revision"] is not None:
        raise UsageError(f"{name!r} names a revision and so does {revision!r}; give one of them")
    from cfamc_zoo.zoo.download import fetch

    return fetch(found["repo"], revision=revision or found["revision"], say=say)


def _open(spec: ModelSpec, revision: str | None, say: Callable[[str], None] | None) -> Release:
    from cfamc_zoo.zoo.weights import open_release

    pinned = revision in (None, spec.revision)
    if not spec.bundled:
        from cfamc_zoo.zoo.download import fetch

        # Another revision than the pinned one pins itself by its config.
        sha256 = spec.config_sha256 if pinned else None
        wanted = revision or spec.revision
        return fetch(spec.repo, revision=wanted, config_sha256=sha256, say=say)
    if not pinned:
        raise UsageError(
            f"model {spec.name!r} is part of the package, which holds one revision of it; leave "
            f"{revision!r} away"
        )
    return open_release(
        bundled_folder(spec.name), config_sha256=spec.config_sha256, remedy=REINSTALL
    )


def _robustness(spec: ModelSpec) -> float:
    return spec.accuracy(AT_8) or 0.0
