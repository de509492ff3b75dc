"""How an evaluation is gone through: its draws, its batches, what is kept and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cfamc_zoo.evaluation.ledger import Ledger
from cfamc_zoo.progress import Say

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 64  # pixels a side, up to which batches are whole
FEWEST = 8  # images at a time, unless memory runs out: a CPU that swaps does not say so
Advance = Callable[[int, str], None]  # takes how many more are done, and what is going on


def _untold(*what: object) -> None:
    """Where nobody is told."""


@dataclass(frozen=True)
class Run:
    """One going through of images; of all this the seed alone changes what comes out.

    Attributes:
        seed: of all draws.
        batch_size: images at a time, halved when memory runs out; None is 128, 512 on a GPU, and
            of images over 64 x 64 pixels as many fewer as they are larger, 8 at least.
        ledger: takes down what is found; what it knows already is not measured again. None is
            one in memory, which is dropped.
        advance: told after each batch how many more images are done, and what is going on.
        say: told what a person should know.
    """

    seed: int = 0
    batch_size: int | None = None
    ledger: Ledger | None = None
    advance: Advance = _untold
    say: Say = _untold

    def batch_of(self, images: Tensor) -> int:
        """Of (N, C, H, W) images how many at a time, where they are."""
        if self.batch_size is not None:
            return self.batch_size
        usual = 512 if images.device.type == "cuda" else 128
        larger = images.shape[-2] * images.shape[-1] / SMALL**2
        return max(FEWEST, int(usual / max(1.0, larger)))

    def ledger_of(self, n: int) -> Ledger:
        """What takes down n images."""
        return Ledger(n) if self.ledger is None else self.ledger

    def seeds(self, rows: Tensor) -> list[int]:
        """One an image, by its (k,) number, so that its draws do not depend on its batch."""
        return [self.seed * 2**32 + i for i in rows.tolist()]

    def alone(self) -> Run:
        """The same draws and batches of which nothing is kept and nobody is told."""
        return Run(self.seed, self.batch_size)


PLAIN = Run()  # where nobody says otherwise
