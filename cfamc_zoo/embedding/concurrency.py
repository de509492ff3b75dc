"""How much happens at a time while images become vectors, chosen from the machine."""

from __future__ import annotations

from cfamc_zoo.zoo.cores import usable_cores


def decoder_threads(threads: int | None) -> int:
    """Threads that read and decode images, beside those of the model.

    One a core keeps all cores at work, whichever of decoding and the model takes longer: Pillow
    decodes outside of Python's lock, and threads that have nothing to do sleep.

    Args:
        threads: to which the user holds the model, and so decoding too; None is one a core.
    """
    cores = usable_cores()
    return min(threads or cores, cores)


def batches_in_flight(backend: str, device: str | None) -> int:
    """Batches that are in the model at a time.

    A GPU is given two, so that one is made ready and copied while it computes the other. On a
    CPU one batch fills all of the model's threads.

    Args:
        backend, device: as `open_backend` takes them.
    """
    if backend == "torch":
        from cfamc_zoo.zoo.device import find_device

        kind = find_device(device).type
    else:
        kind = device or "cpu"
    return 1 if kind == "cpu" else 2
