"""The encoder that users get: the network, with the three methods that Hub users expect.

Part of the package's face: it may reach what publishes, the network below it may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.network import encoder
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.wrapping import refuse_classifier, wrap_module
from cfamc_zoo.zoo.release.loading import load_encoder, load_probe


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


def load(model: str) -> Encoder:
    """An encoder in evaluation mode, float32.

    Args:
        model: a model's name, of which `list_models` gives the most robust first; a release
            folder; or ORGANIZATION/NAME[@REVISION] on the Hub.

    Raises:
        UnknownNameError: no such model.
        HubError: the Hub cannot be reached or refuses.
        ReleaseError: its files are not what its config pins.
    """
    return Encoder.from_pretrained(model)


def load_classifier(model: str) -> Classifier:
    """The encoder and its released linear head: an nn.Module from images in [0, 1] to logits.

    Args:
        model: as `load` takes it.

    Raises:
        UnknownNameError: no such model.
        ReleaseError: its files are not what its config pins, or it has no probe.
    """
    return load_probe(resolve(model))


def wrap(
    module: nn.Module,
    *,
    size: int = 224,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> Encoder:
    """Any module as an encoder, which `attack_encoder`, `edits` and `probe` take.

    The module itself is in it, not a copy, and is in evaluation mode afterwards. An encoder with a
    head behind it is a classifier, which `attack` takes.

    Args:
        module: from (N, 3, size, size) float32 to vectors (N, D), on any device, its weights
            float32. (N, D, 1, 1) is flattened. Of an object of the transformers library or a
            mapping `image_embeds` or else `pooler_output` is read, else its only tensor (N, D);
            of a tuple its only one. Tokens (N, T, D) and maps are refused: return the one that is
            the vector, such as x[:, 0] or x.mean(1).
        size: pixels a side of its input, and the only size that is then taken.
        mean, std: of the normalization that it was trained with, for pixels in [0, 1], one number
            a channel: a layer before it, so that a radius is one of pixels. By default none.

    Returns:
        An encoder whose "backbone" feature is the vector. `save` and `push` cannot store it, since
        releases hold no code; `cfamc-zoo export timm:NAME` stores timm's networks.

    Raises:
        UsageError: no module, one of timm's or torchvision's with its classifier on, or an
            impossible size, mean or std.
        ModelError: it raises on images of that size, is not float32, or returns no vectors; says
            what to write.
    """
    refuse_classifier(module)
    return wrap_module(Encoder, module, size=size, mean=mean, std=std)
