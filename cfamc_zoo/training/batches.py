"""Which images a batch holds, and its crops, ready before they are asked for."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.training.crops import make_views
from cfamc_zoo.training.recipe import Recipe

RESIDENT = 0.5  # of a GPU's free memory: what images may take there, the rest is for training
CHUNK = 4096  # images that are copied there at a time


class Batches:
    """The crops of each batch of a run, by number.

    A batch's images and crops are a function of the seed and its number alone, so a resumed run
    sees what the unbroken one saw. On a GPU the next batch's crops are made on a stream of
    their own while the present batch trains; images that do not fit there are read a batch
    ahead by a thread.

    Args:
        recipe: what to draw.
        images: (N, S, S, 3) uint8, in memory or mapped from disk; indexed batch by batch where
            they are not put on the device as a whole.
        device: where.
        part: of each batch, this process's images.
    """

    def __init__(self, recipe: Recipe, images: np.ndarray, device: torch.device, part: slice):
        self.recipe, self.part, self.images, self.device = recipe, part, images, device
        self.resident = _on_device(images, device)
        self.generator = torch.Generator(device)
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.order = (-1, torch.empty(0))  # an epoch, and its order of the images
        self.ahead: tuple[int, Tensor] | None = None  # a batch's number, and its crops
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self.read: tuple[int, Future[Tensor]] | None = None  # a batch's number, and its images

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.images) // self.recipe.batch_size

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, S, S)."""
        _, height, width, channels = self.images.shape
        return channels, height, width

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
        """(B, 3, S, S) uint8 on the device."""
        if self.resident is not None:
            return self.resident[self._rows(number)]
        if self.stream is None:
            return _channels_first(_gather(self.images, self._rows(number)))
        if self.read is None or self.read[0] != number:
            self._read(number)
        assert self.read is not None
        batch = self.read[1].result()
        self._read(number + 1)
        return _channels_first(batch.to(self.device, non_blocking=True))

    def _read(self, number: int) -> None:
        rows = self._rows(number)
        job = self.reader.submit(lambda: _gather(self.images, rows).pin_memory())
        self.read = (number, job)

    def _rows(self, number: int) -> Tensor:
        """(B,) int64: every image once an epoch, in an order of the epoch's own."""
        epoch, batch = divmod(number, len(self))
        if self.order[0] != epoch:
            order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.images))
            home = self.device if self.resident is not None else torch.device("cpu")
            self.order = (epoch, torch.from_numpy(order).to(home))
        return self.order[1][batch * self.recipe.batch_size :][: self.recipe.batch_size]


def _on_device(images: np.ndarray, device: torch.device) -> Tensor | None:
    """(N, 3, S, S) uint8 on a GPU, where they leave it enough memory; None elsewhere."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if images.nbytes > RESIDENT * free:
        return None
    n, height, width, channels = images.shape
    resident = torch.empty((n, channels, height, width), dtype=torch.uint8, device=device)
    for first in range(0, n, CHUNK):
        part = torch.from_numpy(np.array(images[first : first + CHUNK]))
        resident[first : first + CHUNK] = part.to(device).permute(0, 3, 1, 2)
    return resident


def _gather(images: np.ndarray, rows: Tensor) -> Tensor:
    """(B, S, S, 3) uint8, read into memory."""
    return torch.from_numpy(np.asarray(images[rows.numpy()]))


def _channels_first(batch: Tensor) -> Tensor:
    return batch.permute(0, 3, 1, 2).contiguous()


def _seed(seed: int, number: int) -> int:
    """One 63-bit seed from two numbers."""
    state = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))
