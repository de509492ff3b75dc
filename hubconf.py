"""For `torch.hub`: every model of the zoo, in evaluation mode, without installing this package.

From a checkout, whose path is given; a bundled model then needs no network:

    encoder = torch.hub.load("path/to/checkout", "encoder", "resnet18-cifar10-free", source="local")

From GitHub the first argument is OWNER/REPOSITORY, and `source` is left away.
`cfamc_zoo/zoo/models/` has a file for each name; a release folder and ORGANIZATION/NAME on the
Hugging Face Hub will do as well.
"""

from torch import nn

dependencies = ["torch", "torchvision", "huggingface_hub", "safetensors", "numpy", "PIL"]


def encoder(name: str) -> nn.Module:
    """Images to vectors: (N, 3, S, S) in [0, 1] to (N, D), as `cfamc_zoo.load`.

    Args:
        name: a model's name, a release folder, or ORGANIZATION/NAME[@REVISION] on the Hub.
    """
    import cfamc_zoo

    return cfamc_zoo.load(name)


def classifier(name: str) -> nn.Module:
    """Images to logits, the encoder and its released head: (N, 3, S, S) in [0, 1] to (N, classes).

    Args:
        name: as `encoder` takes it; of a release that has a head.
    """
    import cfamc_zoo

    return cfamc_zoo.load_classifier(name)
