"""Attacks by name, and ensembles: attacks in a row, each on what the ones before left survivors."""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.attacks.square import Square


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
    """What is run in place of losses that so few classes do not define; one sentence each."""
    said = []
    for member in members_of(attack):
        if isinstance(member, ApgdTargeted) and classes < 4:
            said.append(
                f"{member.name}: the targeted DLR loss needs 4 classes, the model has {classes}; "
                "the difference of the two logits was maximized in its place"
            )
        if isinstance(member, Apgd) and member.loss == "dlr" and classes < 3:
            said.append(
                f"{member.name}: the DLR loss needs 3 classes, the model has {classes}; "
                "the margin was maximized in its place"
            )
        if isinstance(member, ApgdTargeted | FabTargeted) and member.targets > classes - 1:
            said.append(
                f"{member.name}: all {classes - 1} wrong classes were targets, fewer than "
                f"the usual {member.targets}"
            )
    return said
