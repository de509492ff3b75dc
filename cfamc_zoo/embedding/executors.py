"""Who embeds: this process, or the workers of a Ray cluster. The vectors are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cfamc_zoo.embedding.backends import BACKENDS
from cfamc_zoo.errors import UsageError

if TYPE_CHECKING:
    from cfamc_zoo.embedding.inputs import Inputs
    from cfamc_zoo.embedding.job import Outcome
    from cfamc_zoo.embedding.outputs import Output
    from cfamc_zoo.embedding.settings import Execution, Settings
    from cfamc_zoo.zoo.release.folder import Release

RAY = "ray"
WORKER = "onnx"  # the back end in Ray's workers
NAMES = (*BACKENDS, RAY)


def check_executor(backend: str, output: Output, workers: int | None) -> None:
    """Refuses what an executor cannot do, before any work is done.

    Raises:
        UsageError: says what it needs.
    """
    if backend != RAY:
        if workers is not None:
            raise UsageError("--workers is of --backend ray; on one machine give --threads")
        return
    if output.format != "/":
        raise UsageError(
            f"output {str(output.path)!r} is one file, and --backend ray writes several; give "
            "-o FOLDER/"
        )
    if output.existing == "update":
        raise UsageError(
            "--update is not for --backend ray; give --overwrite, or update without Ray"
        )
    if find_spec("ray") is None:
        raise UsageError("--backend ray needs Ray; pip install 'cfamc-zoo[ray]'")


def embed_inputs(
    inputs: Inputs,
    release: Release,
    output: Output,
    *,
    settings: Settings,
    execution: Execution,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> Outcome:
    """Embeds images by the executor that `settings.backend` names, one of `NAMES`.

    Args:
        workers: of Ray; None is as many as the cluster has room for.
        inputs, release, output, settings, execution, advance: as `embed_to_file`.

    Raises:
        UsageError, ReleaseError, DataError, StorageError: as `embed_to_file`.
        ClusterError: as `embed_with_ray`.
    """
    if settings.backend == RAY:
        from cfamc_zoo.embedding.ray_cluster import embed_with_ray

        settings = replace(settings, backend=WORKER)
        return embed_with_ray(
            inputs,
            release,
            output,
            settings=settings,
            execution=execution,
            workers=workers,
            advance=advance,
        )
    from cfamc_zoo.embedding.job import embed_to_file

    return embed_to_file(
        inputs, release, output, settings=settings, execution=execution, advance=advance
    )
