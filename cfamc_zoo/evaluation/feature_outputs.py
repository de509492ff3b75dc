"""How pushed and pulled images are written: what each part and each row is."""

from __future__ import annotations

from typing import Any

import numpy as np

from cfamc_zoo.evaluation.features import partners
from cfamc_zoo.evaluation.ledger import Ledger


def saved_parts(
    epsilons: list[str], seed: int, ledger: Ledger, labels: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What `outputs.save` is told of the images: of each radius come the pushed, then the pulled.

    Args:
        epsilons: radii as they were given.
        seed: of the pairs.
        ledger: with the verdicts.
        labels: further columns of N values.
    """
    left, right = partners(ledger.n, seed)
    partner = np.full(ledger.n, -1, np.int64)  # of the one without, if n is odd
    partner[left], partner[right] = right, left
    parts = [(kind, eps) for eps in epsilons for kind in ("push", "pull")]
    return {
        "parts": {"attack": [k for k, _ in parts], "eps": [e for _, e in parts]},
        "rows": {"partner": partner, **labels},
        "stands": [(ledger.stage(*part).verdicts == 1).tolist() for part in parts],
    }
