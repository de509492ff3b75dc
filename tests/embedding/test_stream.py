"""Any number of images to vectors: in order, ahead of the model, in bounded memory."""

import itertools
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cfamc_zoo
from cfamc_zoo.embedding import pipeline
from cfamc_zoo.embedding.items import Failed, Held, Item
from cfamc_zoo.embedding.pipeline import embed_files
from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.zoo.network.spec import Preprocess
from tests.embedding.shards import png, tar

SPEC = Preprocess(size=12)


def means(images):
    """A model: the mean of each image."""
    return images.mean((1, 2, 3))[:, None]


def embed(items, **options):
    return list(embed_files(items, means, SPEC, **{"batch_size": 4, **options}))


@pytest.mark.parametrize("decoders", [1, 3])
def test_batches_keep_order_names_and_times_and_say_what_cannot_be_read(decoders):
    items = [Item(str(i), Held(png(i)), size=i, modified=10 * i) for i in range(10)]
    items[5] = Item("bad", Failed("no"))
    batches = embed(items, decoders=decoders)
    assert [len(b.items) + len(b.unreadable) for b in batches] == [4, 4, 2]
    made = [(i.name, i.size, i.modified) for b in batches for i in b.items]
    assert made == [(str(i), i, 10 * i) for i in range(10) if i != 5]
    assert [(u.item.name, u.reason) for b in batches for u in b.unreadable] == [("bad", "no")]
    alone = [embed([item])[0].vectors[0] for i, item in enumerate(items) if i != 5]
    assert np.array_equal(np.concatenate([b.vectors for b in batches]), alone)


def test_what_an_item_holds_is_given_up_when_it_has_been_read():
    (batch,) = embed([Item("a", Held(png(0)))])
    with pytest.raises(DataError, match="given up"):
        batch.items[0].content()


def test_items_are_taken_no_further_than_they_are_needed():
    taken = itertools.count()
    items = (Item("a", Held(png(0))) for _ in taken)
    batches = embed_files(items, means, SPEC, batch_size=4, decoders=2)
    for _ in range(3):
        next(batches)
    assert next(taken) <= 3 * 4 + pipeline.AHEAD * 4 + 2 * 4
    batches.close()


def test_decoders_work_beside_the_model():
    """The first image of the second batch is being read while the model has the first."""
    begun = threading.Event()

    def second():
        begun.set()
        return png(1)

    def model(images):
        assert begun.wait(20)
        return means(images)

    items = [Item("a", Held(png(0))), Item("b", second)]
    assert len(list(embed_files(items, model, SPEC, batch_size=1))) == 2


def test_a_format_whose_plugin_is_missing_says_which(monkeypatch):
    monkeypatch.setattr(pipeline, "image_suffixes", lambda: frozenset({".png"}))
    (batch,) = embed([Item("x.HEIC", Held(b"heic")), Item("x.png", Held(b"png"))])
    heic, other = [bad.reason for bad in batch.unreadable]
    assert "`pip install pillow-heif` makes .heic readable" in heic and "pip" not in other


def test_heic_and_avif_are_images(tmp_path):
    for suffix in ("heic", "avif"):
        Image.new("RGB", (64, 64), (200, 10, 10)).save(tmp_path / f"1.{suffix}")
    batches = embed(cfamc_zoo.open_inputs(tmp_path))
    assert [Path(i.name).suffix for b in batches for i in b.items] == [".avif", ".heic"]
    assert abs(batches[0].vectors[1] - batches[0].vectors[0]) < 0.02


def tiff(path, width, height, pages=1):
    image = Image.new("L", (8, 8), 100)
    image.save(path, "TIFF", save_all=True, append_images=[image] * (pages - 1))
    content = bytearray(path.read_bytes())
    for tag, value in ((256, width), (257, height)):
        for kind in (3, 4):
            at = content.find(tag.to_bytes(2, "little") + kind.to_bytes(2, "little"))
            if at >= 0:
                content[at + 2 : at + 12] = (
                    (4).to_bytes(2, "little") + b"\1\0\0\0" + value.to_bytes(4, "little")
                )
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(10 << 30)


def test_ten_gigabytes_are_not_read_whole(tmp_path, monkeypatch):
    tiff(tmp_path / "bomb.tif", 100_000, 100_000)
    tiff(tmp_path / "pages.tif", 8, 8, pages=3)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read whole"))
    (batch,) = embed(cfamc_zoo.open_inputs(tmp_path))
    assert [bad.reason for bad in batch.unreadable] == ["more pixels than 178956970"]
    assert batch.vectors[0] == pytest.approx(100 / 255)


@pytest.fixture
def stream(tiny_release):
    return partial(cfamc_zoo.embed_stream, model=str(tiny_release))


def test_a_stream_gives_names_and_the_vectors_of_embed(stream, tiny_release, tmp_path, sample):
    Image.fromarray(sample.images[0]).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "s.tar").write_bytes(tar([("1.png", content), ("2.png", content)]))
    items = list(cfamc_zoo.open_inputs(tmp_path / "s.tar"))
    images = [
        *(tmp_path / "a.png", content, sample.images[1], Image.fromarray(sample.images[2])),
        *(items[0], {"bytes": content, "path": "row.png"}, sample.images[3] / np.float32(255)),
    ]
    for threads in (1, 3):
        batches = list(stream(iter(images), batch_size=3, threads=threads, normalize=True))
        assert [len(names) for names, _ in batches] == [3, 3, 1]
        assert [name for names, _ in batches for name in names] == [
            *(str(tmp_path / "a.png"), "1", "2", "3", str(tmp_path / "s.tar/1.png"), "row.png", "6")
        ]
        vectors = np.concatenate([vectors for _, vectors in batches])
        assert vectors.dtype == np.float32
        expected = cfamc_zoo.embed(images, model=str(tiny_release), normalize=True)
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    ((names, _),) = stream(cfamc_zoo.open_inputs(tmp_path / "s.tar"))
    assert names == [item.name for item in items]


def test_an_endless_stream_is_taken_as_it_is_needed(stream, sample):
    taken = itertools.count()
    batches = stream((sample.images[i % 5] for i in taken), batch_size=2, threads=2)
    for _ in range(3):
        next(batches)
    assert next(taken) < 24
    batches.close()


def test_an_image_that_cannot_be_read_ends_the_stream_or_is_told(stream, sample):
    images = [sample.images[0], b"junk", "gone.png", sample.images[1]]
    batches = stream(images, batch_size=1)
    assert next(batches)[0] == ["0"]
    with pytest.raises(DataError, match="image 1 cannot be read: not an image"):
        next(batches)
    told = []
    rows = stream(images, batch_size=1, on_unreadable=lambda *bad: told.append(bad))
    assert [name for names, _ in rows for name in names] == ["0", "3"]
    assert [name for name, _ in told] == ["1", "gone.png"]
    with pytest.raises(UsageError, match="batch_size is 0"):
        stream([], batch_size=0)
    with pytest.raises(TypeError, match="'batches'"):
        stream([], batches=2)
