"""Training from Python. Nothing heavy is imported before a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def train(
    recipe: str,
    *,
    data: str | Path | None = None,
    run: str | Path | None = None,
    settings: Sequence[str] = (),
    start: str | None = None,
    resume: bool = False,
    device: str | None = None,
    progress: bool = False,
) -> Path | None:
    """Pretrains an encoder from a recipe, as `cfamc-zoo train` does.

    Args:
        recipe: a recipe's name, or a TOML file.
        data: a named set or a folder of images; None is the recipe's own.
        run: folder of the run; None is runs/ and the recipe's name.
        settings: keys of the recipe, each "key=value" with the key dotted.
        start: the release whose weights it starts from: a name, a folder or a Hub repository.
        resume: goes on with the run in that folder.
        device: "cpu", "cuda", ...; None is the GPU where there is one.
        progress: whether to show a bar on stderr (lines, where there is no terminal).

    Returns:
        The folder of the release, which `load` takes.

    Raises:
        UsageError: an unknown recipe or key, an impossible value.
        OutputExistsError: the folder holds a run, and `resume` is not given.
        DataError, TrainingError, StorageError: no images, a loss that is not finite, a full disk.
    """
    from pathlib import Path

    from cfamc_zoo.progress import shown, silent
    from cfamc_zoo.training.run import job_of, train_here
    from cfamc_zoo.zoo.device import find_device

    job = job_of(
        recipe,
        settings,
        data=None if data is None else str(data),
        run=None if run is None else Path(run),
        start=start,
        resume=resume,
    )
    return train_here(job, find_device(device), shown if progress else silent).release
