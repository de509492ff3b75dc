"""For `torch.hub.load`: every model of the zoo, in evaluation mode.

torch.hub.load(REPOSITORY, "encoder", name="resnet18-thin-cifar10-free")
"""

from torch import nn

dependencies = ["torch", "torchvision", "huggingface_hub", "safetensors", "numpy", "PIL"]


def encoder(name: str) -> nn.Module:
    """(N, 3, S, S) in [0, 1] to (N, D): `cfamc_zoo.load`.

    Args:
        name: a model's name, a release folder, or ORGANIZATION/NAME[@REVISION] on the Hub.
    """
    import cfamc_zoo

    return cfamc_zoo.load(name)


def classifier(name: str) -> nn.Module:
    """Images to logits, the encoder and its released head: `cfamc_zoo.load_classifier`."""
    import cfamc_zoo

    return cfamc_zoo.load_classifier(name)
