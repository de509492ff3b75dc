"""Ensembles: attacks in a row, each on the survivors of the ones before."""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.zoo.threat import Threat


@dataclass(frozen=True)
class Ensemble:
    """Attacks of which an image must withstand all.

    Attributes:
        name: as results show its worst case.
        members: in the order in which they run.
    """

    name: str
    members: tuple[Attack, ...]


# AutoAttack's standard version: what its public implementation runs, with its settings.
AUTOATTACK = Ensemble("AutoAttack", (Apgd("ce"), ApgdTargeted(), FabTargeted(), Square()))
# Half of the ensemble in a small part of its time; it finds nearly all that the whole finds.
APGD_ONLY = Ensemble("APGD-CE + APGD-T", (Apgd("ce"), ApgdTargeted()))


def members_of(attack: Attack | Ensemble) -> tuple[Attack, ...]:
    return attack.members if isinstance(attack, Ensemble) else (attack,)


def substitutions(attack: Attack | Ensemble, classes: int) -> list[str]:
    """What is run in place of what so few classes do not define; one sentence each."""
    said = []
    for member in members_of(attack):
        own = getattr(member, "substitutions", None)
        said += [f"{member.name}: {text}" for text in own(classes)] if own else []
    return said


def check_norm(attack: Attack | Ensemble, norm: type[Threat]) -> None:
    """Refuses an attack that is not made for that norm, before any work.

    Raises:
        UsageError: a member names its norms, and this one is not among them.
    """
    for member in members_of(attack):
        norms = getattr(member, "norms", (norm.norm,))
        if norm.norm not in norms:
            raise UsageError(
                f"{member.name} is not made for {norm.norm}, only for {', '.join(norms)}; run "
                "another attack, like pgd"
            )
