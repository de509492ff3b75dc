"""A look at the machine: versions, devices, providers, data, network settings."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

PACKAGES = (
    *("torch", "torchvision", "huggingface_hub", "safetensors", "onnx"),
    *("typer", "pyarrow", "pillow", "numpy", "rich"),
)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["ok", "note", "broken"]
    what: str
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Looks at everything; never raises."""
    findings = [Finding("ok", "Python", platform.python_version())]
    findings += [_package(name) for name in PACKAGES]
    findings += _runtime()
    for look in (_torch, _providers, _models, _data, _hub):
        try:
            findings += look()
        except Exception as error:  # a broken installation can fail in any way
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            findings.append(Finding("broken", look.__name__.strip("_"), text, "reinstall it"))
    return findings


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding("broken", name, "not installed", f"pip install {name}")
    return Finding("ok", name, version)


def _runtime() -> list[Finding]:
    """Two distributions share the module onnxruntime: the later one overwrites the earlier."""
    there = {name: version for name in RUNTIMES if (version := _version(name))}
    found = ", ".join(f"{name} {version}" for name, version in there.items())
    if len(there) == 2:
        remedy = (
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu "
            "(or onnxruntime, for the CPU alone)"
        )
        return [Finding("broken", "ONNX Runtime", f"{found}, over each other", remedy)]
    if not there:
        return [Finding("broken", "ONNX Runtime", "not installed", "pip install onnxruntime")]
    return [Finding("ok", "ONNX Runtime", found)]


def _torch() -> Iterator[Finding]:
    import torch

    from cfamc_zoo.zoo.device import fast_dtype

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            yield Finding("ok", f"cuda:{i}", torch.cuda.get_device_name(i))
    else:
        yield Finding("note", "CUDA", "no GPU that torch can use", "training needs one to be quick")
    dtype = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
    yield Finding("ok", "CPU", f"{torch.get_num_threads()} threads, fastest in {dtype}")


def _providers() -> Iterator[Finding]:
    """A provider that is listed may still lack its libraries: each runs a graph of one node."""
    import onnxruntime as ort
    from onnx import TensorProto, helper

    from cfamc_zoo.zoo.onnx_runtime import make_session

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for name in ("CPUExecutionProvider", "CUDAExecutionProvider"):
        if name not in ort.get_available_providers():
            continue
        try:
            works = name in make_session(model.SerializeToString(), provider=name).get_providers()
        except Exception:  # ONNX Runtime's own exceptions have no public base
            works = False
        if works:
            yield Finding("ok", f"ONNX Runtime on {name[:-17]}", "works")
        else:
            remedy = "no GPU, or CUDA and cuDNN are not those it wants; the CPU is used"
            yield Finding("note", f"ONNX Runtime on {name[:-17]}", "listed, does not run", remedy)


def _models() -> Iterator[Finding]:
    from cfamc_zoo.zoo.registry import list_models, resolve

    for spec in list_models():
        if spec.bundled:
            resolve(spec.name).verify()
            yield Finding("ok", spec.name, "every file as pinned")


def _data() -> Iterator[Finding]:
    from cfamc_zoo.datasets import NAMED

    root = os.environ.get("CFAMC_ZOO_DATA")
    for name, source in NAMED.items():
        folder = Path(root or "", name, source.folder)
        if root and any(folder.glob("*.parquet")):
            yield Finding("ok", name, str(folder))
        else:
            remedy = f"set CFAMC_ZOO_DATA, or it comes from {source.repo} on the Hub"
            yield Finding("note", name, "not under $CFAMC_ZOO_DATA", remedy)


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    yield Finding("ok", "Hub", constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        yield Finding("note", "Hub", "HF_HUB_OFFLINE is set", "unset it to pull models")
    cache = Path(constants.HF_HUB_CACHE)
    nearest = next(p for p in (cache, *cache.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            yield Finding("ok", "Hub cache", str(cache))
    except OSError as error:
        remedy = "set HF_HOME to a folder that can be written"
        yield Finding("broken", "Hub cache", f"{cache}: {error.strerror}", remedy)
