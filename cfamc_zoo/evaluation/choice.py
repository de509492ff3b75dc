"""An attack as a person names it: checked at once, without torch; built when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.threat import parse_epsilon

if TYPE_CHECKING:
    from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
    from cfamc_zoo.evaluation.attacks.protocol import Attack

ATTACKS = (
    *("pgd", "apgd", "apgd-dlr", "apgd-t", "fab", "square"),
    *("autoattack", "apgd-only", "feature"),
)
ENSEMBLES = ("autoattack", "apgd-only")
LOSSES = ("ce", "margin", "dlr")
STARTS = ("random", "zero")
STEPS = {"pgd": 20, "feature": 20, "square": 5000}  # 100 for the others


@dataclass(frozen=True)
class Choice:
    """A name and its settings; each attack takes of them what it has.

    Attributes:
        name: one of ATTACKS.
        steps: gradient steps, or queries of square; None is the attack's own number.
        step_size: of pgd and feature, like "1/255".
        restarts: of pgd and apgd.
        start: of pgd: "random" or "zero".
        loss: of pgd: "ce", "margin" or "dlr".

    Raises:
        UsageError: an unknown name or an impossible setting.
    """

    name: str = "pgd"
    steps: int | None = None
    step_size: str | None = None
    restarts: int = 1
    start: str = "random"
    loss: str = "ce"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("attack", self.name, ATTACKS),
            ("start", self.start, STARTS),
            ("loss", self.loss, LOSSES),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        if self.restarts < 1 or (self.steps is not None and self.steps < 1):
            raise UsageError(
                f"--steps {self.steps} --restarts {self.restarts}: both must be at least 1"
            )
        if self.name in ENSEMBLES and self.steps is not None:
            raise UsageError(f"--steps is not for {self.name}, whose settings are AutoAttack's own")

    @property
    def number(self) -> int:
        """Steps or queries."""
        return self.steps or STEPS.get(self.name, 100)

    @property
    def length(self) -> float | None:
        """Of a step."""
        return parse_epsilon(self.step_size) if self.step_size else None

    def attack(self) -> Attack | Ensemble:
        """What to run against a classifier."""
        from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
        from cfamc_zoo.evaluation.attacks.ensemble import APGD_ONLY, AUTOATTACK
        from cfamc_zoo.evaluation.attacks.fab import FabTargeted
        from cfamc_zoo.evaluation.attacks.pgd import Pgd
        from cfamc_zoo.evaluation.attacks.square import Square

        match self.name:
            case "pgd":
                return Pgd(self.number, self.length, self.restarts, self.start, self.loss)  # type: ignore[arg-type]
            case "apgd":
                return Apgd("ce", self.number, self.restarts)
            case "apgd-dlr":
                return Apgd("dlr", self.number, self.restarts)
            case "apgd-t":
                return ApgdTargeted(self.number)
            case "fab":
                return FabTargeted(self.number)
            case "square":
                return Square(self.number)
            case "autoattack":
                return AUTOATTACK
            case "apgd-only":
                return APGD_ONLY
        raise UsageError(f"{self.name} is an attack on an encoder, not on a classifier")
