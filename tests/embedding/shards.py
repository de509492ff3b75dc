"""Tiny images and archives of them."""

import io
import tarfile

import numpy as np
from PIL import Image


def png(seed, shape=(12, 12, 3)):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def tar(members, mode="w"):
    """The bytes of a tar file of (name, content) pairs."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(content), 1_000_000_000
            archive.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def contents(items):
    """Name and content, or the reason why there is none, of each item."""
    from cfamc_zoo.errors import DataError

    found = []
    for item in items:
        try:
            content = item.content()
        except DataError as error:
            content = str(error)
            if "\n" in content:
                raise AssertionError(content) from error
        found.append((item.name, content))
    return found
