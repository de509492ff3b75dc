"""Cases that only widen what `make test` checks already; `make test-all` runs them."""

import pytest


def sweep(*values):
    """A case of `pytest.mark.parametrize`."""
    return pytest.param(*values, marks=pytest.mark.sweep)
