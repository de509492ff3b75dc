"""Releases made to harm: whatever the digests vouch for, each reader refuses in one line."""

import json
import os
import pickle
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import (
    CONFIG,
    CONFIG_LIMIT,
    GRAPH,
    LIMITS,
    MODEL,
    PROBE,
    PROJECTOR,
    RESULTS,
    open_release,
    write_files,
)
from cfamc_zoo.zoo.release.results import read_results
from tests.fuzz.damage import Exploit
from tests.fuzz.tensors import pack


@pytest.fixture
def release(tiny_release, tmp_path, monkeypatch):
    release = open_release(shutil.copytree(tiny_release, tmp_path / "release"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return release


READERS = {
    MODEL: lambda r: cfamc_zoo.load(str(r.folder)),
    PROJECTOR: lambda r: cfamc_zoo.load(str(r.folder)),
    PROBE: lambda r: cfamc_zoo.load_classifier(str(r.folder)),
    GRAPH: lambda r: open_session(r, "backbone"),
    RESULTS: read_results,
}


def refused(release, name, content, read=None):
    """What is said to a release that vouches for such a file."""
    release = write_files(release.folder, release.config, {name: content})
    with pytest.raises(ReleaseError) as error:
        (read or READERS[name])(release)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", READERS)
def test_a_pickle_under_any_name_is_not_unpickled(release, name):
    refused(release, name, pickle.dumps(Exploit()))
    assert not list(Path.cwd().iterdir()), "nothing was run"


def test_a_config_too_large_to_be_one_is_not_parsed(release):
    text = (release.folder / CONFIG).read_text()
    (release.folder / CONFIG).write_text(text + " " * CONFIG_LIMIT)
    with pytest.raises(ReleaseError, match="is not read"):
        open_release(release.folder)


@pytest.mark.parametrize("name", LIMITS)
def test_a_file_too_large_to_be_parsed_is_not_opened(release, name):
    write_files(release.folder, release.config, {name: bytes(LIMITS[name] + 1)})
    with pytest.raises(ReleaseError, match="at most"):
        open_release(release.folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "recursion"),
        ("[" * 50 + "]" * 50, "nested deeper than 32"),
        ('[{"a": 1, "a": 2}]', "there twice"),
        ("[NaN]", "NaN is no number"),
        ("[1e999]", "is too large"),
        ("[" + "9" * 400 + "]", "more than 64 bits"),
        (r'["\ud800"]', "surrogates not allowed"),
        ("{}", "holds no rows"),
        ('[{"metric": "x"}]', "row lacks attack, norm, eps, steps, restarts, data, n, value"),
        (r'[{"\n": "x"}]', r"unknown row key '\n'; known: attack, command"),
        ("[3]", "row is 3; it must be a table"),
        ("[" + "{}, " * 1000 + "{}]", "1001 of them"),
    ],
)
def test_results_that_are_none(release, text, said):
    assert said in refused(release, RESULTS, text.encode())


@pytest.mark.parametrize(
    ("lie", "reads"),
    [
        (lambda header, _: header | {"backbone.x": header["backbone.bn1.bias"]}, None),
        (lambda header, data: _at(header, [len(data), len(data) + 16]), None),
        (lambda header, data: _at(header, [-16, 0]), None),
        (lambda header, data: _at(header, [0, 2**63]), None),
    ],
    ids=["overlapping", "past the end", "before the start", "huge"],
)
@pytest.mark.parametrize("read", [READERS[MODEL], READERS[GRAPH]], ids=["torch", "onnx"])
def test_a_header_that_lies(release, lie, reads, read):
    content = release.read(MODEL)
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    said = refused(release, MODEL, pack(lie(header, data), data), read)
    assert "is not safetensors" in said


def _at(header, offsets):
    header["backbone.bn1.bias"]["data_offsets"] = offsets
    return header


@pytest.mark.parametrize("length", [0, 2**40, 2**64 - 1])
@pytest.mark.parametrize("name", [MODEL, PROJECTOR, PROBE])
def test_a_header_of_another_length(release, name, length):
    content = release.read(name)
    refused(release, name, length.to_bytes(8, "little") + content[8:])


def test_a_pipe_in_place_of_a_file_is_not_waited_for(release):
    (release.folder / MODEL).unlink()
    os.mkfifo(release.folder / MODEL)
    with pytest.raises(ReleaseError, match="is not a plain file"):
        release.verify()


@pytest.mark.parametrize("size", [-1, True, "1", 10**15, None])
def test_sizes_that_are_none(release, size):
    config = json.loads((release.folder / CONFIG).read_text())
    config["files"][MODEL]["size"] = size
    (release.folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ReleaseError):
        open_release(release.folder).verify()


def constant_elsewhere(graph):
    value = helper.make_tensor("", 1, [1], [0.0])
    graph.node.append(helper.make_node("Constant", [], ["elsewhere"], value=value))
    tensor = graph.node[-1].attribute[0]
    tensor.t.ClearField("float_data")
    tensor.t.data_location = TensorProto.EXTERNAL
    tensor.t.external_data.add(key="location", value="/etc/passwd")


def endless_loop(graph):
    body = helper.make_graph([], "body", [], [])
    graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def foreign_operator(graph):
    graph.node[-1].domain = "com.example"


def huge_tensor(graph):
    bomb = helper.make_tensor("", TensorProto.INT64, [2], [65536, 65536])
    graph.node.append(helper.make_node("Constant", [], ["shape"], value=bomb))
    graph.node.append(helper.make_node("Constant", [], ["one"], value_float=1.0))
    graph.node.append(helper.make_node("Expand", ["one", "shape"], ["bomb"]))


def huge_padding(graph):
    conv = next(n for n in graph.node if n.op_type == "Conv")
    pads = next(a for a in conv.attribute if a.name == "pads")
    pads.ints[0] = 2**40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (constant_elsewhere, "a constant that lies elsewhere"),
        (endless_loop, "':Loop', which no encoder needs"),
        (foreign_operator, "which no encoder needs"),
        (huge_tensor, "Expand makes a tensor of [65536, 65536] values"),
        (huge_padding, "a size over 65536"),
    ],
)
def test_a_graph_that_is_more_than_an_encoder(release, change, said):
    model = onnx.load(release.folder / GRAPH, load_external_data=False)
    change(model.graph)
    assert said in refused(release, GRAPH, model.SerializeToString())


@pytest.mark.parametrize("name", [b"images", b"conv2d", b"backbone.bn1.bias", b"backbone"])
def test_names_in_a_graph_that_are_not_text(release, capsys, name):
    content = release.read(GRAPH)
    assert name in content
    bad = content.replace(name, name[:-1] + b"\xee")
    assert "not UTF-8" in refused(release, GRAPH, bad)
    assert capsys.readouterr().out == ""


def test_the_runtime_prints_nothing(release, capfd):
    """ONNX Runtime's wrapper announces a second try on stdout, where results go."""
    content = release.read(GRAPH)
    assert b"strides" in content
    refused(release, GRAPH, content.replace(b"strides", b"stride\xee"))
    assert capfd.readouterr() == ("", "")
