"""How something was measured, in words for a page: a record's keys and values, in its order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, members_of
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.zoo.catalogue.registry import list_models
from cfamc_zoo.zoo.release.folder import CARD, Release
from cfamc_zoo.zoo.release.own import OwnModel
from cfamc_zoo.zoo.threat import NORMS

LOSSES = {
    "ce": "cross entropy",
    "margin": "margin of the logits",
    "dlr": "difference of logits ratio (DLR)",
}
STARTS = {"random": "at random in the ball", "zero": "at the image itself"}
DISTANCES = {"l2": "Euclidean", "cosine": "one minus the cosine of the angle"}
HEADS = {
    "probe": "a linear classifier on frozen features",
    "own": "the model's own",
    "knn": "nearest neighbours: every other image votes on the rest",
}


def _plain(value: Any) -> str:
    """Any value of a record without Python's or JSON's marks."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _from(table: Mapping[str, str]) -> Callable[[Any], str]:
    return lambda value: table.get(value, str(value))


def _step_size(value: Any) -> str:
    return "2.5 × epsilon / steps" if value is None else f"{value} of the pixel range"


def _norm(value: str) -> str:
    return NORMS[value].meaning if value in NORMS else value


def _crops(value: Any) -> str:
    if value is None:
        return "none: the whole image is read"
    low, high = (f"{100 * part:g}%" for part in value["scale"])
    return (
        f"the mean of {value['count']} crops of {low} to {high} of the area, drawn from seed "
        f"{value['seed']}"
    )


def _versions(value: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in value.items())


def _device(value: str) -> str:
    kind, _, name = value.partition(": ")
    return {"cpu": "the CPU", "cuda": "the GPU"}.get(kind, kind) + (f", {name}" if name else "")


# What a key is called, and how its value is said. A key that is not here says itself.
WORDS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "sha256": ("its weights, sha256", str),
    "head_sha256": ("head, sha256", str),
    "data": ("images", str),
    "data_sha256": ("images, sha256", str),
    "head": ("head", _from(HEADS)),
    "step_size": ("length of a step", _step_size),
    "restarts": ("restarts", lambda n: "none: one run" if n == 1 else f"{n} runs in all"),
    "start": ("start", _from(STARTS)),
    "loss": ("loss", _from(LOSSES)),
    "distance": ("distance of two vectors", _from(DISTANCES)),
    "targets": ("wrong classes aimed at", lambda n: f"the {n} likeliest"),
    "queries": ("queries of an image", lambda n: f"{n:,} at most"),
    "norm": ("size of a perturbation", _norm),
    "eps": ("epsilon, its bound", lambda eps: f"{', '.join(eps)} of the pixel range"),
    "seed": ("random numbers", lambda seed: f"from seed {seed}"),
    "crops": ("crops", _crops),
    "versions": ("versions", _versions),
    "device": ("computed on", _device),
}


def facts_of(
    record: Mapping[str, Any], attack: Attack | Ensemble | FeatureAttack
) -> list[tuple[str, str]]:
    """Pairs of name and value in words.

    Args:
        record: what a measurement records of itself, without its results.
        attack: what was run; the settings of an ensemble's members are said one by one.
    """
    facts = []
    for key, value in record.items():
        if key == "settings":
            if isinstance(attack, Ensemble):
                facts += [_member(member) for member in members_of(attack)]
            continue
        name, say = WORDS.get(key, (key.replace("_", " "), _plain))
        facts.append((name, say(value)))
    return facts


def _member(member: Attack) -> tuple[str, str]:
    """An attack of an ensemble, and its settings."""
    settings: dict[str, Any] = asdict(member) if is_dataclass(member) else {}
    return member.name, _plain({k: LOSSES.get(v, v) for k, v in settings.items()})


def card_of(model: str | None, release: Release) -> str:
    """Address of the model's card, on the Hub or in its folder; empty where there is none.

    Args:
        model: as it was asked for: a name, a folder or ORGANIZATION/NAME; None is by its name.
    """
    if isinstance(release, OwnModel):
        return ""
    name = model or release.config.name
    repository = {spec.name: spec.repo for spec in list_models()}.get(name, name)
    if repository == name and Path(name).is_dir():
        card = (release.folder / CARD).absolute()
        return card.as_uri() if card.is_file() else ""
    return f"https://huggingface.co/{repository.partition('@')[0]}"
