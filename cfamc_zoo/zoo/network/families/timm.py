"""Networks of the timm library, by their names there and arguments of their makers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.network.families.architecture import CONVOLUTIONAL, Architecture

Argument = int | str | bool
NAME = re.compile(r"[a-z0-9_]{1,100}")
WORD = re.compile(r"[a-z0-9_]{0,30}")


def _is_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= 4096


def _is_word(value: object) -> bool:
    return isinstance(value, str) and WORD.fullmatch(value) is not None


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


# What may be said of a network beside its name. Not among them is what makes timm fetch or open
# files, which a stranger's config.json must not do, and what takes the features away.
ARGUMENTS: dict[str, tuple[Callable[[object], bool], str]] = {
    "img_size": (_is_size, "a whole number in 1..4096"),
    "patch_size": (_is_size, "a whole number in 1..4096"),
    "output_stride": (_is_size, "a whole number in 1..4096"),
    "global_pool": (_is_word, "a word"),
    "act_layer": (_is_word, "a word"),
    "norm_layer": (_is_word, "a word"),
    "dynamic_img_size": (_is_switch, "true or false"),
}


@dataclass(frozen=True)
class TimmArchitecture(Architecture):
    """A network of timm without its classifier.

    Attributes:
        model: its name there, without a tag of weights.
        features: values that it gives of an image.
        arguments: of its maker; see `ARGUMENTS`.
        input_size: pixels a side, where it takes no others.
    """

    model: str
    features: int
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    input_size: int | None = None

    family = "timm"
    layers = "cfamc_zoo.zoo.network.timm_layers:make_layers"
    extra = "timm"
    # Attention makes tables of positions as it is built, which files of weights do not hold.
    buffers_are_stored = False
    operators = CONVOLUTIONAL | {
        *("AveragePool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization"),
        *("LayerNormalization", "Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish"),
        *("LeakyRelu", "Mish", "PRelu", "Sigmoid", "Softmax", "Softplus", "Tanh"),
        *("Abs", "Exp", "Max", "Min", "Neg", "Pow", "ReduceMax", "ReduceSum", "Reciprocal"),
        *("Concat", "Gather", "Pad", "Slice", "Split"),
    }

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not NAME.fullmatch(self.model):
            raise UsageError(
                f"model is {self.model!r}; it must be a name that timm has, like resnet50"
            )
        if type(self.features) is not int or not 1 <= self.features <= 65536:
            raise UsageError(f"features is {self.features!r}; it must be in 1..65536")
        if self.input_size is not None and not _is_size(self.input_size):
            raise UsageError(f"input_size is {self.input_size!r}; it must be in 1..4096, or null")
        if not isinstance(self.arguments, dict):
            raise UsageError(f"arguments are {self.arguments!r}; they must be an object")
        check_arguments(self.arguments)

    @property
    def name(self) -> str:
        return f"timm:{self.model}"

    @property
    def title(self) -> str:
        return f"timm's {self.model}"

    @property
    def details(self) -> tuple[str, ...]:
        return tuple(f"{key} {value}" for key, value in self.arguments.items())

    @property
    def dimensions(self) -> dict[str, int]:
        return {"backbone": self.features}

    @property
    def activations(self) -> int:
        # Of over a thousand networks nobody knows. Wide ones have some hundred channels at a
        # quarter of the input's size, which is a tenth of this.
        return 256

    @property
    def fixed_size(self) -> int | None:
        return self.input_size


def check_arguments(arguments: Mapping[str, object]) -> None:
    """Refuses what a network may not be made with.

    Raises:
        UnknownNameError: no such argument here.
        UsageError: a value that it cannot have.
    """
    for key, value in arguments.items():
        if key not in ARGUMENTS:
            raise UnknownNameError("argument of a timm model", str(key), ARGUMENTS)
        allowed, rule = ARGUMENTS[key]
        if not allowed(value):
            raise UsageError(f"{key} is {value!r}; it must be {rule}")
