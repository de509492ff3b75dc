"""Decoding ahead of the model, and several batches in it, without a GPU."""

import threading
import warnings
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfamc_zoo.embedding import concurrency
from cfamc_zoo.embedding.items import Item
from cfamc_zoo.embedding.pipeline import embed_files
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.onnx.session import OnnxEncoder
from cfamc_zoo.zoo.release.folder import GRAPH, open_release, write_files

SPEC = Preprocess(size=4)


@pytest.fixture
def items(tmp_path):
    """Images of one grey each, 0 to 46, the seventh of them no image."""
    found = [tmp_path / f"{i}.png" for i in range(47)]
    for i, path in enumerate(found):
        Image.new("L", (8, 8), i).save(path)
    found[7].write_text("no image")
    return [Item(path.stem, partial(Path, path)) for path in found]


class Session:
    """As ONNX Runtime's: gives the first grey of each image, when `together` have come."""

    def __init__(self, together):
        self.together = threading.Barrier(together)
        self.threads = set()

    def run(self, outputs, inputs):
        assert outputs == ["backbone"]
        self.together.wait(10)
        self.threads.add(threading.get_ident())
        return [inputs["images"][:, 0, 0, :1] * 255]


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("decoders", [1, 3])
def test_rows_keep_their_order_however_much_happens_at_a_time(items, decoders, in_flight):
    """12 batches, an even number, go through the session two at a time."""
    session = Session(in_flight)
    encoder = OnnxEncoder(session, "backbone", None)
    batches = list(
        embed_files(items, encoder, SPEC, batch_size=4, decoders=decoders, in_flight=in_flight)
    )
    assert len(batches) == 12
    assert [item.name for batch in batches for item in batch.items] == [
        str(i) for i in range(47) if i != 7
    ]
    rows = np.concatenate([batch.vectors for batch in batches])[:, 0]
    np.testing.assert_allclose(rows, [*range(7), *range(8, 47)], atol=1e-3)
    assert [bad.item.name for batch in batches for bad in batch.unreadable] == ["7"]
    assert len(session.threads) == in_flight
    if in_flight == 1:
        assert session.threads == {threading.get_ident()}


def test_filters_of_warnings_are_the_callers_again_after_several_threads_muted_them(items):
    before = list(warnings.filters)
    encoder = OnnxEncoder(Session(1), "backbone", None)
    list(embed_files(items, encoder, SPEC, batch_size=4, decoders=4))
    assert warnings.filters == before


def test_whoever_stops_early_ends_the_decoders(items):
    batches = embed_files(items, OnnxEncoder(Session(1), "backbone", None), SPEC, batch_size=4)
    try:
        next(batches)
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]


def test_a_batch_of_images_that_cannot_be_read_has_no_vectors(items):
    encoder = OnnxEncoder(Session(1), "backbone", None)
    (batch,) = embed_files(items[7:8], encoder, SPEC, batch_size=4)
    assert (batch.items, len(batch.vectors), len(batch.unreadable)) == ([], 0, 1)


@pytest.mark.parametrize(
    ("threads", "cores", "decoders"), [(None, 8, 8), (None, 1, 1), (2, 8, 2), (16, 8, 8)]
)
def test_decoders_are_as_many_as_cores_unless_the_user_asks_for_fewer(
    monkeypatch, threads, cores, decoders
):
    monkeypatch.setattr(concurrency, "usable_cores", lambda: cores)
    assert concurrency.decoder_threads(threads) == decoders


@pytest.mark.parametrize(
    ("settings", "execution", "sharing"),
    [
        ({}, {}, (8, 1)),
        ({}, {"device": "cpu", "threads": 3}, (3, 1)),
        ({}, {"batch_size": 257}, (1, None)),
        ({}, {"batch_size": 700, "threads": 3}, (1, 3)),
        ({}, {"device": "cuda"}, (2, None)),
        ({"backend": "torch"}, {"device": "cpu", "threads": 3}, (1, 3)),
    ],
)
def test_each_core_has_a_batch_where_memory_allows_and_a_gpu_has_two(
    monkeypatch, tiny_release, settings, execution, sharing
):
    monkeypatch.setattr(concurrency, "usable_cores", lambda: 8)
    release, options = open_release(tiny_release), (Settings(**settings), Execution(**execution))
    assert astuple(concurrency.share(release, *options)) == sharing


def test_without_a_graph_torch_runs_and_shares_its_threads(monkeypatch, tiny_release, tmp_path):
    monkeypatch.setattr(concurrency, "usable_cores", lambda: 8)
    config = open_release(tiny_release).config
    kept = {name: record for name, record in config.files.items() if name != GRAPH}
    release = write_files(tmp_path, replace(config, files=kept), {})
    options = Settings(), Execution(device="cpu")
    assert astuple(concurrency.share(release, *options)) == (1, None)
