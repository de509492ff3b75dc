"""The back end that a job's settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.embedding.concurrency import share
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.zoo.release.folder import Release

if TYPE_CHECKING:
    from cfamc_zoo.embedding.backends import Backend


def open_for(release: Release, settings: Settings, execution: Execution) -> Backend:
    """Opens a release for inference, as settings and execution say.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `open_backend`.
    """
    return open_backend(
        release,
        feature=settings.features,
        backend=settings.backend,
        device=execution.device,
        threads=share(release, settings, execution).threads,
    )
