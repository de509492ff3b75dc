"""What a family says of its networks: sizes, features, and where their layers are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.network.spec import FEATURES

MemoryLayout = Literal["channels_last", "contiguous_format"]

# What torch's exporters make of convolutions, their normalization and linear layers.
CONVOLUTIONAL = frozenset(
    [
        "Add",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Constant",
        "Conv",
        "Div",
        "Expand",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "MatMul",
        "MaxPool",
        "Mul",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Shape",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ]
)


@dataclass(frozen=True)
class Architecture(ABC):
    """One network of a family. A family is a subclass, whose fields are its networks' sizes.

    Attributes:
        family: its name in `known.FAMILIES` and in config.json.
        layers: "module:function" that makes the torch modules, by feature, from an architecture;
            each but the first reads what the one before it gives.
        projector: the same of one module, from the representation to the projection; "" where
            networks of the family have none.
        extra: of this package, which its torch modules need; ONNX Runtime needs none.
        operators: of ONNX, which graphs of the family may use.
        buffers_are_stored: whether files of weights hold every buffer, so that none need be
            computed when a network is made for them.
    """

    family: ClassVar[str]
    layers: ClassVar[str]
    projector: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    operators: ClassVar[frozenset[str]] = CONVOLUTIONAL
    buffers_are_stored: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """What the network is called, as a command takes it."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is, as a sentence begins with it."""

    @property
    @abstractmethod
    def details(self) -> tuple[str, ...]:
        """What tells it from others of its name, the most telling first."""

    @property
    @abstractmethod
    def dimensions(self) -> dict[str, int]:
        """Values of one image's features, by their names, in the order in which they are made."""

    @property
    @abstractmethod
    def activations(self) -> int:
        """Values that no activation has more of, for each pixel of the input."""

    @property
    def fixed_size(self) -> int | None:
        """Pixels a side of the input, where no others are taken."""
        return None

    @property
    def description(self) -> str:
        """Name and details, in one line."""
        return ", ".join((self.name, *self.details))

    @property
    def graph_features(self) -> tuple[str, ...]:
        """What an ONNX graph gives: all but the projection, whose weights are a file apart."""
        return tuple(name for name in self.dimensions if name != "projection")

    @property
    def probed_feature(self) -> str:
        """What a head reads where nothing else is said: the last that every release has."""
        return self.graph_features[-1]

    def dimension(self, feature: str) -> int:
        """Number of values of one image's `feature`.

        Raises:
            UnknownNameError: no family has such a feature.
            UsageError: this network has not.
        """
        sizes = self.dimensions
        if feature not in FEATURES:
            raise UnknownNameError("feature", feature, FEATURES)
        if feature not in sizes:
            raise UsageError(f"{self.name} has no {feature}; it has {', '.join(sizes)}")
        return sizes[feature]

    def layout(self, device: str) -> MemoryLayout:
        """How weights and images best lie in the memory of a device, "cpu" or another."""
        return "channels_last"

    def to_json(self) -> dict[str, Any]:
        """As `known.architecture_from` reads it."""
        return {"family": self.family, **asdict(self)}
