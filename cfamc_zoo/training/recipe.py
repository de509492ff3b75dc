"""Recipes: everything that decides a training run, as frozen data read from TOML.

A recipe combines views (how images become crops), an objective and an adversary. Every key
has the paper's value as its default, so a TOML file states what it is and where it differs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_type_hints

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.training.compilation import Compilation
from cfamc_zoo.training.objectives import Objective
from cfamc_zoo.training.objectives.emp import Emp
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.threat import parse_epsilon

Pair = tuple[float, float]


@dataclass(frozen=True)
class Views:
    """Random views of an image. Fixed scale and ratio 1 make patches; a range makes crops."""

    count: int = 16
    scale: Pair = (0.08, 1.0)  # area of the box as a part of the image's
    ratio: Pair = (3 / 4, 4 / 3)  # width over height
    flip_p: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.2)  # b, c, s, hue in turns
    jitter_p: float = 0.8
    grey_p: float = 0.2
    blur_p: float = 0.1
    blur_sigma: Pair = (0.1, 2.0)  # pixels
    solarize_p: float = 0.1


@dataclass(frozen=True)
class NoAdversary:
    """Standard training."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class FreeAdversary:
    """Free adversarial training: each batch replayed, one backward pass for both gradients."""

    kind: Literal["free"] = "free"
    eps: str = "8/255"  # L-infinity radius, pixels in [0, 1]
    step: float = 0.01  # of the perturbation, a replay
    replays: int = 3


@dataclass(frozen=True)
class PgdAdversary:
    """Each batch perturbed by projected gradient ascent, from zero, before its one update."""

    kind: Literal["pgd"] = "pgd"
    eps: str = "8/255"  # L-infinity radius, pixels in [0, 1]
    step: float = 0.01
    steps: int = 5


Adversary = NoAdversary | FreeAdversary | PgdAdversary


@dataclass(frozen=True)
class Optimizer:
    """SGD with Nesterov momentum under LARS."""

    lr: float = 0.3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    eta: float = 0.005  # LARS' trust coefficient
    # cosine: from lr to 0 once over all updates. cosine-per-batch: the paper's public code,
    # whose period counts batches while it steps at every replay, so that with 3 replays the
    # rate falls to 0, rises to lr and falls again. cosine-per-epoch: from lr to 0 in each epoch
    # (warm restarts, arXiv 1608.03983), so that a run can be lengthened once it is over.
    schedule: Literal["cosine", "cosine-per-batch", "cosine-per-epoch"] = "cosine"


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    title: str
    source: str
    data: str = "cifar10"
    size: int = 32  # pixels: every image is brought to it, and so is the model's input
    epochs: int = 10
    batch_size: int = 100  # images; crops are views.count times as many
    max_steps: int = 0  # batches after which to stop early; 0 is the whole schedule
    checkpoint_steps: int = 100  # batches between checkpoints, unless minutes come first
    checkpoint_minutes: float = 15.0
    log_steps: int = 10  # batches between lines of metrics.jsonl
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the forward pass
    compile: Compilation = "auto"  # of the network, by torch.compile
    # Decay, a batch, of the exponential average of the weights that is released; 0 releases the
    # weights themselves.
    averaging: float = 0.0
    encoder: ResNetArchitecture = field(default_factory=ResNetArchitecture)
    views: Views = field(default_factory=Views)
    objective: Objective = field(default_factory=Emp)
    adversary: Adversary = field(default_factory=NoAdversary)
    optimizer: Optimizer = field(default_factory=Optimizer)

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "checkpoint_steps", "log_steps")
        for key in positive:
            _require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        _require(self.max_steps >= 0, "max_steps", self.max_steps, "at least 0")
        minutes = self.checkpoint_minutes
        _require(minutes > 0, "checkpoint_minutes", minutes, "over 0")
        _require(0 <= self.averaging < 1, "averaging", self.averaging, "0 <= decay < 1")
        _require(16 <= self.size <= 1024, "size", self.size, "in 16..1024")
        _require(self.views.count >= 2, "views.count", self.views.count, "at least 2")
        _require(
            0 < self.views.scale[0] <= self.views.scale[1] <= 1,
            "views.scale",
            self.views.scale,
            "0 < low <= high <= 1",
        )
        _require(
            0 < self.views.ratio[0] <= self.views.ratio[1],
            "views.ratio",
            self.views.ratio,
            "0 < low <= high",
        )
        _require(self.optimizer.lr > 0, "optimizer.lr", self.optimizer.lr, "over 0")
        views = self.objective.views or self.views.count
        rule = f"{views} for {self.objective.kind}"
        _require(self.views.count == views, "views.count", self.views.count, rule)
        match self.adversary:
            case FreeAdversary(replays=passes):
                _require(passes >= 1, "adversary.replays", passes, "at least 1")
            case PgdAdversary(steps=passes):
                _require(passes >= 1, "adversary.steps", passes, "at least 1")
        if not isinstance(self.adversary, NoAdversary):
            parse_epsilon(self.adversary.eps)
            _require(self.adversary.step > 0, "adversary.step", self.adversary.step, "over 0")

    @property
    def replays(self) -> int:
        """Weight updates a batch."""
        return self.adversary.replays if isinstance(self.adversary, FreeAdversary) else 1

    @property
    def threat_model(self) -> dict[str, str]:
        """What the encoder is trained to withstand, as a release states it; {} for standard."""
        if isinstance(self.adversary, NoAdversary):
            return {}
        return {"norm": "linf", "eps": self.adversary.eps}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"recipe key {key} is {value!r}; it must be {rule}")


def list_recipes() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """A recipe of the package by name, or a TOML file by path, with keys set anew.

    Args:
        name: as `list_recipes` gives it, or a path that ends in .toml.
        settings: "key=value", the key dotted ("views.count=8"), the value as in TOML;
            a bare word is taken for a string.

    Raises:
        UsageError: an unknown recipe or key, or an impossible value.
    """
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text("utf-8-sig")  # some editors mark it
        except OSError as error:
            raise UsageError(f"recipe {name!r} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"recipe {name!r} is not UTF-8, as TOML is; save it anew") from error
    else:
        if name not in list_recipes():
            raise UnknownNameError("recipe", name, list_recipes())
        text = (resources.files(__package__) / "recipes" / f"{name}.toml").read_text("utf-8")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe {name!r} is not TOML: {error}") from error
    for setting in settings:
        _set(values, setting)
    return recipe_from_json(values)


def recipe_from_json(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_json`; also what a TOML file parses to.

    Raises:
        UsageError: an unknown or missing key, or an impossible value.
    """
    return _build(Recipe, values, "")


def _set(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {setting!r} is not key=value; for example --set epochs=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = key.strip().split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {setting!r}: {part} is a value, not a table")
    values[last] = value


def _build(cls: type, values: dict[str, Any], prefix: str) -> Any:
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    result = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownNameError("recipe key", prefix + key, _all_keys(Recipe, ""))
        result[key] = _convert(hints[key], value, prefix + key)
    missing = [
        prefix + name
        for name, f in known.items()
        if name not in result and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise UsageError(f"recipe lacks {', '.join(missing)}; every recipe states them")
    return cls(**result)


def _convert(hint: Any, value: Any, key: str) -> Any:
    variants: dict[str, type] = {v.kind: v for v in _dataclasses(get_args(hint))}
    if variants:  # objective and adversary: `kind` says which
        if not isinstance(value, dict) or "kind" not in value:
            raise UsageError(f"recipe key {key} is {value!r}; it must be a table with a kind")
        if value["kind"] not in variants:
            raise UnknownNameError(f"{key}.kind", str(value["kind"]), variants)
        return _build(variants[value["kind"]], value, f"{key}.")
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise UsageError(f"recipe key {key} is {value!r}; it must be a table")
        return _build(cast(type, hint), value, f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # eps = 0.03
    if hint in (int, float, str) and type(value) is hint:
        return value
    parts = get_args(hint)
    if parts and all(isinstance(p, str) for p in parts):
        if value not in parts:
            raise UnknownNameError(key, str(value), parts)
        return value
    if parts and isinstance(value, list | tuple) and len(value) == len(parts):
        return tuple(_convert(p, v, key) for p, v in zip(parts, value, strict=True))
    expected = getattr(hint, "__name__", str(hint))
    if parts:
        expected = f"{len(parts)} numbers"
    raise UsageError(f"recipe key {key} is {value!r}; it must be {expected}")


def _all_keys(cls: type, prefix: str) -> list[str]:
    keys = []
    hints = get_type_hints(cls)
    for name in (f.name for f in fields(cls)):
        parts = _dataclasses([hints[name], *get_args(hints[name])])
        keys += [k for part in parts for k in _all_keys(part, f"{prefix}{name}.")] or [
            prefix + name
        ]
    return sorted(set(keys))


def _dataclasses(hints: Iterable[Any]) -> list[Any]:
    return [hint for hint in hints if is_dataclass(hint)]
