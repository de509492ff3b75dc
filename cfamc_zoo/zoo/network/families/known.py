"""The table of families, and an architecture out of a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.network.families.architecture import Architecture
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.families.timm import TimmArchitecture

FAMILIES: dict[str, type[Architecture]] = {
    family.family: family for family in (ResNetArchitecture, TimmArchitecture)
}
UNNAMED = ResNetArchitecture.family  # of a config that names none


def family_of(values: Mapping[str, Any]) -> tuple[type[Architecture], dict[str, Any]]:
    """The family that an architecture in JSON is of, and its sizes.

    Raises:
        UsageError: none that this version knows.
    """
    family = values.get("family", UNNAMED)
    if not isinstance(family, str):
        raise UsageError(f"family is {family!r}; it must be one of {', '.join(FAMILIES)}")
    if family not in FAMILIES:
        raise UnknownNameError("family of networks", family, FAMILIES)
    return FAMILIES[family], {key: value for key, value in values.items() if key != "family"}


def architecture_from(values: Mapping[str, Any]) -> Architecture:
    """What `Architecture.to_json` gave.

    Raises:
        UsageError: an unknown family, or sizes that no network of it has.
        TypeError: keys that the family does not have, or lacks.
    """
    family, sizes = family_of(values)
    return family(**sizes)


def check_known(architecture: Architecture) -> None:
    """Refuses a network that no config.json can describe.

    Raises:
        UsageError: it is of no family; says what can be stored.
    """
    if architecture.family not in FAMILIES:
        raise UsageError(
            f"{architecture.name} is of no known family, and a release holds no code, so it cannot "
            "be stored; where timm has its network, `cfamc-zoo export timm:NAME --weights FILE` "
            "makes a release of its weights"
        )
