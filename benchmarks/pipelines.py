"""Ways from image files to vectors that `embedding.py` compares.

Each makes ready, untimed, and returns what is timed; that gives how many images it did. They take
the backbone as a plain float32 ONNX file, but for `ours`, which takes a release.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from cfamc_zoo.embedding.inputs import open_inputs
from cfamc_zoo.embedding.job import embed_to_file
from cfamc_zoo.embedding.outputs import Output, locate
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.zoo.images.decoding import read_images
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.folder import open_release

GRAPH = "model.onnx"
BATCH = 32
Run = Callable[[], int]


def files_of(images: Path) -> list[Path]:
    return sorted(path for path in images.rglob("*") if path.is_file())


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])


def ours(release: Path, images: Path) -> Run:
    """The package's own, from opening the model to the file on disk."""
    opened = open_release(release)

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            outcome = embed_to_file(
                open_inputs([str(images)]),
                opened,
                Output(*locate(f"{folder}/vectors.npy")),
                settings=Settings(),
                execution=Execution(device="cpu"),
            )
        return outcome.written

    return run


def runtime_alone(folder: Path, images: Path) -> Run:
    """ONNX Runtime on one tensor that is there already, as often as there are batches."""
    session, batches = session_of(folder), max(1, len(files_of(images)) // BATCH)
    x = np.random.default_rng(0).random((BATCH, 3, 32, 32), dtype=np.float32)

    def run() -> int:
        return sum(len(session.run(None, {"images": x})[0]) for _ in range(batches))

    return run


def reading_alone(images: Path) -> Run:
    """The package's own decoders on all cores, and no model."""
    files = files_of(images)

    def run() -> int:
        return sum(1 for _ in read_images(files, Preprocess()))

    return run


def plain_loop(folder: Path, images: Path) -> Run:
    """Open, convert, resize, run: what a short script does."""
    session, files = session_of(folder), files_of(images)

    def pixels(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        return np.asarray(small, np.float32).transpose(2, 0, 1) / 255

    def run() -> int:
        done = 0
        for i in range(0, len(files), BATCH):
            x = np.stack([pixels(path) for path in files[i : i + BATCH]])
            done += len(session.run(None, {"images": x})[0])
        return done

    return run


def fastembed(folder: Path, images: Path, peers: Path | None) -> Run:
    """fastembed's ImageEmbedding, with this network in the place of one of its models."""
    if peers:
        sys.path.append(str(peers))
    from fastembed import ImageEmbedding

    steps = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 32},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": 32,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))
    model = ImageEmbedding("Qdrant/resnet50-onnx", specific_model_path=str(folder), cuda=False)
    files = [str(path) for path in files_of(images)]

    def run() -> int:
        return sum(1 for _ in model.embed(files, batch_size=BATCH))

    return run


def usual_script(release: Path, images: Path) -> Run:
    """torchvision's ImageFolder, a DataLoader and torch."""
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from cfamc_zoo.zoo.release.loading import load_encoder

    model = load_encoder(open_release(release))
    steps = [transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()]
    data = ImageFolder(str(images), transforms.Compose(steps))

    def run() -> int:
        loader = torch.utils.data.DataLoader(data, 256, num_workers=os.cpu_count() or 1)
        with torch.no_grad():
            return sum(len(model(x)) for x, _ in loader)

    return run
