"""Exported releases: one copy of the weights, the same function everywhere."""

import dataclasses
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load, save

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError, StorageError, UsageError
from cfamc_zoo.export.graph import GRAPH_LIMIT
from cfamc_zoo.export.parity import measure_parity, sized
from cfamc_zoo.export.release import export_release
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL, open_release, write_files
from tests.conftest import make_config, make_encoder


@pytest.fixture
def release(tiny_release, tmp_path):
    return open_release(shutil.copytree(tiny_release, tmp_path / "release"))


def test_the_graph_holds_no_weights_and_every_tensor_is_there_once(release):
    graph = onnx.load(release.folder / GRAPH, load_external_data=False)
    assert (release.folder / GRAPH).stat().st_size < GRAPH_LIMIT
    stored = load(release.read(MODEL))
    pointed = set()
    for initializer in graph.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            pointed.add(initializer.name.removesuffix(".float16"))
            assert not initializer.raw_data
        else:
            assert np.prod(initializer.dims) <= 64
    counters = {name for name in stored if name.endswith("num_batches_tracked")}
    assert pointed == set(stored) - counters


def test_onnx_runtime_alone_reads_the_folder_as_it_is(release, sample):
    """No code of ours: the graph finds its weights in model.safetensors beside it."""
    x = np.ascontiguousarray(sample.images[:5].transpose(0, 3, 1, 2)).astype(np.float32) / 255
    session = onnxruntime.InferenceSession(
        release.folder / GRAPH, providers=["CPUExecutionProvider"]
    )
    outputs = session.run(None, {"images": x})
    encoder = cfamc_zoo.load(str(release.folder))
    for name, value in zip(("backbone", "representation"), outputs, strict=True):
        expected = encoder(torch.from_numpy(x), name).numpy()
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    (release.folder / MODEL).unlink()
    with pytest.raises(Exception, match=r"model\.safetensors"):
        onnxruntime.InferenceSession(release.folder / GRAPH, providers=["CPUExecutionProvider"])


def test_the_graph_is_valid_and_the_size_of_everything_in_it_is_known(release):
    onnx.checker.check_model(release.folder / GRAPH, full_check=True)
    graph = onnx.load(release.folder / GRAPH, load_external_data=False)
    del graph.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True).graph
    known = {v.name for v in (*inferred.value_info, *inferred.output)}
    assert {name for node in graph.graph.node for name in node.output} <= known
    sizes = {v.name: v.type.tensor_type.shape.dim[1].dim_value for v in inferred.output}
    assert sizes == {"backbone": 32, "representation": 32}


def test_trained_batchnorm_and_any_batch_size_survive(release, sample):
    """The trap: an optimized graph over the same names is right only for fresh statistics."""
    parity = measure_parity(release, sample.images[:64])
    assert parity["backbone"].relative < 1e-5
    session = open_session(release, "backbone")
    x = np.random.default_rng(0).random((7, 3, 32, 32), dtype=np.float32)
    whole = session(x)
    single = np.concatenate([session(row[None]) for row in x])
    np.testing.assert_allclose(whole, single, rtol=1e-5, atol=1e-5)


def test_a_normalization_is_part_of_the_graph(tmp_path, sample):
    encoder = make_encoder()
    from cfamc_zoo.zoo.network.encoder import normalization

    preprocess = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))
    encoder.preprocess, encoder.normalize = preprocess, normalization(preprocess)
    config = dataclasses.replace(make_config(encoder), preprocess=preprocess)
    release = export_release(
        encoder, config, tmp_path / "r", images=sample.images[:8], data=sample.name
    )
    x = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)
    expected = encoder((torch.from_numpy(x)), "backbone").numpy()
    np.testing.assert_allclose(open_session(release, "backbone")(x), expected, rtol=2e-2, atol=2e-2)


def test_a_graph_over_other_weights_is_refused(release):
    """Same names and shapes elsewhere in the file: offsets that lie are caught."""
    tensors = load(release.read(MODEL))
    moved = {name: tensors[name] for name in tensors}
    moved["backbone.bn1.bias"] = torch.cat([tensors["backbone.bn1.bias"]] * 2)
    release = write_files(release.folder, release.config, {MODEL: save(moved)})
    with pytest.raises(ReleaseError, match="reads"):
        open_session(release, "backbone")


@pytest.mark.parametrize("location", ["/etc/passwd", "../model.safetensors", "other.safetensors"])
def test_external_data_elsewhere_is_refused(release, location):
    graph = onnx.load(release.folder / GRAPH, load_external_data=False)
    entry = next(i for i in graph.graph.initializer if i.data_location == 1).external_data[0]
    entry.value = location
    release = write_files(release.folder, release.config, {GRAPH: graph.SerializeToString()})
    with pytest.raises(ReleaseError, match="weights may come from model.safetensors only"):
        open_session(release, "backbone")


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x07" * 50])
def test_what_is_no_graph_is_refused(release, content):
    release = write_files(release.folder, release.config, {GRAPH: content})
    with pytest.raises((ReleaseError, UsageError)):
        open_session(release, "backbone")


def test_features_that_the_graph_lacks_and_devices_that_are_not_there(release):
    with pytest.raises(UsageError, match="needs --backend torch"):
        open_session(release, "projection")
    with pytest.raises(UsageError, match="give cpu or cuda"):
        open_session(release, "backbone", device="tpu")


def test_a_failed_check_leaves_nothing_behind(tmp_path, sample, monkeypatch):
    monkeypatch.setattr("cfamc_zoo.export.parity.RELATIVE_LIMIT", 0.0)
    with pytest.raises(ReleaseError, match="not released"):
        export_release(
            make_encoder(),
            make_config(make_encoder()),
            tmp_path / "r",
            images=sample.images[:8],
            data=sample.name,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path, sample):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        export_release(
            make_encoder(),
            make_config(make_encoder()),
            tmp_path / "file" / "r",
            images=sample.images[:8],
            data=sample.name,
        )


def test_convolutions_have_no_computed_bias(tiny_release):
    """One that is no constant keeps ONNX Runtime from folding BatchNorm: a third slower."""
    graph = onnx.load(tiny_release / GRAPH, load_external_data=False).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 20
    assert all(len(node.input) == 2 for node in convolutions)
    assert not {"Expand", "Shape"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize(("size", "compared"), [(16, 300), (32, 256), (64, 64), (224, 16)])
def test_large_inputs_are_compared_on_fewer_images(size, compared):
    images = np.zeros((300, 8, 8, 3), np.uint8)
    assert sized(images, Preprocess(size=size)).shape == (compared, 3, size, size)
