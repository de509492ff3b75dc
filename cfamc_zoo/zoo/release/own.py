"""A model that somebody's own program made: measured as a release is, but without files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig
from cfamc_zoo.zoo.release.folder import Release

if TYPE_CHECKING:
    from cfamc_zoo.zoo.network.encoder import Encoder


@dataclass(frozen=True)
class OwnModel(Release):
    """What stands for a release where there is none.

    Attributes:
        encoder: the network itself.
        classes: of a classifier, whose logits are the encoder's backbone feature: their names, or
            how many they are where it does not know them; None of an encoder.
    """

    encoder: Any = None
    classes: tuple[str, ...] | int | None = None

    @property
    def digest(self) -> str:
        """sha256 (hex) of all tensors under their names."""
        content = hashlib.sha256()
        for name, tensor in sorted(self.encoder.state_dict().items()):
            content.update(name.encode())
            content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return content.hexdigest()


def own_model(
    name: str, encoder: Encoder, classes: tuple[str, ...] | int | None = None
) -> OwnModel:
    """An encoder under a name, with what is known of the release that it came from, if it did.

    Args:
        name: as a person typed it; it stands where others have a folder.
    """
    known = encoder.config or ReleaseConfig(
        format_version=FORMAT_VERSION,
        name=name,
        architecture=encoder.architecture,
        preprocess=encoder.preprocess,
        threat_model={},
        recipe={},
        provenance={},
        licence="unknown",
    )
    config = replace(known, name=name, files={})
    return OwnModel(Path(name), config, "", encoder=encoder, classes=classes)
