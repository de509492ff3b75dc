"""What a search found, for a terminal, for a program and as a page of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cfamc_zoo.embedding.search.queries import Answer, Neighbour
from cfamc_zoo.embedding.search.stored import StoredVectors

if TYPE_CHECKING:
    from cfamc_zoo.embedding.search.duplicates import Group
    from cfamc_zoo.embedding.search.sections import Section, Thumbnails

SHOWN = 200  # groups of duplicates on a page
Rows = list[tuple[str, ...]]
Table = tuple[tuple[str, ...], Rows, tuple[int, ...]]


@dataclass(frozen=True)
class Result(ABC):
    """Neighbours or duplicates.

    Attributes:
        vectors: all that were searched.
        recall: of an index, in 0..1; None where every vector was compared.
    """

    vectors: StoredVectors
    recall: float | None

    def notes(self) -> list[str]:
        """Lines for a person."""
        if self.recall is None:
            return []
        return [f"searched by an index: it finds {100 * self.recall:.1f}% of the 10 nearest"]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a program."""
        said = self.vectors.metadata
        return {
            "vectors": str(self.vectors.path),
            "rows": self.vectors.count,
            "dimension": self.vectors.dimension,
            **{key: said.get(key) for key in ("model", "sha256", "feature")},
            "method": "exact" if self.recall is None else "index",
            "recall": self.recall,
        }

    def facts(self) -> list[tuple[str, str]]:
        """Pairs of name and value, in words."""
        said = self.vectors.metadata
        how = "every vector was compared"
        if self.recall is not None:
            how = f"by an index, which finds {100 * self.recall:.1f}% of the 10 nearest"
        return [
            ("vectors", f"{self.vectors.count:,} of {self.vectors.dimension} values"),
            *((key, said[key]) for key in ("model", "sha256", "feature") if key in said),
            ("similarity", "cosine"),
            ("search", how),
        ]

    @abstractmethod
    def table(self) -> Table:
        """Headers, rows, and which columns are aligned to the right."""

    @abstractmethod
    def title(self) -> str:
        """Of a page."""

    def left_out(self) -> str:
        """A sentence on what a page leaves out; "" where it shows all."""
        return ""

    @abstractmethod
    def sections(self, thumbnails: Thumbnails) -> list[Section]:
        """Of a page."""


@dataclass(frozen=True)
class Neighbours(Result):
    """Queries and their neighbours."""

    answers: list[Answer]

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"queries": [_answer(a) for a in self.answers]}

    def table(self) -> Table:
        rows: Rows = [
            (answer.query.name, str(rank), _number(n), n.path)
            for answer in self.answers
            for rank, n in enumerate(answer.neighbours, 1)
        ]
        return ("query", "rank", "similarity", "path"), rows, (1, 2)

    def title(self) -> str:
        return f"Nearest of {self.vectors.count:,} images"

    def sections(self, thumbnails: Thumbnails) -> list[Section]:
        return [thumbnails.section_of(answer) for answer in self.answers]


@dataclass(frozen=True)
class AttackedNeighbours(Result):
    """Queries and their neighbours, beside those of the same queries under attack.

    Attributes:
        answers, attacked: of the same queries, in their order.
        eps: radius of the attack, as it was given.
        images: (Q, 3, S, S) float32 in [0, 1], perturbed.
    """

    answers: list[Answer]
    attacked: list[Answer]
    eps: str
    images: np.ndarray

    def pairs(self) -> list[tuple[Answer, Answer]]:
        """Of each query, the answers before and under attack."""
        return list(zip(self.answers, self.attacked, strict=True))

    def notes(self) -> list[str]:
        overlaps = [f"{a.query.name}: {overlap(a, b)}" for a, b in self.pairs()]
        return super().notes() + overlaps

    def to_json(self) -> dict[str, Any]:
        queries = [
            _answer(before)
            | {
                "attacked": {
                    "eps": self.eps,
                    "similarity_to_itself": round(moved(before, after), 6),
                    "kept": kept(before, after),
                    "neighbours": _answer(after)["neighbours"],
                }
            }
            for before, after in self.pairs()
        ]
        return super().to_json() | {"queries": queries}

    def table(self) -> Table:
        rows: Rows = [
            (before.query.name, str(rank), _number(n), n.path, _number(m), m.path)
            for before, after in self.pairs()
            for rank, (n, m) in enumerate(zip(before.neighbours, after.neighbours, strict=True), 1)
        ]
        headers = ("query", "rank", "similarity", "path", "attacked", "attacked path")
        return headers, rows, (1, 2, 4)

    def title(self) -> str:
        return f"Nearest of {self.vectors.count:,} images, as they are and attacked at {self.eps}"

    def facts(self) -> list[tuple[str, str]]:
        attack = f"20 steps away from the image's own vector, by at most {self.eps} in every pixel"
        return [*super().facts(), ("attack", attack)]

    def sections(self, thumbnails: Thumbnails) -> list[Section]:
        return [
            thumbnails.attacked_section(pair, image, self.eps, overlap(*pair))
            for pair, image in zip(self.pairs(), self.images, strict=True)
        ]


@dataclass(frozen=True)
class Duplicates(Result):
    """Groups of near-duplicates."""

    threshold: float
    groups: list[Group]

    def notes(self) -> list[str]:
        members = sum(len(group.members) for group in self.groups)
        return [
            *super().notes(),
            f"{members:,} of {self.vectors.count:,} images in {len(self.groups):,} "
            f"{'group' if len(self.groups) == 1 else 'groups'} of near-duplicates at "
            f"{self.threshold:g} or more",
        ]

    def to_json(self) -> dict[str, Any]:
        groups = [[_neighbour(m) for m in group.members] for group in self.groups]
        return super().to_json() | {"threshold": self.threshold, "groups": groups}

    def table(self) -> Table:
        rows: Rows = [
            (str(number), _number(member), member.path)
            for number, group in enumerate(self.groups, 1)
            for member in group.members
        ]
        return ("group", "similarity", "path"), rows, (0, 1)

    def title(self) -> str:
        return f"Near-duplicates among {self.vectors.count:,} images"

    def sections(self, thumbnails: Thumbnails) -> list[Section]:
        shown = self.groups[:SHOWN]
        return [thumbnails.group_section(group, i) for i, group in enumerate(shown, 1)]

    def left_out(self) -> str:
        if len(self.groups) <= SHOWN:
            return ""
        return f"The largest {SHOWN} of {len(self.groups):,} groups are shown."


def kept(before: Answer, after: Answer) -> int:
    """How many neighbours stay when the query is attacked."""
    return len({n.row for n in before.neighbours} & {n.row for n in after.neighbours})


def moved(before: Answer, after: Answer) -> float:
    """Cosine similarity of a query's vector to itself under attack."""
    return float(np.clip(before.query.vector @ after.query.vector, -1, 1))


def overlap(before: Answer, after: Answer) -> str:
    """Both in words."""
    return (
        f"{kept(before, after)} of {len(before.neighbours)} neighbours stay; similarity of the "
        f"attacked image to itself {moved(before, after):.3f}"
    )


def _answer(answer: Answer) -> dict[str, Any]:
    ranked = [{"rank": i, **_neighbour(n)} for i, n in enumerate(answer.neighbours, 1)]
    return {"query": answer.query.name, "row": answer.query.row, "neighbours": ranked}


def _neighbour(neighbour: Neighbour) -> dict[str, Any]:
    return {
        "row": neighbour.row,
        "similarity": round(neighbour.similarity, 6),
        "path": neighbour.path,
    }


def _number(neighbour: Neighbour) -> str:
    return f"{neighbour.similarity:.4f}"
