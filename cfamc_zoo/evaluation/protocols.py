"""The protocols behind the numbers of a card: which head, which attacks, and the rows they make."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfamc_zoo.datasets import SAMPLE
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, row_of

CLEAN_HEAD = "linear head chosen for clean accuracy; PGD, random start"
PUBLISHED = "the paper's public script: its head, zero start, step 0.01"
OWN_ATTACK = ("--eps", "4/255,8/255", "--steps", "20")
PUBLISHED_ATTACK = ("--eps", "4/255,8/255", "--start", "zero", "--step-size", "0.01")
KEPT = ("metric", "attack", "eps", "n")  # what a row repeats of an answer's


@dataclass(frozen=True)
class Protocol:
    """One way to measure an encoder, in the words of the command line.

    Attributes:
        key: names its files.
        text: says what it is, in every row.
        head: how `cfamc-zoo probe` fits its head.
        attacks: what `cfamc-zoo attack` is called with, one call each.
        sets: the test images; the first one's training images fit the head.
    """

    key: str
    text: str
    head: tuple[str, ...]
    attacks: tuple[tuple[str, ...], ...]
    sets: tuple[str, ...]

    def rows(self, answer: Mapping[str, Any], name: str) -> list[Any]:
        """Rows of results.json.

        Args:
            answer: what `cfamc-zoo attack --json` gave for one of the attacks.
            name: the model's, in the command that measures the same again.
        """
        command = self.command(name, answer)
        rows = []
        for found in answer["results"]:
            measured = {key: found[key] for key in KEPT} | {
                key: round(found[key], 4) for key in ("value", "low", "high")
            }
            measured |= {"data": answer["data"], "seed": answer["seed"]}
            if found["attack"]:
                measured["norm"] = answer["norm"]
                measured |= {key: answer.get(key, 0) for key in ("steps", "restarts")}
            rows.append(row_of(measured, protocol=self.text, command=command, here=answer))
        return rows

    def command(self, name: str, answer: Mapping[str, Any]) -> str:
        """What measures the same again; a head that no release has is made first.

        Every setting is the answer's own, but the release stands where the run was measured.
        """
        words = shlex.split(answer["command"])
        words[words.index("-m") + 1] = name
        at = words.index("--probe")
        if self.text == OWN_PROTOCOL:
            del words[at : at + 2]
            return shlex.join(words)
        file = words[at + 1] = f"{self.key}.safetensors"
        trained_on = answer["data"].removesuffix(SAMPLE)
        made = ["cfamc-zoo", "probe", "-m", name, "--data", trained_on, *self.head, "-o", file]
        return f"{shlex.join(made)} && {shlex.join(words)}"


def protocols(
    data: str, *, published: bool = False, crops: tuple[int, ...] = (), limit: int | None = None
) -> list[Protocol]:
    """Every protocol that a run is measured under, the released head's first.

    Args:
        data: the set that the encoder was trained on.
        published: the paper's public script too.
        crops: heads on the mean over so many crops too.
        limit: the first images only.
    """
    few = () if limit is None else ("--limit", str(limit))
    own = ((*OWN_ATTACK, *few),)
    robust = ("--select", "robust")
    sets = (data, f"{data}{SAMPLE}") if data == "cifar10" else (data,)
    found = [
        Protocol("own", OWN_PROTOCOL, (*robust, *few), own, sets),
        Protocol("clean-head", CLEAN_HEAD, few, own, (data,)),
    ]
    if published:
        attacks = tuple((*PUBLISHED_ATTACK, "--steps", steps, *few) for steps in ("2", "20"))
        head = ("--head", "published", *few)
        found.append(Protocol("published", PUBLISHED, head, attacks, (data,)))
    for n in crops:
        text = f"{OWN_PROTOCOL}; mean of {n} crops"
        head = (*robust, "--crops", str(n), *few)
        found.append(Protocol(f"crops-{n}", text, head, own, (data,)))
    return found
