"""An encoder out of a program: to a folder, or to the Hub."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export import push as hub
from cfamc_zoo.export.release import check_release, save_encoder
from cfamc_zoo.zoo.catalogue.resolve import open_folder
from cfamc_zoo.zoo.network.encoder import Encoder

COMPARED = 256  # images of the sample on which the back ends are compared
CHECKED = 64  # the same before a push, of a folder that was compared when it was made


def save(encoder: Encoder, folder: str | Path) -> None:
    """Writes a release folder: weights, ONNX graph and card, checked before it appears.

    Args:
        folder: must not exist; its name becomes the model's.

    Raises:
        OutputExistsError: it does.
        ReleaseError: a check failed; nothing is left behind.
        StorageError: it cannot be written; nothing is left behind.
    """
    sample = load_dataset("cifar10-sample", limit=COMPARED)
    save_encoder(encoder, folder, images=sample.images, data=sample.name)


def push(
    model: Encoder | str | Path,
    repo: str,
    *,
    visibility: hub.Visibility = "public",
    revision: str = "main",
) -> str:
    """Publishes an encoder or a release folder to the Hub in one commit; returns its address.

    Args:
        repo: "organization/name"; made if missing.
        visibility: of a repository that is made.
        revision: branch; made if missing.

    Raises:
        ReleaseError: a check failed; nothing is published.
        HubError: no token, no access, or the Hub cannot be reached.
    """
    with TemporaryDirectory(prefix="cfamc-zoo-") as temporary:
        if isinstance(model, str | Path):
            folder = Path(model)
        else:
            folder = Path(temporary) / repo.split("/")[-1]
            save(model, folder)
        release = open_folder(folder)
        hub.check_pushable(release)
        check_release(release, load_dataset("cifar10-sample", limit=CHECKED).images)
        plan = hub.plan_push(release, repo, visibility=visibility, branch=revision)
        return hub.push(plan).url
