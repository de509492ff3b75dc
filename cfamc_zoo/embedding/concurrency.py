"""How much happens at a time while images become vectors, chosen from the machine."""

from __future__ import annotations

from dataclasses import dataclass

from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.zoo.cores import usable_cores
from cfamc_zoo.zoo.release.folder import GRAPH, Release

# In batches on a CPU together. A network that looks at all pixels with 64 channels, as ResNets for
# CIFAR do, takes some 0.8 KB a pixel: 1.6 GB, which 64 cores reach with batches of 32.
MOST_PIXELS = 64 * 32 * 32**2


def decoder_threads(threads: int | None) -> int:
    """Threads that read and decode images, beside those of the model.

    One a core keeps all cores at work, whichever of decoding and the model takes longer: Pillow
    decodes outside of Python's lock, and threads that have nothing to do sleep.

    Args:
        threads: to which the user holds the model, and so decoding too; None is one a core.
    """
    cores = usable_cores()
    return min(threads or cores, cores)


@dataclass(frozen=True)
class Sharing:
    """How batches share a model's threads.

    Attributes:
        in_flight: batches in the model at a time.
        threads: of each of them; None is one a core.
    """

    in_flight: int
    threads: int | None


def share(release: Release, settings: Settings, execution: Execution) -> Sharing:
    """How many batches a model is given at a time.

    In ONNX Runtime each core takes a batch of its own: threads that share one wait for each other
    after every layer, and for the decoders that hold up one of them. Of images so large that
    this would fill the memory one batch has all threads, as in torch, which takes its own. A GPU
    has two, so that one is made ready and copied while it computes the other.
    """
    onnx = settings.backend == "onnx" and release.has(GRAPH)
    if _kind(onnx, execution.device) != "cpu":
        return Sharing(2, execution.threads)
    threads = execution.threads or usable_cores()
    pixels = execution.batch_size * release.config.preprocess.size**2
    if onnx and threads * pixels <= MOST_PIXELS:
        return Sharing(threads, 1)
    return Sharing(1, execution.threads)


def _kind(onnx: bool, device: str | None) -> str:
    if onnx:
        return device or "cpu"
    from cfamc_zoo.zoo.device import find_device

    return find_device(device).type
