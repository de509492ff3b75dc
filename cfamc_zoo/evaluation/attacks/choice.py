"""An attack as a person names it, with its settings. A new attack is a line of the table.

The table is read without torch; an attack's class is imported when it is built. The fields of
that class are its settings, so what it does not have is refused, not dropped.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.threat import Length, Linf, Threat

if TYPE_CHECKING:
    from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
    from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
    from cfamc_zoo.evaluation.attacks.protocol import Attack


@dataclass(frozen=True)
class Entry:
    """Where an attack is.

    Attributes:
        place: "module:Name" under evaluation/attacks: a class, or an ensemble that is there.
        fixed: settings that the name stands for.
        synonyms: other names of settings.
    """

    place: str
    fixed: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)


FEATURE = "feature"  # the one that attacks an encoder, not a classifier
ATTACKS = {
    "pgd": Entry("pgd:Pgd"),
    "apgd": Entry("apgd:Apgd"),
    "apgd-dlr": Entry("apgd:Apgd", fixed={"loss": "dlr"}),
    "apgd-t": Entry("apgd:ApgdTargeted"),
    "fab": Entry("fab:FabTargeted"),
    "square": Entry("square:Square", synonyms={"steps": "queries"}),
    "autoattack": Entry("ensemble:AUTOATTACK"),
    "apgd-only": Entry("ensemble:APGD_ONLY"),
    FEATURE: Entry("feature:FeatureAttack"),
}
# Settings that `cfamc-zoo attack` has an option of its own for; the others go by --set.
OPTIONS = ("steps", "step_size", "restarts", "start", "loss", "distance")


@dataclass(frozen=True)
class Choice:
    """A name, and the settings that were given.

    Attributes:
        name: one of ATTACKS.
        given: settings by name; text, as a person writes it, or values.
        norm: in which it is run; a step size is written like a radius.

    Raises:
        UnknownNameError: an unknown attack. Settings are checked when the attack is built.
    """

    name: str = "pgd"
    given: Mapping[str, object] = field(default_factory=dict)
    norm: type[Threat] = Linf

    def __post_init__(self) -> None:
        if self.name not in ATTACKS:
            raise UnknownNameError("attack", self.name, ATTACKS)

    def attack(self) -> Attack | Ensemble:
        """What to run against a classifier.

        Raises:
            UsageError: a setting that the attack does not have, or an impossible value.
        """
        if self.name == FEATURE:
            raise UsageError(f"{self.name} is an attack on an encoder, not on a classifier")
        return self._built()

    def feature_attack(self) -> FeatureAttack:
        """What to run against an encoder.

        Raises:
            UsageError: an attack on a classifier, or as `attack`.
        """
        if self.name != FEATURE:
            raise UsageError(f"{self.name} is an attack on a classifier, not on an encoder")
        return self._built()

    def settings(self) -> dict[str, Any]:
        """Every setting that the attack has and its value, texts as given; none of an ensemble.

        A step size of None is the attack's own.

        Raises:
            UsageError: as `attack`.
        """
        built, given = self._built(), self._renamed()
        values = {name: getattr(built, name) for name in self._hints()}
        return {
            name: str(given[name]) if isinstance(value, float) and name in given else value
            for name, value in values.items()
        }

    def options(self) -> list[str]:
        """The settings as `cfamc-zoo attack` takes them, all of them, in order."""
        words = []
        for name, value in self.settings().items():
            if value is None or name in ATTACKS[self.name].fixed:
                continue
            if name in OPTIONS:
                words += [_option(name), str(value)]
            else:
                words += ["--set", f"{name}={value}"]
        return words

    def _built(self) -> Any:
        from cfamc_zoo.evaluation.attacks.ensemble import check_norm

        found, hints = self._found(), self._hints()
        values = {}
        for name, value in self._renamed().items():
            if name not in hints or name in ATTACKS[self.name].fixed:
                raise UsageError(f"{name} is not for {self.name}, {self._has()}")
            values[name] = self._converted(hints[name], name, value)
        if isinstance(found, type):
            found = found(**values, **ATTACKS[self.name].fixed)
        check_norm(found, self.norm)
        return found

    def _found(self) -> Any:
        module, name = ATTACKS[self.name].place.split(":")
        return getattr(import_module(f"cfamc_zoo.evaluation.attacks.{module}"), name)

    def _hints(self) -> dict[str, Any]:
        """Types of the settings, by name."""
        found = self._found()
        if not isinstance(found, type):
            return {}
        hints = get_type_hints(found, include_extras=True)
        return {f.name: hints[f.name] for f in fields(found)}

    def _converted(self, hint: Any, name: str, value: object) -> Any:
        """The value as a field of that type holds it; its range is the class's to check."""
        if type(None) in get_args(hint):  # "X | None"
            if value is None:
                return None
            (hint,) = (one for one in get_args(hint) if one is not type(None))
        if hint == Length:
            return self._length(name.replace("_", " "), value)
        if get_origin(hint) is not Literal:
            return READERS[hint](name, value)
        if value not in get_args(hint):
            raise UnknownNameError(name, str(value), get_args(hint))
        return value

    def _length(self, what: str, value: object) -> float:
        """In pixel units of [0, 1]."""
        text = value if isinstance(value, str) else str(_real(what, value))
        length = self.norm.length(text, what=what)
        if length == 0:
            raise UsageError(f"{what} is {value!r}; it must be over 0, like 1/255")
        return length

    def _renamed(self) -> dict[str, object]:
        synonyms = ATTACKS[self.name].synonyms
        return named_once((synonyms.get(name, name), value) for name, value in self.given.items())

    def _has(self) -> str:
        names = [name for name in self._hints() if name not in ATTACKS[self.name].fixed]
        if not names:
            return "which takes no settings: they are AutoAttack's own"
        return f"which takes {', '.join(names)}"


def read_settings(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of name and value of "name=value" texts.

    Raises:
        UsageError: no such text.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {text!r} is not key=value; for example --set steps=50")
        pairs.append((name.strip().replace("-", "_"), value.strip()))
    return pairs


def named_once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """The pairs as a mapping.

    Raises:
        UsageError: one name twice.
    """
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise UsageError(f"{name} is given twice, {found[name]} and {value}; give it once")
        found[name] = value
    return found


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}" if name in OPTIONS else f"--set {name}"


def _integer(name: str, value: object) -> int:
    try:
        return int(value) if isinstance(value, str) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is {value!r}; it must be a whole number") from error


def _real(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is {value!r}; it must be a number, like 0.5") from error
    if not math.isfinite(number):
        raise UsageError(f"{name} is {value!r}; it must be a finite number")
    return number


READERS: Mapping[Any, Callable[[str, object], object]] = {int: _integer, float: _real}
