"""Confidence intervals of accuracies."""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # 97.5% quantile of the standard normal distribution


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a proportion.

    Args:
        successes: 0..n.
        n: trials, at least 1.

    Returns:
        Low and high, in 0..1.

    Source: Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    p, z2 = successes / n, Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
