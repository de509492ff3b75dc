"""Labelled images as a network takes them: the one value that is attacked and checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cfamc_zoo.evaluation.arguments import images_of, labels_of


@dataclass(frozen=True)
class Examples:
    """What `LabelledImages` become on a device, or what a person has there already.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64 in 0..classes - 1.
        classes: how many the model knows.
    """

    images: Tensor
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        return self.images.device

    def take(self, rows: Tensor | slice) -> Examples:
        """These alone, by (k,) numbers."""
        if isinstance(rows, Tensor):
            rows = rows.to(self.device)
        return Examples(self.images[rows], self.labels[rows], self.classes)

    def on(self, device: torch.device) -> Examples:
        """The same there, of the types above, whatever `images_of` and `labels_of` take.

        Raises:
            DataError: images outside [0, 1], labels the model does not have, or other types.
        """
        images = images_of(self.images, device)
        labels = labels_of(self.labels, count=len(images), classes=self.classes, device=device)
        return Examples(images, labels, self.classes)
