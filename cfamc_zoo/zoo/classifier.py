"""An encoder and a head as one module from images to logits."""

from __future__ import annotations

import json
from dataclasses import asdict

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from cfamc_zoo.errors import ReleaseError, ZooError, first_line
from cfamc_zoo.zoo.encoder import Encoder
from cfamc_zoo.zoo.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.probe_file import Split, read_head


class Classifier(nn.Module):
    """Images in [0, 1] to logits, as RobustBench, AutoAttack, foolbox and torchattacks expect.

    Attributes:
        classes: names, in the order of the logits.
        feature: what the head reads.
        data: the data set whose labels it was trained on.
        split: of that data, where a part was held out of the head's training.
    """

    def __init__(
        self,
        encoder: Encoder | MultiCrop,
        head: nn.Module,
        *,
        feature: str,
        classes: tuple[str, ...],
        data: str,
        split: Split | None = None,
    ):
        super().__init__()
        self.encoder, self.head = encoder, head
        self.feature, self.classes, self.data = feature, classes, data
        self.split = split

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) floating point in [0, 1] to (N, classes) logits."""
        return self.head(self.encoder(images, self.feature))


def probe_bytes(classifier: Classifier) -> bytes:
    """The head as a safetensors file; what it reads and its class names are in the metadata."""
    metadata = {
        "feature": classifier.feature,
        "data": classifier.data,
        "classes": json.dumps(classifier.classes),
    }
    if isinstance(classifier.encoder, MultiCrop):
        metadata["crops"] = json.dumps(classifier.encoder.plan.to_json())
    if classifier.split is not None:
        metadata["split"] = json.dumps(asdict(classifier.split))
    tensors = {k: v.detach().cpu().contiguous() for k, v in classifier.head.state_dict().items()}
    return save(tensors, metadata)


def attach_probe(encoder: Encoder, content: bytes, where: str) -> Classifier:
    """A classifier from an encoder and the bytes of a probe file.

    A probe that was fitted to the mean over several crops reads that mean.

    Raises:
        ReleaseError: not a probe, or one for another feature width.
    """
    try:
        tensors = load(content)
        found = read_head(content, where)
        plan = CropPlan(**found.crops) if found.crops is not None else None
    except ReleaseError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ZooError) as error:
        raise ReleaseError(
            f"{where} is not a probe: {first_line(error)}; train one with "
            "`cfamc-zoo probe -o head.safetensors`"
        ) from error
    feature, classes = found.feature, found.classes
    if set(tensors) != {"weight", "bias"}:
        raise ReleaseError(f"{where} reads {feature!r} with {sorted(tensors)}; it is not a probe")
    expected = (len(classes), encoder.architecture.dimension(feature))
    if tuple(tensors["weight"].shape) != expected or tensors["bias"].shape != expected[:1]:
        raise ReleaseError(
            f"{where} has a head of {tuple(tensors['weight'].shape)}, this encoder needs "
            f"{expected}; train one with `cfamc-zoo probe -o head.safetensors`"
        )
    head = nn.Linear(expected[1], expected[0])
    head.load_state_dict({k: v.float() for k, v in tensors.items()})
    head.eval().requires_grad_(False)
    reader = MultiCrop(encoder, plan) if plan else encoder
    classifier = Classifier(
        reader, head, feature=feature, classes=classes, data=found.data, split=found.split
    )
    # The whole module: packages that attack a model look at its own flag, and put every layer
    # back into the mode that it says.
    return classifier.eval()
