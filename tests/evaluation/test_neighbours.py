import pytest
import torch
from torch.nn import functional as F

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.heads.neighbours import NeighbourHead


def test_the_argmax_is_the_weighted_vote():
    generator = torch.Generator().manual_seed(0)
    vectors, queries = (torch.randn(n, 6, generator=generator) for n in (50, 30))
    labels = torch.arange(50) % 4
    head = NeighbourHead(vectors, labels, 5)
    for query, logits in zip(queries, head(queries), strict=True):
        weights = (F.cosine_similarity(query[None], vectors) / 0.07).exp()
        votes = [weights[labels == c].sum() for c in range(4)]
        assert logits.argmax() == max(range(4), key=votes.__getitem__)
        torch.testing.assert_close(logits[:4].exp(), torch.stack(votes), rtol=1e-3, atol=1e-6)


def test_an_image_deep_inside_a_class_still_has_a_gradient():
    head = NeighbourHead(torch.eye(5), torch.arange(5), 5)
    query = torch.eye(5)[:1].clone().requires_grad_()
    loss = F.cross_entropy(head(query), torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss, query)
    assert gradient.abs().max() > 0


def test_it_needs_images():
    with pytest.raises(DataError, match="at least one"):
        NeighbourHead(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long), 5)
