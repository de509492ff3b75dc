"""Whether this machine has a GPU that CUDA can use, and what to do where one is not used."""

from __future__ import annotations

import ctypes
import sys

DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
PROVIDER = "CUDAExecutionProvider"


def gpu_count() -> int | None:
    """How many GPUs NVIDIA's driver offers to this process; None without a driver."""
    try:
        driver = ctypes.CDLL(DRIVERS[sys.platform])
    except (KeyError, OSError):
        return None
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


def driver_remedy() -> str | None:
    """What keeps every program from a GPU here, and what to do; None where there is one."""
    found = gpu_count()
    if sys.platform == "darwin":
        return "macOS has no CUDA; use --device cpu"
    if found is None:
        return "no NVIDIA driver here: install it if there is an NVIDIA GPU, else use --device cpu"
    if found == 0:
        return (
            "NVIDIA's driver offers no GPU: look at `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use "
            "--device cpu"
        )
    return None


def onnx_remedy() -> str:
    """What to do where ONNX Runtime does not run on a GPU."""
    import onnxruntime as ort

    if remedy := driver_remedy():
        return remedy
    if PROVIDER not in ort.get_available_providers():
        return (
            "this ONNX Runtime is for the CPU: pip uninstall -y onnxruntime, then pip install "
            "onnxruntime-gpu; until then use --backend torch"
        )
    return (
        f"ONNX Runtime {ort.__version__} does not find the CUDA and cuDNN that it wants: pip "
        "install 'onnxruntime-gpu[cuda,cudnn]'; until then use --backend torch"
    )


def torch_remedy() -> str:
    """What to do where torch does not run on a GPU."""
    import torch

    if remedy := driver_remedy():
        return remedy
    if torch.version.cuda is None:
        return (
            "this torch is for the CPU: install the one for CUDA, as "
            "https://pytorch.org/get-started/locally says"
        )
    return (
        f"torch wants CUDA {torch.version.cuda}, which this GPU or its driver lacks: update the "
        "driver, or install an older torch as https://pytorch.org/get-started/locally says"
    )
