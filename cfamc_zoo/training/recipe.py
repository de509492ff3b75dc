"""Recipes: everything that decides a training run, as frozen data read from TOML.

A recipe combines views (how images become crops), an objective and an adversary. Every key
has the paper's value as its default, so a TOML file states what it is and where it differs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cfamc_zoo.errors import UsageError
from cfamc_zoo.toml_files import names_in, read_toml
from cfamc_zoo.training.compilation import Compilation
from cfamc_zoo.training.objectives import Objective
from cfamc_zoo.training.objectives.emp import Emp
from cfamc_zoo.training.optimizers import UNNAMED, AnyOptimizer, LarsOptimizer
from cfamc_zoo.training.recipe_files import RECIPES
from cfamc_zoo.typed import LEAVES, Leaf, read
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.threat import Threat, threat_of

Pair = tuple[float, float]


def _text(value: Any) -> str:
    if type(value) not in (str, int, float):
        raise TypeError
    return str(value)


# A number stands for its text: eps = 0.03.
LENIENT = {**LEAVES, str: Leaf("text", _text)}


@dataclass(frozen=True)
class Views:
    """Random views of an image. Fixed scale and ratio 1 make patches; a range makes crops."""

    count: int = 16  # views an image
    scale: Pair = (0.08, 1.0)  # area of the box as a part of the image's
    ratio: Pair = (3 / 4, 4 / 3)  # width over height
    flip_p: float = 0.5  # chance of a mirror image
    # How far brightness, contrast, saturation and hue (in turns) may change.
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.2)
    jitter_p: float = 0.8  # chance of it
    grey_p: float = 0.2  # chance of no colour
    blur_p: float = 0.1  # chance of a blur
    blur_sigma: Pair = (0.1, 2.0)  # width of the blur, pixels
    solarize_p: float = 0.1  # chance of bright values turned round
    # Pixels of black around the image, out of which a box of its own size is taken at random, in
    # place of a box of `scale` and `ratio` that is resized; 0 is without.
    padding: int = 0
    # Of the views so many, the last, are changed by AutoAugment's policy for CIFAR-10 first.
    autoaugmented: int = 0


@dataclass(frozen=True)
class NoAdversary:
    """Standard training."""

    kind: Literal["none"] = "none"  # none, free or pgd


class Bounded:
    """An adversary whose perturbations stay in a ball."""

    eps: str
    norm: str

    @property
    def threat(self) -> Threat:
        """The ball.

        Raises:
            UsageError: an unknown norm or an impossible radius.
        """
        return threat_of(self.norm, self.eps)


@dataclass(frozen=True)
class FreeAdversary(Bounded):
    """Free adversarial training: each batch replayed, one backward pass for both gradients."""

    kind: Literal["free"] = "free"  # none, free or pgd
    eps: str = "8/255"  # radius, pixels in [0, 1]
    step: float = 0.01  # of the perturbation, a replay
    replays: int = 3  # updates a batch
    norm: str = "linf"  # of radius and step


@dataclass(frozen=True)
class PgdAdversary(Bounded):
    """Each batch perturbed by projected gradient ascent before its one update."""

    kind: Literal["pgd"] = "pgd"  # none, free or pgd
    eps: str = "8/255"  # radius, pixels in [0, 1]
    step: float = 0.01  # of the perturbation, a step
    steps: int = 5  # of the ascent
    norm: str = "linf"  # of radius and step
    start: Literal["zero", "random"] = "zero"  # random is uniform in the ball
    batchnorm: Literal["training", "evaluation"] = "training"  # its mode while attacking


Adversary = NoAdversary | FreeAdversary | PgdAdversary


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    title: str
    source: str
    data: str = "cifar10"  # a named set; `--data` gives a folder
    size: int = 32  # pixels: every image is brought to it, and so is the model's input
    epochs: int = 10  # passes over the images
    batch_size: int = 100  # images; crops are views.count times as many
    max_steps: int = 0  # batches after which to stop early; 0 is the whole schedule
    checkpoint_steps: int = 100  # batches between checkpoints, unless minutes come first
    checkpoint_minutes: float = 15.0  # between checkpoints, at most
    log_steps: int = 10  # batches between lines of metrics.jsonl
    seed: int = 0  # of weights, crops and order
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the forward pass
    compile: Compilation = "auto"  # of the network, by torch.compile
    # Decay, a batch, of the exponential average of the weights that is released; 0 releases the
    # weights themselves.
    averaging: float = 0.0
    teacher: str = ""  # a model, a release folder or a Hub repository, where the objective has one
    student: Literal["from-teacher", "from-scratch"] = "from-teacher"  # its first weights
    encoder: ResNetArchitecture = field(default_factory=ResNetArchitecture)
    views: Views = field(default_factory=Views)
    objective: Objective = field(default_factory=Emp)
    adversary: Adversary = field(default_factory=NoAdversary)
    optimizer: AnyOptimizer = field(default_factory=LarsOptimizer)

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
        self._check_views()
        warmup, cosine = self.optimizer.warmup, self.optimizer.schedule == "cosine"
        rule = "0 <= part < 1, and 0 but for the schedule cosine"
        _require(0 <= warmup < 1 and (cosine or not warmup), "optimizer.warmup", warmup, rule)
        kind, taught = self.objective.kind, bool(self.objective.taught)
        _require(taught or not self.teacher, "teacher", self.teacher, f"left away: {kind} has none")
        match self.adversary:
            case FreeAdversary(replays=passes):
                _require(passes >= 1, "adversary.replays", passes, "at least 1")
            case PgdAdversary(steps=passes):
                _require(passes >= 1, "adversary.steps", passes, "at least 1")
        if not isinstance(self.adversary, NoAdversary):
            _ = self.adversary.threat  # refuses what is none
            _require(self.adversary.step > 0, "adversary.step", self.adversary.step, "over 0")

    def _check_views(self) -> None:
        count, objective = self.views.count, self.objective
        padding, changed = self.views.padding, self.views.autoaugmented
        _require(0 <= padding < self.size, "views.padding", padding, "in 0..size - 1")
        _require(0 <= changed <= count, "views.autoaugmented", changed, "in 0..views.count")
        fewest = objective.fewest_views
        _require(count >= fewest, "views.count", count, f"at least {fewest}")
        views = objective.views or count
        _require(count == views, "views.count", count, f"{views} for {objective.kind}")
        clean = objective.clean_views
        rule = f"in 0..{count - 1}, fewer than the views"
        _require(0 <= clean < count, "objective.clean_views", clean, rule)

    @property
    def replays(self) -> int:
        """Weight updates a batch."""
        return self.adversary.replays if isinstance(self.adversary, FreeAdversary) else 1

    @property
    def threat_model(self) -> dict[str, str]:
        """What the encoder is trained to withstand, as a release states it; {} for standard."""
        if isinstance(self.adversary, NoAdversary):
            return {}
        return {"norm": self.adversary.norm, "eps": self.adversary.eps}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"recipe key {key} is {value!r}; it must be {rule}")


def list_recipes() -> list[str]:
    """Names of the recipes in the package."""
    return names_in(RECIPES)


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """A recipe of the package by name, or a TOML file by path, with keys set anew.

    Args:
        name: as `list_recipes` gives it, or a path that ends in .toml.
        settings: "key=value", the key dotted ("views.count=8"), the value as in TOML;
            a bare word is taken for a string.

    Raises:
        UsageError: an unknown recipe or key, or an impossible value.
    """
    values = read_toml("recipe", name, RECIPES)
    for setting in settings:
        _set(values, setting)
    return recipe_from_json(values)


def recipe_from_json(values: dict[str, Any]) -> Recipe:
    """The inverse of `Recipe.to_json`; also what a TOML file parses to.

    Raises:
        UsageError: an unknown or missing key, or an impossible value.
    """
    optimizer = values.get("optimizer", {})
    if isinstance(optimizer, dict):
        values = {**values, "optimizer": {"kind": UNNAMED, **optimizer}}
    return read(Recipe, values, "recipe", leaves=LENIENT)


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
