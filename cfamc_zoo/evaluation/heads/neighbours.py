"""Heads without training: labelled vectors that vote by nearness."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cfamc_zoo.errors import DataError

NEIGHBOURS = 20  # that vote; as in DINO (arXiv 2104.14294)
TEMPERATURE = 0.07  # of the weights
QUERIES = 256  # vectors that are compared at a time


def nearest_votes(
    vectors: Tensor, labels: Tensor, queries: Tensor, classes: int, *, k: int = NEIGHBOURS
) -> Tensor:
    """Plain k-NN: the class that the k nearest vectors vote for, weighted exp(cosine / 0.07).

    Args:
        vectors: (M, D) float32, of labelled images.
        labels: (M,) int64 in 0..classes-1.
        queries: (N, D) float32.
        classes: number of classes.
        k: how many vote; all where there are fewer.

    Returns:
        (N,) int64.

    Source: Wu et al. (arXiv 1805.01978), section 3.4.
    """
    vectors = F.normalize(vectors.float(), dim=1)
    answers = [labels.new_empty(0)]
    for part in F.normalize(queries.float(), dim=1).split(QUERIES):
        cosine, nearest = (part @ vectors.T).topk(min(k, len(vectors)))
        votes = part.new_zeros(len(part), classes)
        votes.scatter_add_(1, labels[nearest], (cosine / TEMPERATURE).exp())
        answers.append(votes.argmax(1))
    return torch.cat(answers)


class NeighbourHead(nn.Module):
    """Weighted nearest neighbours on the cosine, as logits.

    A class's logit is the log of the summed weights exp(cosine / temperature) of its vectors,
    so the argmax is the weighted vote. All vectors vote: with the k nearest alone, an image
    deep inside a class would have no gradient and look robust for want of one.

    Args:
        vectors: (M, D) float32, of labelled images that are not attacked.
        labels: (M,) int64 in 0..classes-1.
        classes: number of classes; one without any vector is never predicted.
        temperature: of the weights.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination
    (arXiv 1805.01978), section 3.4, with k = M.
    """

    vectors: Tensor
    members: Tensor

    def __init__(
        self, vectors: Tensor, labels: Tensor, classes: int, *, temperature: float = TEMPERATURE
    ):
        super().__init__()
        if not len(vectors):
            raise DataError("a nearest-neighbour head needs at least one labelled image")
        self.register_buffer("vectors", F.normalize(vectors.float(), dim=1))
        self.register_buffer("members", F.one_hot(labels, classes).T.bool())
        self.temperature = temperature

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to (N, classes)."""
        weights = F.normalize(features.float(), dim=1) @ self.vectors.T / self.temperature
        votes = weights[:, None].masked_fill(~self.members, -1e4)
        return torch.logsumexp(votes, dim=2)
