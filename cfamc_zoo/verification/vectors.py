"""Whether the encoder gives here what it gave where it was made, by torch and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cfamc_zoo.datasets import SAMPLES, load_dataset
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.export.golden import vectors_of
from cfamc_zoo.export.parity import RELATIVE_LIMIT, Parity, find_parity
from cfamc_zoo.verification.finding import Depth, Finding, Terms, Verdict
from cfamc_zoo.zoo.release.folder import GOLDEN, GRAPH, Release
from cfamc_zoo.zoo.release.golden import read_golden
from cfamc_zoo.zoo.release.results import differences, read_results

TOLERANCE = f"{RELATIVE_LIMIT:g}"
COMPARED: dict[Depth, int] = {"quick": 64, "full": 256}  # images that both back ends take


def check_parity(release: Release, terms: Terms) -> Iterator[Finding]:
    """The graph gives what the weights give in torch."""
    if not release.has(GRAPH):
        yield Finding("onnx", GRAPH, "", "", TOLERANCE, Verdict.NOT_STORED)
        return
    said = {
        row.feature: f"{row.value:.1e}"
        for row in differences(read_results(release))
        if row.metric == "largest relative difference"
    }
    n = min(terms.limit or COMPARED[terms.depth], COMPARED[terms.depth])
    images = load_dataset(next(iter(SAMPLES)), limit=n).images
    for feature, parity in find_parity(release, images).items():
        yield _compared(feature, said.get(feature, f"at most {RELATIVE_LIMIT:g}"), parity)


def _compared(feature: str, claim: str, parity: Parity) -> Finding:
    return Finding(
        "onnx",
        feature,
        claim,
        f"{parity.relative:.1e}",
        TOLERANCE,
        Verdict.HOLDS if parity.relative <= RELATIVE_LIMIT else Verdict.FAILS,
        numbers={"measured": parity.relative, "allowed": RELATIVE_LIMIT, "images": parity.images},
    )


def check_golden(release: Release, terms: Terms) -> Iterator[Finding]:
    """The vectors of a few images have the values that were kept of them."""
    golden = read_golden(release)
    if golden is None:
        yield Finding("golden values", GOLDEN, "", "", TOLERANCE, Verdict.NOT_STORED)
        return
    if golden.data not in SAMPLES:
        raise ReleaseError(f"{GOLDEN} is of {golden.data!r}, which is not in the package")
    taken = max(1, *map(len, golden.values.values()))
    vectors = vectors_of(release, load_dataset(golden.data, limit=taken).images)
    for feature in vectors:
        yield _kept(feature, golden.values.get(feature, []), vectors[feature])


def _kept(feature: str, kept: list[list[float]], vectors: np.ndarray) -> Finding:
    """(N, D) float32 beside the values that were kept of them."""
    vectors = vectors[: len(kept)]
    count = sum(map(len, kept))
    if not count:
        raise ReleaseError(f"{GOLDEN} has no values of {feature}; export the release again")
    if len(kept) > len(vectors) or any(len(row) > vectors.shape[1] for row in kept):
        raise ReleaseError(f"{GOLDEN} has more values of {feature} than there are; export it again")
    apart = [v[: len(row)] - np.array(row) for row, v in zip(kept, vectors, strict=True)]
    # By what is measured here: a large value in the file would make any difference a small one.
    largest = max(float(np.abs(vectors).max()), 1e-12)
    relative = float(np.abs(np.concatenate(apart)).max()) / largest
    return Finding(
        "golden values",
        feature,
        f"{count} values",
        f"{relative:.1e} apart",
        TOLERANCE,
        Verdict.HOLDS if relative <= RELATIVE_LIMIT else Verdict.FAILS,
        numbers={"measured": relative, "allowed": RELATIVE_LIMIT, "images": len(kept)},
    )
