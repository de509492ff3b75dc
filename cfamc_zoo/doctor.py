"""A look at the machine: versions, devices, providers, one embedding, data, network settings."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

from cfamc_zoo.errors import first_line

# Distributions and the module that each is imported as.
PACKAGES = {
    **{name: name for name in ("torch", "torchvision", "huggingface_hub", "safetensors", "onnx")},
    **{name: name for name in ("onnxscript", "jinja2", "typer", "numpy", "rich")},
    "pyarrow": "pyarrow.parquet",
    "pillow": "PIL.Image",
}
# What `pip install 'cfamc-zoo[NAME]'` adds: distributions, and what they are for. A test compares
# them with pyproject.toml, since an installed package's own record may be of an older version.
EXTRAS = {
    "heif": (("pillow-heif",), "reads .heic and .heif images"),
    "s3": (("s3fs",), "reads s3:// addresses"),
    "gs": (("gcsfs",), "reads gs:// addresses"),
    "search": (("usearch",), "makes an index for `search --index`"),
    "timm": (("timm",), "brings timm's networks in, with `export timm:NAME`"),
    "train": (("matplotlib", "tensorboard"), "draws and logs with `train --plot --tensorboard`"),
    "docs": (
        ("sphinx", "furo", "myst-nb", "sphinx-copybutton"),
        "builds the documentation",
    ),
    "ray": (("ray",), "embeds on several machines"),
}
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
    findings += [_package(*names) for names in PACKAGES.items()]
    findings += _runtime()
    findings += [_extra(name, *wanted) for name, wanted in EXTRAS.items()]
    for look in (_torch, _providers, _models, _embedding, _data, _kept, _hub):
        try:
            findings += look()
        except Exception as error:  # a broken installation can fail in any way
            remedy = "pip install --force-reinstall cfamc-zoo; if it stays, report it"
            findings.append(Finding("broken", look.__name__.strip("_"), _said(error), remedy))
    return findings


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str, module: str) -> Finding:
    """Installed is not enough: a library of the system that it needs may be missing."""
    version = _version(name)
    if version is None:
        return Finding("broken", name, "not installed", f"pip install {name}")
    try:
        import_module(module)
    except Exception as error:
        remedy = f"pip install --force-reinstall {name}"
        return Finding("broken", name, f"{version}, {_said(error)}", remedy)
    return Finding("ok", name, version)


def _extra(name: str, distributions: tuple[str, ...], purpose: str) -> Finding:
    """What is not needed for the rest, and how to get it."""
    versions = {one: _version(one) for one in distributions}
    missing = [one for one, version in versions.items() if version is None]
    if missing:
        remedy = f"pip install 'cfamc-zoo[{name}]'"
        return Finding("note", f"extra {name}", f"no {', '.join(missing)}: {purpose}", remedy)
    found = ", ".join(f"{one} {version}" for one, version in versions.items())
    return Finding("ok", f"extra {name}", found)


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
    from cfamc_zoo.zoo.onnx.nvidia import torch_remedy

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            yield Finding("ok", f"cuda:{i}", torch.cuda.get_device_name(i))
    else:
        yield Finding("note", "CUDA", "no GPU that torch can use", torch_remedy())
    dtype = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
    yield Finding("ok", "CPU", f"{torch.get_num_threads()} threads, fastest in {dtype}")


def _providers() -> Iterator[Finding]:
    """A provider that is listed may still lack its libraries: each runs a graph of one node."""
    import onnxruntime as ort
    from onnx import TensorProto, helper

    from cfamc_zoo.zoo.onnx.nvidia import PROVIDER, onnx_remedy
    from cfamc_zoo.zoo.onnx.runtime import make_session

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = model.SerializeToString()
    make_session(content, provider="CPUExecutionProvider")
    yield Finding("ok", "ONNX Runtime on CPU", "works")
    try:
        listed = PROVIDER in ort.get_available_providers()
        works = listed and PROVIDER in make_session(content, provider=PROVIDER).get_providers()
    except Exception:  # ONNX Runtime's own exceptions have no public base
        works = False
    if works:
        yield Finding("ok", "ONNX Runtime on CUDA", "works")
    else:
        found = "listed, does not run" if listed else "not in this ONNX Runtime"
        yield Finding("note", "ONNX Runtime on CUDA", found, onnx_remedy())


def _models() -> Iterator[Finding]:
    from cfamc_zoo.zoo.catalogue.registry import list_models
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    for spec in list_models():
        if spec.bundled:
            resolve(spec.name).verify()
            yield Finding("ok", spec.name, "every file as pinned")


def _embedding() -> Iterator[Finding]:
    """What `embed` does, on one image."""
    import numpy as np

    from cfamc_zoo.embedding.settings import Execution, Settings
    from cfamc_zoo.embedding.vectors import embed_images
    from cfamc_zoo.zoo.catalogue.registry import default_model
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    name = default_model()
    image = np.arange(48 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 40, 3)
    vectors = embed_images([image], resolve(name), Settings(), Execution())
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} gives values that are no numbers")
    yield Finding("ok", "embedding", f"one image to {vectors.shape[1]} values, by {name}")


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


def _kept() -> Iterator[Finding]:
    from cfamc_zoo.zoo.onnx.cache import cache_folder

    folder, remedy = cache_folder(), "set CFAMC_ZOO_CACHE to a folder that can be written"
    reason = "this user has no home" if folder is None else _unwritable(folder)
    if reason:
        yield Finding("note", "graph cache", f"{folder or 'none'}: {reason}", remedy)
    else:
        yield Finding("ok", "graph cache", str(folder))


def _unwritable(folder: Path) -> str:
    """Why nothing can be written below a folder, which need not exist; nothing if it can."""
    folder = folder.absolute()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    yield Finding("ok", "Hub", constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        yield Finding("note", "Hub", "HF_HUB_OFFLINE is set", "unset it to pull models")
    cache = Path(constants.HF_HUB_CACHE)
    if reason := _unwritable(cache):
        remedy = "set HF_HOME to a folder that can be written"
        yield Finding("broken", "Hub cache", f"{cache}: {reason}", remedy)
    else:
        yield Finding("ok", "Hub cache", str(cache))
