"""How often a search with a changed image finds the image itself."""

from __future__ import annotations

from cfamc_zoo.evaluation.intervals import wilson


class Retrieval:
    """Whatever knows whose clean vector is nearest to each changed image's."""

    nearest: list[int]

    @property
    def retrieved(self) -> list[bool]:
        """One an image: whether a search with the changed image still finds the image."""
        return [found == i for i, found in enumerate(self.nearest)]

    @property
    def retrieval(self) -> tuple[float, float, float]:
        """Top-1 retrieval accuracy and its 95% interval, percent."""
        n, k = len(self.nearest), sum(self.retrieved)
        low, high = wilson(k, n)
        return 100 * k / n, 100 * low, 100 * high
