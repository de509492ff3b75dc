"""timm's networks as torch modules: with nothing fetched, and fit for a graph."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from torch import Tensor, nn

from cfamc_zoo.errors import UnknownNameError, UsageError, first_line
from cfamc_zoo.zoo.network.families.timm import Argument, TimmArchitecture

INSTALL = f"pip install 'cfamc-zoo[{TimmArchitecture.extra}]'"


def make_layers(architecture: TimmArchitecture) -> dict[str, nn.Module]:
    """The network without its classifier, its weights at random."""
    return {"backbone": make_network(architecture.model, architecture.arguments, num_classes=0)}


def make_network(name: str, arguments: Mapping[str, Argument], **more: int) -> nn.Module:
    """What timm has under a name, its weights at random.

    Args:
        name: with or without a tag of weights, which chooses the settings of its input.
        arguments: of its maker, checked.
        more: further arguments: num_classes=0 leaves the classifier out.

    Raises:
        UsageError: timm is not installed, or its maker does not take these arguments.
        UnknownNameError: timm has no such network.
    """
    timm = import_timm()
    if not timm.is_model(name.split(".")[0]):
        raise UnknownNameError("timm model", name, timm.list_models())
    try:
        # `exportable`: attention in plain operations, of which a graph's sizes are known.
        network: nn.Module = timm.create_model(name, exportable=True, **arguments, **more)
    except Exception as error:  # its makers raise what they like: TypeError, AssertionError ...
        said = ", ".join(f"{key} {value}" for key, value in arguments.items())
        raise UsageError(
            f"timm makes no {name}{f' with {said}' if said else ''}: {first_line(error)}"
        ) from error
    _pool_plainly(network)
    return network


def import_timm() -> ModuleType:
    """The library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise UsageError(f"this network is one of timm's, which is not installed; {INSTALL}") from (
            error
        )
    return timm


class Mean(nn.Module):
    """`nn.AdaptiveAvgPool2d(1)`, which exporters turn into steps over memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


def _pool_plainly(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.AdaptiveAvgPool2d and child.output_size in (1, (1, 1)):
                setattr(module, name, Mean())
