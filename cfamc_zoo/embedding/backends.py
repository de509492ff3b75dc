"""Features of a batch: ONNX Runtime without torch, or torch. The same vectors from both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.zoo.release.folder import GRAPH, PROJECTOR, Release

if TYPE_CHECKING:
    import numpy as np

    Backend = Callable[[np.ndarray], np.ndarray]  # (N, 3, S, S) float32 in [0, 1] to (N, D) float32
    Opener = Callable[[Release, str, str | None, int | None], Backend]


def open_backend(
    release: Release,
    *,
    feature: str,
    backend: str = "onnx",
    device: str | None = None,
    threads: int | None = None,
) -> Backend:
    """Opens a release for inference.

    Args:
        feature: one that the network has; "projection" with torch alone.
        backend: one of `BACKENDS`; a release without a graph, as training leaves it, takes torch.
        device: "cpu", "cuda", ...; None is the CPU for ONNX Runtime, the GPU if any for torch.
        threads: CPU threads; None is one a core.

    Raises:
        UnknownNameError: no such feature or back end.
        UsageError: what was asked for is not in the release or not on this machine.
        ReleaseError: the release's files are not what its config pins.
    """
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    release.config.architecture.dimension(feature)
    if feature == "projection" and not release.has(PROJECTOR):
        raise UsageError(
            f"release {release.config.name!r} has no projector, so no projection; use the "
            "backbone or the representation"
        )
    return BACKENDS[backend](release, feature, device, threads)


def _onnx(release: Release, feature: str, device: str | None, threads: int | None) -> Backend:
    if not release.has(GRAPH):
        return _torch(release, feature, device, threads)
    if device in (None, "cpu"):
        from cfamc_zoo.zoo.onnx.cache import open_kept_session

        return open_kept_session(release, feature, threads=threads)
    from cfamc_zoo.zoo.onnx.session import open_session

    return open_session(release, feature, device=device, threads=threads)


def _torch(release: Release, feature: str, device: str | None, threads: int | None) -> Backend:
    import torch

    from cfamc_zoo.zoo.device import find_device
    from cfamc_zoo.zoo.release.loading import load_encoder

    torch_device = find_device(device)
    if threads:
        torch.set_num_threads(threads)
    layout = getattr(torch, release.config.architecture.layout(torch_device.type))
    encoder = load_encoder(release).to(torch_device).to(memory_format=layout)

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(images).to(torch_device, memory_format=layout)
            features: np.ndarray = encoder(x, feature).cpu().numpy()
        return features

    return embed


BACKENDS: dict[str, Opener] = {"onnx": _onnx, "torch": _torch}
