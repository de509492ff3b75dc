"""Pictures of what a search found, side by side: the parts of a page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from cfamc_zoo.embedding.search.duplicates import Group
from cfamc_zoo.embedding.search.queries import Answer, Neighbour
from cfamc_zoo.embedding.search.stored import StoredVectors
from cfamc_zoo.embedding.search.thumbnails import picture_of, thumbnail_of
from cfamc_zoo.errors import DataError

SHOWN = 60  # pictures of a group


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        name: its path.
        says: what stands below it.
        uri: the picture as a data URI; "" where it cannot be shown.
        missing: why it cannot be shown.
        mark: "new" of an answer that the row above does not have, else "".
    """

    name: str
    says: str = ""
    uri: str = ""
    missing: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """Pictures that belong together, under a word of what they are."""

    title: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Section:
    """A query with its answers, or a group of duplicates.

    Attributes:
        title: names it.
        note: a sentence; may be empty.
        queries: the query, and the attacked one, if any.
        lines: its answers.
    """

    title: str
    note: str
    queries: list[Picture]
    lines: list[Line]


class Thumbnails:
    """Pictures of the files that stored vectors name, each read once."""

    def __init__(self, vectors: StoredVectors):
        self.vectors = vectors
        self.known: dict[str, tuple[str, str]] = {}

    @property
    def missing(self) -> int:
        """Of how many images there is no picture."""
        return sum(not uri for uri, _ in self.known.values())

    def section_of(self, answer: Answer) -> Section:
        """A query and its neighbours."""
        query = self._picture(answer.query.path, "query")
        return Section(_title(answer), "", [query], [self._line("nearest", answer)])

    def attacked_section(
        self, answers: tuple[Answer, Answer], image: np.ndarray, eps: str, note: str
    ) -> Section:
        """A query and its neighbours, before and under attack.

        Args:
            answers: of the image as it is, and perturbed.
            image: (3, S, S) float32 in [0, 1], perturbed.
            eps: its radius, as it was given.
            note: how much stays.
        """
        before, after = answers
        name, says = before.query.path, f"attacked, {eps}"
        queries = [self._picture(name, "query"), Picture(name, says, picture_of(image))]
        known = {n.row for n in before.neighbours}
        lines = [self._line("as it is", before), self._line(says, after, known)]
        return Section(_title(before), note, queries, lines)

    def group_section(self, group: Group, number: int) -> Section:
        """A group of duplicates, as far as it is not too large to be looked at."""
        shown = group.members[:SHOWN]
        note = "" if shown == group.members else f"The first {SHOWN} are shown"
        pictures = [self._picture(m.path, _similarity(m)) for m in shown]
        title = f"Group {number}: {len(group.members):,} images"
        return Section(title, note, [], [Line("", pictures)])

    def _line(self, title: str, answer: Answer, known: Collection[int] | None = None) -> Line:
        """The neighbours; those that are not among the known rows are marked."""
        pictures = []
        for n in answer.neighbours:
            mark = "new" if known is not None and n.row not in known else ""
            pictures.append(self._picture(n.path, _similarity(n), mark))
        return Line(title, pictures)

    def _picture(self, name: str, says: str, mark: str = "") -> Picture:
        if name not in self.known:
            self.known[name] = self._read(name)
        return Picture(name, says, *self.known[name], mark)

    def _read(self, name: str) -> tuple[str, str]:
        try:
            return thumbnail_of(self.vectors.locate(name)), ""
        except (DataError, ValueError) as error:  # ValueError: a name that no file can have
            return "", str(error)


def _title(answer: Answer) -> str:
    """A query as it was asked for, and what it is."""
    name, path = answer.query.name, answer.query.path
    return name if path in ("", name) else f"{name}: {path}"


def _similarity(neighbour: Neighbour) -> str:
    return f"{neighbour.similarity:.3f}"
