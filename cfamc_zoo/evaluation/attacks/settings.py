"""An attack as a person gives it from Python: by name with settings, or as a value of its own."""

from __future__ import annotations

from collections.abc import Mapping

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.choice import Choice
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, check_norm, members_of
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.zoo.threat import Threat


def attack_of(
    attack: object, settings: Mapping[str, object], norm: type[Threat]
) -> Attack | Ensemble:
    """What is run against a classifier.

    Args:
        attack: a name as `cfamc-zoo attack --attack` takes it, or a value like `Pgd(steps=50)`.
        settings: of a named attack, by the names of its fields; "steps" are also Square's
            queries.
        norm: in which it is run.

    Raises:
        UsageError: no attack on a classifier, or none in that norm; a setting that it lacks or an
            impossible one.
    """
    if isinstance(attack, str):
        return Choice(attack, settings, norm).attack()
    kind = attack.__name__ if isinstance(attack, type) else type(attack).__name__
    if isinstance(attack, type):
        raise UsageError(f"attack is the class {kind}; give one of it, like {kind}()")
    if isinstance(attack, FeatureAttack):
        raise UsageError(f"{kind} is an attack on an encoder, not on a classifier")
    if not isinstance(attack, Ensemble) and not callable(getattr(attack, "run", None)):
        raise UsageError(f'attack is of type {kind}; give a name like "pgd", or Pgd(steps=50)')
    if settings:
        raise UsageError(
            f"{next(iter(settings))} goes with an attack by name; write it in {kind}(...)"
        )
    for member in members_of(attack):  # type: ignore[arg-type]
        step = getattr(member, "step_size", None)
        if step is not None:
            norm.length(str(float(step)), what="step size")
    check_norm(attack, norm)  # type: ignore[arg-type]
    return attack  # type: ignore[return-value]
