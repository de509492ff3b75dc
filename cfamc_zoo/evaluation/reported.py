"""Results that a program has in memory, written as a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.evaluation.outputs import check_path


class Reported(ABC):
    """What writes itself as a page."""

    def report(self, path: str | PathLike[str]) -> None:
        """Writes a page with the numbers, a chart and pictures: one file that stands alone.

        Args:
            path: ends in .html; must not exist.

        Raises:
            UsageError: another suffix, or no such folder.
            OutputExistsError: it exists.
            StorageError: it cannot be written.
        """
        path = Path(path)
        check_path(path, (".html",))
        page = self._html()
        with atomic_file(path) as temporary:
            temporary.write_text(page, encoding="utf-8")

    @abstractmethod
    def _html(self) -> str:
        """The page."""
