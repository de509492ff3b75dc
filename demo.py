"""The main job on the bundled sample: images to vectors, then how robust the encoder is.

Writes demo-output/images/*.png and demo-output/embeddings.parquet. Run by `make demo`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from cfamc_zoo.datasets import load_dataset

OUTPUT = Path("demo-output")


def zoo(*arguments: str) -> None:
    sys.stderr.write(f"\n$ cfamc-zoo {' '.join(arguments)}\n")
    subprocess.run([sys.executable, "-m", "cfamc_zoo", *arguments], check=True)


shutil.rmtree(OUTPUT, ignore_errors=True)
(OUTPUT / "images").mkdir(parents=True)
sample = load_dataset("cifar10-sample")
for row, (image, label) in enumerate(zip(sample.images, sample.labels, strict=True)):
    Image.fromarray(image).save(OUTPUT / "images" / f"{row:04}-{sample.classes[label]}.png")

zoo("list")
model = ("-m", "resnet18-cifar10-free")
zoo("embed", str(OUTPUT / "images"), *model, "-o", str(OUTPUT / "embeddings.parquet"))
zoo("attack", *model, "--eps", "8/255", "--limit", "100")
