"""Which images a batch holds, and its crops, ready before they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.training.crops import make_views
from cfamc_zoo.training.recipe import Recipe


class Batches:
    """The crops of each batch of a run, by number.

    A batch's images and crops are a function of the seed and its number alone, so a resumed run
    sees what the unbroken one saw. On a GPU the next batch's crops are made on a stream of
    their own while the present batch trains.

    Args:
        recipe: what to draw.
        images: (N, S, S, 3) uint8; all of them are put on the device.
        device: where.
        part: of each batch, this process's images.
    """

    def __init__(self, recipe: Recipe, images: np.ndarray, device: torch.device, part: slice):
        self.recipe, self.part = recipe, part
        self.data = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)
        self.generator = torch.Generator(device)
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.order = (-1, torch.empty(0))  # an epoch, and its order of the images
        self.ahead: tuple[int, Tensor] | None = None  # a batch's number, and its crops

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.data) // self.recipe.batch_size

    def take(self, number: int) -> Tensor:
        """(V * b, 3, S, S) float32 in [0, 1]: crops of batch `number`, counted from the start."""
        if self.stream is None:
            return self._make(number)
        if self.ahead is None or self.ahead[0] != number:
            self._start(number)
        assert self.ahead is not None
        crops = self.ahead[1]
        present = torch.cuda.current_stream(crops.device)
        present.wait_stream(self.stream)
        crops.record_stream(present)
        self._start(number + 1)
        return crops

    def _start(self, number: int) -> None:
        assert self.stream is not None
        with torch.cuda.stream(self.stream):
            self.ahead = (number, self._make(number))

    def _make(self, number: int) -> Tensor:
        self.generator.manual_seed(_seed(self.recipe.seed, number))
        return make_views(self._images(number), self.recipe.views, self.generator, part=self.part)

    def _images(self, number: int) -> Tensor:
        """(B, 3, S, S) uint8: every image once an epoch, in an order of the epoch's own."""
        epoch, batch = divmod(number, len(self))
        if self.order[0] != epoch:
            order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.data))
            self.order = (epoch, torch.from_numpy(order).to(self.data.device))
        chosen = self.order[1][batch * self.recipe.batch_size :][: self.recipe.batch_size]
        return self.data[chosen]


def _seed(seed: int, number: int) -> int:
    """One 63-bit seed from two numbers."""
    state = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))
