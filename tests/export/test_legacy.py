"""Checkpoints of others: the same features, every key accounted for, nothing executed."""

import argparse
import collections
import copy
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError, UnknownNameError
from cfamc_zoo.export.foreign import import_checkpoint
from tests import inside
from tests.conftest import make_encoder, randomize_batchnorm

X = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Paper(nn.Module):
    """The public layout: names and order of layers as its checkpoints have them, but small."""

    def __init__(self, hidden=24, projection=8):
        super().__init__()
        self.backbone = resnet18()
        self.pre_feature = nn.Sequential(nn.Linear(512, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.projection = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, projection),
        )

    def forward(self, x):
        features = self.backbone(x)
        representation = self.pre_feature(features)
        return features, representation, F.normalize(self.projection(representation))


def resnet18():
    """torchvision's with the CIFAR stem."""
    network = torchvision.models.resnet18()
    network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    network.maxpool, network.fc = nn.Identity(), nn.Identity()
    return network


@pytest.fixture(scope="module")
def paper():
    torch.manual_seed(0)
    network = Paper()
    randomize_batchnorm(network)
    return network.eval().requires_grad_(False)


def save(content, folder):
    torch.save(content, folder / "x.pt")
    return folder / "x.pt"


def test_the_papers_layout_gives_every_feature(paper, tmp_path):
    state = nn.DataParallel(paper).state_dict()
    assert next(iter(state)).startswith("module.")
    imported = import_checkpoint(save(state, tmp_path), "cf-amc-ssl")
    assert imported.left_out == ()
    names = ("backbone", "representation", "projection")
    for name, expected in zip(names, paper(X), strict=True):
        torch.testing.assert_close(imported.encoder(X, name), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["torchvision", "timm", "solo-learn"])
def test_plain_networks_repeat_their_features_as_representation(paper, tmp_path, layout):
    prefix = "backbone." if layout == "solo-learn" else ""
    head = "projector.0.weight" if layout == "solo-learn" else "fc.weight"
    state = {f"{prefix}{k}": v for k, v in paper.backbone.state_dict().items()}
    state[head] = torch.zeros(2, 512)
    content = {"state_dict": state} if layout == "solo-learn" else state
    imported = import_checkpoint(save(content, tmp_path), layout, normalization="none")
    assert imported.left_out == (head,)
    expected = paper.backbone(X)
    for name in ("backbone", "representation"):
        torch.testing.assert_close(imported.encoder(X, name), expected, rtol=1e-4, atol=1e-5)


def test_normalization_becomes_a_layer(paper, tmp_path):
    imported = import_checkpoint(save(paper.backbone.state_dict(), tmp_path), "torchvision")
    mean, std = imported.encoder.preprocess.mean, imported.encoder.preprocess.std
    shifted = (X - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(imported.encoder(X), paper.backbone(shifted), rtol=1e-4, atol=1e-5)


def test_keys_that_do_not_belong_are_named(paper, tmp_path):
    state = paper.state_dict()
    with pytest.raises(ReleaseError, match="1 keys of no such layout: surprise"):
        import_checkpoint(save({**state, "surprise": torch.zeros(1)}, tmp_path), "cf-amc-ssl")
    with pytest.raises(ReleaseError, match="give another --layout"):
        import_checkpoint(save(state, tmp_path), "torchvision")
    twice = {**state, "module.backbone.bn1.bias": torch.zeros(64)}
    with pytest.raises(ReleaseError, match=r"has backbone\.bn1\.bias twice"):
        import_checkpoint(save(twice, tmp_path), "cf-amc-ssl")
    del state["backbone.layer4.1.bn2.bias"]
    with pytest.raises(ReleaseError, match="does not fit"):
        import_checkpoint(save(state, tmp_path), "cf-amc-ssl")
    with pytest.raises(UnknownNameError, match="did you mean torchvision"):
        import_checkpoint(save(state, tmp_path), "torchvison")


class Exploit:
    def __reduce__(self):
        return (os.mkdir, ("exploited",))


@pytest.mark.parametrize(
    "content",
    [{"a": Exploit()}, nn.Linear(1, 1), [1], {}, {"a": 1}, {1: torch.zeros(1)}],
    ids=["exploit", "module", "list", "empty", "number", "key"],
)
def test_what_is_no_state_dict_is_refused_and_not_executed(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReleaseError):
        import_checkpoint(save(content, tmp_path), "torchvision")
    (tmp_path / "x.pt").write_bytes(b"no archive")
    with pytest.raises(ReleaseError, match="nothing of it was executed"):
        import_checkpoint(tmp_path / "x.pt", "torchvision")
    assert not (tmp_path / "exploited").exists()


ENCODER = make_encoder()
PLAIN = {k.removeprefix("backbone."): v for k, v in ENCODER.state_dict().items()
         if k.startswith("backbone.")}  # fmt: skip
# Weights that differ in every value, where a file holds two networks.
OTHER = {k: v + 1 if v.is_floating_point() else v for k, v in PLAIN.items()}
ARGUMENTS = argparse.Namespace(lr=0.1)


class Whole(nn.Module):
    """A module that is pickled whole; a file of it needs this very class."""

    def __init__(self):
        super().__init__()
        self.backbone = copy.deepcopy(ENCODER.backbone)

    def forward(self, x):
        raise RuntimeError("code of the file was run")


class Settings(dict):
    """As EasyDict, CfgNode and the like: a dict that has attributes too."""

    def __init__(self, **values):
        super().__init__(values)
        self.frozen = True


class Paths(list):
    """A list of a class of its own."""


def under(prefix, state=PLAIN):
    return {prefix + key: value for key, value in state.items()}


CHECKPOINTS = {  # what is saved, what is left out, and the classes that are not opened
    **{
        prefix: (under(prefix), [], [])
        for prefix in (
            *("_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "ema."),
            *("model._orig_mod.module.", "module.model.net.", "_forward_module.network."),
        )
    },
    "one compiled stage": (
        {k.replace("layer1.", "layer1._orig_mod."): v for k, v in PLAIN.items()},
        *([], []),
    ),
    "AveragedModel": (
        {"n_averaged": torch.tensor(3), **under("module.")},
        *(["n_averaged"], []),
    ),
    "AveragedModel under DDP": (
        {"module.n_averaged": torch.tensor(3), **under("module.module.")},
        *(["module.n_averaged"], []),
    ),
    "Lightning with an average": (
        {
            "state_dict": {**under("model.", OTHER), **under("ema.module."), "ema.n_averaged": X},
            "epoch": 3,
            "hyper_parameters": ARGUMENTS,
            "optimizer_states": [{"state": {0: {"exp_avg": X}}}],
        },
        [*under("model."), "ema.n_averaged", "epoch", "hyper_parameters", "optimizer_states"],
        ["argparse.Namespace"],
    ),
    "timm": (
        {
            "state_dict": OTHER,
            "state_dict_ema": PLAIN,
            "optimizer": {"state": {0: {"exp_avg": X}}},
            "args": ARGUMENTS,
            "metric": np.float64(1.5),
        },
        ["state_dict", "optimizer", "args", "metric"],
        ["argparse.Namespace", "numpy._core.multiarray.scalar", "numpy.dtype"],
    ),
    "a path, a pattern and a function": (
        {"model": under("module."), "path": Path("x"), "pattern": re.compile("x"), "f": os.getcwd},
        None,
        None,
    ),
    "settings of their own classes": (
        {
            "model": PLAIN,
            "cfg": Settings(lr=0.1, more=Settings(a=1)),
            "paths": Paths(["a", "b"]),
            "counts": collections.defaultdict(int, a=1),
        },
        ["cfg", "paths", "counts"],
        [
            *("builtins.int", "collections.defaultdict"),
            *(f"{__name__}.Paths", f"{__name__}.Settings"),
        ],
    ),
    "nested, a tensor beside": (
        {"model": {"state_dict": under("net."), "step": 1}, "best": torch.tensor(0.5)},
        *(["best", "model.step"], []),
    ),
    "another name": ({"teacher_weights": PLAIN, "optimizer": {"a": X}}, ["optimizer"], []),
    "words among tensors": ({**PLAIN, "arch": "resnet18"}, ["arch"], []),
    "no counts": (
        {k: v for k, v in PLAIN.items() if not k.endswith("num_batches_tracked")},
        *([], []),
    ),
}
del CHECKPOINTS["a path, a pattern and a function"][0]["f"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older format"])
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints_as_training_programs_write_them(tmp_path, case, zipped):
    content, left_out, unopened = CHECKPOINTS[case]
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    if unopened != [] and not zipped:
        with pytest.raises(ReleaseError, match="holds [a-z]+.* not opened; nothing of it was exe"):
            import_checkpoint(tmp_path / "x.pt", "torchvision", normalization="none")
        return
    imported = import_checkpoint(tmp_path / "x.pt", "torchvision", normalization="none")
    torch.testing.assert_close(imported.encoder(X), ENCODER(X))
    if left_out is not None:
        assert sorted(imported.left_out) == sorted(left_out)
        assert list(imported.unopened) == unopened
    else:
        assert {"path", "pattern"} <= set(imported.left_out)
        assert "pathlib.PosixPath" in imported.unopened


@pytest.mark.parametrize("wrap", [Whole, lambda: nn.DataParallel(Whole()),
                                  lambda: {"model": Whole(), "epoch": 1}],
                         ids=["alone", "wrapped", "held"])  # fmt: skip
def test_a_module_that_was_pickled_whole_is_read_and_not_run(tmp_path, wrap):
    imported = import_checkpoint(save(wrap(), tmp_path), "torchvision", normalization="none")
    torch.testing.assert_close(imported.encoder(X), ENCODER(X))
    assert f"{__name__}.Whole" in imported.unopened


def test_safetensors(tmp_path):
    save_file(under("model."), tmp_path / "x.safetensors")
    imported = import_checkpoint(tmp_path / "x.safetensors", "torchvision", normalization="none")
    torch.testing.assert_close(imported.encoder(X), ENCODER(X))
    content = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(content[:-1])
    with pytest.raises(ReleaseError, match="is not safetensors"):
        import_checkpoint(tmp_path / "x.safetensors", "torchvision")


def test_two_networks_of_which_none_is_an_average_are_named(tmp_path):
    both = save({**under("model."), **under("net.")}, tmp_path)
    with pytest.raises(ReleaseError, match=r"holds 2 networks, under model\., net\."):
        import_checkpoint(both, "torchvision")


def script(path):
    torch.jit.script(nn.Linear(1, 1)).save(path)


REFUSED = {  # how the file is written, and what is said of it
    "a command": (lambda p: torch.save({"a": Exploit()}, p), "holds posix.mkdir, which is not"),
    "an object": (lambda p: torch.save(ARGUMENTS, p), "but argparse.Namespace; save model.state"),
    "arrays": (lambda p: torch.save({"a": np.zeros(3)}, p), "no tensors: numpy._core"),
    "nothing": (lambda p: torch.save({}, p), "holds no state dict, but nothing"),
    "an empty state dict": (lambda p: torch.save({"state_dict": {}}, p), "no tensors: a dict"),
    "a tensor": (lambda p: torch.save(X, p), "but a Tensor"),
    "TorchScript": (script, r"is a TorchScript archive.*torch.jit.load\(file\).state_dict"),
    "an empty file": (lambda p: p.write_bytes(b""), "or it is damaged"),
    "a page": (lambda p: p.write_bytes(b"<!DOCTYPE html><html>"), "or it is damaged"),
    "Git LFS": (lambda p: p.write_bytes(b"version https://git-lfs.github.com/"), "git lfs pull"),
    "a number as a weight": (lambda p: torch.save({**PLAIN, "bn1.bias": 3}, p), "holds int as bn1"),
    "an object as a weight": (
        lambda p: torch.save({**PLAIN, "bn1.bias": ARGUMENTS}, p),
        "holds argparse.Namespace as bn1.bias",
    ),
    "another shape": (
        lambda p: torch.save({**PLAIN, "bn1.bias": torch.zeros(3)}, p),
        r"backbone.bn1.bias is \(3,\) where it has \(4,\)",
    ),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_in_the_way_is_named_in_a_line(tmp_path, case):
    write, said = REFUSED[case]
    write(tmp_path / "x.pt")
    with pytest.raises(ReleaseError, match=said) as error:
        import_checkpoint(tmp_path / "x.pt", "torchvision")
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 400
    assert "weights_only" not in text


def test_a_checkpoint_that_is_cut_is_damaged(tmp_path):
    content = save(PLAIN, tmp_path).read_bytes()
    for part in (0.1, 0.5, 0.99):
        (tmp_path / "x.pt").write_bytes(content[: int(len(content) * part)])
        with pytest.raises(ReleaseError, match="or it is damaged; nothing of it was executed"):
            import_checkpoint(tmp_path / "x.pt", "torchvision")


def papers_names(encoder):
    """A narrow encoder's tensors as the paper's code would name them."""
    parts = {"representation.": "pre_feature.", "projector.0.": "projection."}
    parts["projector.1."] = "projection.3."
    state = {}
    for key, value in encoder.state_dict().items():
        old = next((part for part in parts if key.startswith(part)), "")
        state["module." + parts.get(old, "") + key.removeprefix(old)] = value
    return state


def test_from_the_command_line(tmp_path):
    encoder = make_encoder()
    content = {"state_dict": papers_names(encoder), "args": ARGUMENTS}
    file, out = save(content, tmp_path), tmp_path / "release"
    arguments = ("export", file, "-o", out)
    refused = inside.cfamc_zoo(*arguments, code=2)
    assert "say with --layout what wrote it" in refused.stderr
    done = inside.cfamc_zoo(*arguments, "--layout", "cf-amc-ssl")
    assert "left out: args\n" in done.stderr
    assert "not opened, nor any code of it run: argparse.Namespace\n" in done.stderr
    assert done.stdout == f"{out}\n"
    stored = cfamc_zoo.load(str(out))(X).numpy()
    np.testing.assert_allclose(stored, encoder(X).numpy(), rtol=2e-2, atol=2e-2)
    config = json.loads((out / "config.json").read_text())
    assert config["provenance"]["imported"] == {"layout": "cf-amc-ssl", "left_out": ["args"]}
    rows = json.loads((out / "results.json").read_text())
    assert {(r["feature"], r["n"]) for r in rows} == {("backbone", 256), ("representation", 256)}
    assert all(0 < r["value"] <= r["limit"] for r in rows)
    assert "imported from a checkpoint of layout cf-amc-ssl" in (out / "README.md").read_text()
