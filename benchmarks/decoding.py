"""JPEG to the model's input: what decoding at a fraction of its size saves, and what it changes.

    python benchmarks/decoding.py [PHOTO ...] [--peers FOLDER] [-o docs/decoding]

Without photos, CIFAR images are enlarged and given texture. Photos are tiled, mirrored, up to the
sizes that are measured, so that they stay as sharp as they are. simplejpeg and pyvips are compared
where they are installed, or with --peers, where `pip install --target FOLDER simplejpeg
pyvips[binary]` has put them. -o writes FILE.json and FILE.md.

Times are of the processor, not of the clock, and the best of some tries: other programs on the
machine hardly change them. Differences are those of the model's input, in steps of 255, to full
decoding; the cosine is that of the vectors of the smallest bundled encoder, whose inputs
are 32 x 32.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.embedding.backends import Backend, open_backend
from cfamc_zoo.zoo.catalogue.registry import default_model
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.images import reduction
from cfamc_zoo.zoo.images.preprocess import crop, read_image, to_input
from cfamc_zoo.zoo.network.spec import Preprocess

SIZES = ((500, 375), (4000, 3000))
INPUTS = (32, 224)
FACTORS = (1, 2, 3, 4)
NEVER = 10**6  # a factor that no image allows
Way = Callable[[bytes, int], np.ndarray]


def photographs(files: list[Path]) -> list[Image.Image]:
    if files:
        return [Image.open(file).convert("RGB") for file in files]
    random = np.random.default_rng(0)
    found = []
    for pixels in load_dataset("cifar10-sample").images[:8]:
        large = Image.fromarray(pixels).resize((640, 640), Image.Resampling.BICUBIC)
        texture = sum(
            np.asarray(
                Image.fromarray(random.normal(0, 7, (side, side)).astype(np.float32)).resize(
                    (640, 640), Image.Resampling.BICUBIC
                )
            )
            for side in (80, 160, 320, 640)
        )
        textured = np.asarray(large) + np.asarray(texture)[..., None]
        found.append(Image.fromarray(textured.clip(0, 255).astype(np.uint8)))
    return found


def as_jpeg(photo: Image.Image, width: int, height: int, subsampling: str) -> bytes:
    pixels = np.asarray(photo)
    for axis in (0, 1):
        pixels = np.concatenate([pixels, np.flip(pixels, axis)], axis)
    times = (height // pixels.shape[0] + 1, width // pixels.shape[1] + 1, 1)
    tiled = np.tile(pixels, times)[:height, :width]
    file = io.BytesIO()
    Image.fromarray(tiled).save(file, "JPEG", quality=90, subsampling=subsampling)
    return file.getvalue()


def ours(factor: int) -> Way:
    def way(content: bytes, size: int) -> np.ndarray:
        reduction.LEAST = factor
        return read_image(content, Preprocess(size=size))

    return way


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    box = crop(pixels.shape[1], pixels.shape[0], size, size)
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image)


def peers() -> Iterator[tuple[str, Way]]:
    """Other decoders, at the package's own factor where they can reduce."""
    if util.find_spec("simplejpeg"):
        import simplejpeg

        def simple(content: bytes, size: int) -> np.ndarray:
            least = 2 * size
            pixels = simplejpeg.decode_jpeg(content, min_width=least, min_height=least)
            return resized(pixels, size)

        yield "simplejpeg, 2 x the input", simple
    if util.find_spec("pyvips"):
        os.environ["VIPS_CONCURRENCY"] = "1"
        import pyvips

        pyvips.cache_set_max(0)  # or it would decode each image once

        def vips(content: bytes, size: int) -> np.ndarray:
            whole = pyvips.Image.new_from_buffer(content, "")
            allowed = min(whole.width, whole.height) // (2 * size)
            shrink = max(s for s in (1, 2, 4, 8) if s <= max(1, allowed))
            image = pyvips.Image.new_from_buffer(content, "", shrink=shrink, access="sequential")
            return resized(image.numpy(), size)

        yield "pyvips, 2 x the input", vips
    if util.find_spec("torchvision"):
        import torch
        from torchvision.io import decode_jpeg

        def vision(content: bytes, size: int) -> np.ndarray:
            read = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            return resized(decode_jpeg(read).permute(1, 2, 0).contiguous().numpy(), size)

        yield "torchvision.io, in full", vision


def milliseconds(
    ways: dict[str, Way], contents: list[bytes], size: int, tries: int
) -> dict[str, float]:
    """The mean over images of each one's best try; a slow phase of the machine meets all ways."""
    best = {name: np.full(len(contents), np.inf) for name in ways}
    for _ in range(tries):
        for i, content in enumerate(contents):
            for name, way in ways.items():
                start = time.process_time()
                way(content, size)
                best[name][i] = min(best[name][i], time.process_time() - start)
    return {name: 1000 * float(seconds.mean()) for name, seconds in best.items()}


def lowest_cosine(inputs: np.ndarray, full: np.ndarray, encoder: Backend) -> float:
    a, b = encoder(to_input(inputs)), encoder(to_input(full))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / norms).min())


def measure(photos: list[Image.Image], tries: int) -> Iterator[dict[str, Any]]:
    ways = {
        "in full": ours(NEVER),
        **{f"{factor} x the input": ours(factor) for factor in FACTORS},
        **dict(peers()),
    }
    encoder = open_backend(resolve(default_model()), feature="backbone", threads=1)
    for width, height in SIZES:
        chroma = ("4:2:0", "4:4:4") if width < 1000 else ("4:2:0",)
        contents = [as_jpeg(p, width, height, s) for p in photos for s in chroma]
        for size in INPUTS:
            full = np.stack([ways["in full"](content, size) for content in contents])
            spent = milliseconds(ways, contents[:4], size, tries if width < 1000 else 2)
            for name, way in ways.items():
                inputs = np.stack([way(content, size) for content in contents])
                apart = np.abs(inputs.astype(int) - full)
                row = {
                    "image": f"{width} x {height}",
                    "input": size,
                    "decoded": name,
                    "milliseconds": round(spent[name], 3),
                    "times_as_fast": round(spent["in full"] / spent[name], 2),
                    "mean_difference": round(float(apart.mean()), 3),
                    "largest_difference": int(apart.max()),
                }
                if size == INPUTS[0]:
                    row["lowest_cosine"] = round(lowest_cosine(inputs, full, encoder), 6)
                print(json.dumps(row), flush=True)
                yield row


def page(result: dict[str, Any]) -> str:
    lines = [
        "<!-- Generated by benchmarks/decoding.py. -->",
        "# JPEG decoded at a fraction of its size",
        "",
        f"The package decodes to at least {result['factor']} times the model's input, a side. "
        "Processor time from a file's content to the input, one thread; the difference of the "
        "input to full decoding, in steps of 255; the lowest cosine of the vectors "
        "of the smallest bundled encoder to those of full decoding.",
        "",
        f"{result['photos']} photos, {', '.join(f'{k} {v}' for k, v in result['versions'].items())}"
        f", {result['cores']} cores, {result['date']}.",
        "",
        f"    {result['command']}",
        "",
        "| image | input | decoded | ms | times as fast | mean | largest | cosine |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cosine = f"{row['lowest_cosine']:.5f}" if "lowest_cosine" in row else "-"
        lines.append(
            f"| {row['image']} | {row['input']} | {row['decoded']} | {row['milliseconds']:.2f} | "
            f"{row['times_as_fast']:.1f} | {row['mean_difference']:.2f} | "
            f"{row['largest_difference']} | {cosine} |"
        )
    return "\n".join(lines) + "\n"


def versions() -> dict[str, str]:
    found = {"libjpeg-turbo": features.version("libjpeg_turbo") or "unknown"}
    for name in ("pillow", "simplejpeg", "pyvips", "torchvision"):
        if util.find_spec("PIL" if name == "pillow" else name):
            found[name] = metadata.version(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(str(arguments.peers))
    factor = reduction.LEAST
    names = " ".join(file.name for file in arguments.photos)
    options = " --peers PEERS" if arguments.peers else ""
    result = {
        "command": f"python benchmarks/decoding.py {names}{options}".replace("  ", " ").rstrip(),
        "factor": factor,
        "photos": len(arguments.photos) or 8,
        "versions": versions(),
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "rows": list(measure(photographs(arguments.photos), arguments.tries)),
    }
    if arguments.output:
        text = json.dumps(result, indent=2) + "\n"
        arguments.output.with_suffix(".json").write_text(text)
        arguments.output.with_suffix(".md").write_text(page(result))


if __name__ == "__main__":
    main()
