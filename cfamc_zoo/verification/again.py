"""What the command of a row asks for, as data. The command itself is never run."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.choice import OPTIONS, named_once, read_settings
from cfamc_zoo.evaluation.protocols import AttackTerms, HeadTerms


@dataclass(frozen=True)
class Fit:
    """A head that is fitted before the attack: `cfamc-zoo probe`.

    Attributes:
        data: what to.
        terms: how.
        limit, seed: as the command has them.
    """

    data: str
    terms: HeadTerms
    limit: int | None
    seed: int


@dataclass(frozen=True)
class Again:
    """One call of `cfamc-zoo attack`.

    Attributes:
        attack: which.
        data: the images.
        limit, seed, crops: as the command has them.
        fit: the head; None is the release's own.
    """

    attack: AttackTerms
    data: str
    limit: int | None
    seed: int
    crops: int | None
    fit: Fit | None


class _Options(ArgumentParser):
    """Options of a command that a row may have; all that is not among them is refused."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.add_argument("-m", "--model")
        self.add_argument("--data", required=True)
        self.add_argument("--limit", type=int)
        self.add_argument("--seed", type=int, default=0)
        self.add_argument("--crops", type=int)
        self.add_argument("--features", default="")

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _of_attack() -> _Options:
    options = _Options()
    options.add_argument("--eps", default="8/255")
    options.add_argument("--attack", default="pgd")
    options.add_argument("--norm", default="linf")
    options.add_argument("--probe")
    options.add_argument("--head", default="probe", choices=["probe"])
    options.add_argument("--set", action="append", default=[])
    for name in OPTIONS:
        options.add_argument(f"--{name.replace('_', '-')}")
    return options


def _of_probe() -> _Options:
    options = _Options()
    options.add_argument("--head", default="linear")
    options.add_argument("--select", default="clean")
    options.add_argument("-o", "--output", required=True)
    return options


def read_command(command: str) -> Again:
    """What a row's command measures: `cfamc-zoo attack ...`, after `cfamc-zoo probe ... &&`
    where it makes a head first.

    Its model is left aside: the release in hand is what is measured.

    Raises:
        UsageError: another command, an option that does not bear on a row, an impossible value,
            or a head that the command does not make.
    """
    try:
        *before, last = [_words(part) for part in command.split(" && ")]
        attack = _of_attack().parse_args(_after("attack", last))
        fits = [_of_probe().parse_args(_after("probe", words)) for words in before]
        fit = _fit(attack, fits)
        settings = [(name, getattr(attack, name)) for name in OPTIONS]
        given = [(name, value) for name, value in settings if value is not None]
        terms = AttackTerms(
            tuple(attack.eps.split(",")),
            attack.attack,
            attack.norm,
            named_once([*given, *read_settings(attack.set)]),
        )
        return Again(terms, attack.data, attack.limit, attack.seed, attack.crops, fit)
    except UsageError as error:
        raise UsageError(f"its command {command[:200]!r} cannot be followed: {error}") from error


def _fit(attack: Namespace, fits: list[Namespace]) -> Fit | None:
    """The head that the attack is told to use, which the commands before it made."""
    if attack.probe is None and not fits:
        return None
    made = {Path(fit.output).name: fit for fit in fits}
    if Path(attack.probe or "").name not in made:
        raise UsageError(f"it takes head {attack.probe!r}, which it does not make")
    fit = made[Path(attack.probe).name]
    terms = HeadTerms(fit.head, fit.select, fit.features, fit.crops)
    return Fit(fit.data, terms, fit.limit, fit.seed)


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _after(name: str, words: list[str]) -> list[str]:
    """The options of a call of that command."""
    if words[:2] != ["cfamc-zoo", name]:
        raise UsageError(f"it is not `cfamc-zoo {name}`")
    return words[2:]
