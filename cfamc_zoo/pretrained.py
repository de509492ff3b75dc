"""The encoder that users get: the network, with the three methods that Hub users expect.

Part of the package's face: it may reach what publishes, the network below it may not.
"""

from __future__ import annotations

from pathlib import Path

from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.network import encoder
from cfamc_zoo.zoo.release.loading import load_encoder


class Encoder(encoder.Encoder):
    """A network that comes from and goes to releases; what `cfamc_zoo.load` returns."""

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None) -> Encoder:
        """An encoder by model name, release folder or Hub repository, as `cfamc_zoo.load`.

        Raises:
            ZooError: as `zoo.catalogue.resolve.resolve` and `zoo.release.loading.load_encoder`.
        """
        return load_encoder(resolve(str(name), revision=revision), cls)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes and checks a whole release, as `cfamc_zoo.save`."""
        from cfamc_zoo.export import publish

        publish.save(self, folder)

    def push_to_hub(self, repo: str, *, private: bool = False, revision: str = "main") -> str:
        """Publishes a whole release, as `cfamc_zoo.push`; returns its address."""
        from cfamc_zoo.export import publish

        return publish.push(
            self, repo, visibility="private" if private else "public", revision=revision
        )
