"""`-m package.module:factory`: somebody's own code, measured as a model of the zoo is."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run

NETS = """
import torch
import torchvision
from torch import nn
import cfamc_zoo

class Net(nn.Module):
    def __init__(self, width=10):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(192, width)
    def forward(self, x):
        return self.layer(nn.functional.avg_pool2d(x, x.shape[-1] // 8).flatten(1))

def wrapped(): return cfamc_zoo.wrap(Net(6), size=32)
def sized():
    net = Net(6)
    net.size = 16
    return net
def classifier(classes=10, width=10):
    net = Net(width)
    net.size, net.classes = 32, classes
    return net
def named(): return classifier(["cat", "dog"], 2)
def miscounted(): return classifier(7)
def unsized(): return Net()
def known(): return cfamc_zoo.load("resnet18-thin-cifar10-free")
def constant():
    net = Net(3)
    net.size = 32
    nn.init.zeros_(net.layer.weight)
    return net
def with_head():
    net = torchvision.models.resnet18(num_classes=2)
    net.size = 32
    return net
def with_classes():
    net = with_head()
    net.classes = ["cat", "dog"]
    return net
def raises(): raise ValueError("no weights\\nin two lines")
def leaves(): raise SystemExit(3)
def nothing(): return None
instance = sized()
number = 5
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """The working folder with a module, whose name other tests do not have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    name = f"nets_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(NETS)
    (tmp_path / "broken_nets.py").write_text("import a_module_that_is_not_there")
    draws = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(6):
            pixels = draws.integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{i}.png")
    return name


def result(capsys, *arguments):
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("factory", ["wrapped", "sized", "instance"])
def test_an_encoder_of_ones_own_is_attacked_and_probed(factory, nets, capsys):
    model = f"{nets}:{factory}"
    feature = ["attack", "-m", model, "--data", "photos", "--attack", "feature", "--steps", "1"]
    found = result(capsys, *feature, "--report", "page.html")
    assert found["model"] == model and found["results"][0]["n"] == 12
    again = result(capsys, *feature)
    assert found["sha256"] == again["sha256"] and found["results"][0]["breakaway_risk"] >= 0
    probed = result(capsys, "probe", "-m", model, "--data", "photos", "-o", "head.safetensors")
    assert probed["feature"] == "backbone"
    attacked = ["attack", "-m", model, "--data", "photos", "--steps", "1"]
    assert run(attacked) == 1
    assert f"cfamc-zoo probe -m {model}" in capsys.readouterr().err
    assert len(result(capsys, *attacked, "--probe", "head.safetensors")["results"]) == 2


def test_a_classifier_of_ones_own_is_attacked(nets, capsys):
    model = ["attack", "-m", f"{nets}:classifier", "--limit", "20", "--steps", "2"]
    found = result(capsys, *model, "--data", "cifar10-sample", "--report", "page.html")
    assert found["head"] == "own" and "--head" not in found["command"]
    clean, robust = (row["value"] for row in found["results"])
    assert 0 <= robust <= clean
    torchvisions = ["attack", "-m", f"{nets}:with_classes", "--data", "photos", "--steps", "1"]
    assert result(capsys, *torchvisions)["results"][0]["n"] == 12
    named = ["attack", "-m", f"{nets}:named", "--data", "photos", "--steps", "1"]
    assert result(capsys, *named)["results"][0]["n"] == 12


def test_what_is_of_a_known_family_is_exported(nets, capsys, tmp_path):
    assert run(["export", f"{nets}:known", "-o", "release"]) == 0
    assert (tmp_path / "release/model.safetensors").is_file()
    assert run(["export", f"{nets}:sized", "-o", "other"]) == 2
    assert "export timm:NAME" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-m", "no_such_nets:build"], 2, "there is no module 'no_such_nets'"),
        (["-m", "broken_nets:build"], 1, "No module named 'a_module_that_is_not_there'"),
        (["-m", "{nets}:clasifier"], 2, "did you mean classifier"),
        (["-m", "{nets}:raises"], 1, "raises() failed: ValueError: no weights"),
        (["-m", "{nets}:leaves"], 1, "leaves() failed: SystemExit: 3"),
        (["-m", "{nets}:number"], 2, "is of type int, which cannot be called"),
        (["-m", "{nets}:nothing"], 2, "returns NoneType"),
        (["-m", "{nets}:unsized"], 2, "set module.size"),
        (["-m", "{nets}:with_head"], 2, "with its classifier on, whose logits are no vectors"),
        (["-m", "{nets}:miscounted"], 1, "says 7 classes and returns 10 logits"),
        (["-m", "{nets}:classifier", "--data", "photos"], 2, "10 classes and photos has 2"),
        (["-m", "{nets}:named", "--probe", "x"], 2, "--probe is for encoders"),
        (["-m", "{nets}:named", "--attack", "feature"], 2, "is a classifier"),
        (["-m", "{nets}:constant", "--attack", "feature"], 1, "nothing can be measured"),
        (["-m", "timm:resnet18"], 2, "cfamc-zoo export timm:resnet18"),
    ],
)
def test_one_line_says_what_is_wrong(arguments, code, said, nets, capsys):
    arguments = [a.format(nets=nets) for a in arguments]
    data = [] if "--data" in arguments else ["--data", "photos"]
    assert run(["attack", *arguments, *data, "--steps", "1"]) == code
    (line,) = [t for t in capsys.readouterr().err.splitlines() if not t.startswith("note:")]
    assert line.startswith("error: ") and said in line


def test_no_other_command_runs_code(nets, capsys):
    assert run(["info", f"{nets}:wrapped"]) == 2
    assert "names code" in capsys.readouterr().err
    assert nets not in sys.modules
