"""An encoder and a head as one module from images to logits."""

from __future__ import annotations

from torch import Tensor, nn

from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.head import Split
from cfamc_zoo.zoo.network.multicrop import MultiCrop


class Classifier(nn.Module):
    """Images in [0, 1] to logits, as RobustBench, AutoAttack, foolbox and torchattacks expect.

    Attributes:
        classes: names, in the order of the logits.
        feature: what the head reads.
        data: the data set whose labels it was trained on.
        split: of that data, where a part was held out of the head's training.
    """

    def __init__(
        self,
        encoder: Encoder | MultiCrop,
        head: nn.Module,
        *,
        feature: str,
        classes: tuple[str, ...],
        data: str,
        split: Split | None = None,
    ):
        super().__init__()
        self.encoder, self.head = encoder, head
        self.feature, self.classes, self.data = feature, classes, data
        self.split = split

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) floating point in [0, 1] to (N, classes) logits."""
        return self.head(self.encoder(images, self.feature))
