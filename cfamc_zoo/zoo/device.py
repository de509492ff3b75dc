"""Devices, and which floating point type is fast on them. Training and attacks share the answer."""

from __future__ import annotations

import platform
from typing import Any

import torch

from cfamc_zoo.errors import UsageError
from cfamc_zoo.version import __version__


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it (GPUs since Ampere, CPUs with AVX512-BF16 or
    AMX), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if capable else torch.float32
    return torch.float32


def find_device(name: str | None) -> torch.device:
    """The device of that name, or the GPU where there is one, else the CPU.

    Raises:
        UsageError: no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown; give cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r} is not here: {torch.cuda.device_count()} CUDA devices are visible; "
            "use cpu, or look at `cfamc-zoo doctor`"
        )
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device {name!r} is not supported; give cpu, cuda, cuda:N or mps")
    return device


def described(device: torch.device) -> str:
    """A device with its maker's name, as results and releases record it: "cuda: NVIDIA H200"."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{device.type}: {name}"


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and device, as results record them."""
    import onnxruntime

    return {
        "versions": {
            "cfamc-zoo": __version__,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
        "device": described(device),
    }
