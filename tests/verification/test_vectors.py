"""Vectors that are not those of the release: other weights, another graph, golden values."""

import json

import pytest
import torch

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.verification.finding import Terms
from cfamc_zoo.verification.vectors import check_golden
from cfamc_zoo.zoo.release.folder import GOLDEN, MODEL, open_release

from .conftest import PGD, change_tensors, failed, repin


def test_other_weights_pinned_anew_give_other_vectors(card, verify):
    def other(tensors):
        name = max(tensors, key=lambda name: tensors[name].numel())
        return {**tensors, name: tensors[name] * 1.01}

    change_tensors(card, MODEL, other)
    repin(card, MODEL)
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert ("golden values", "backbone") in failed(findings)


def test_other_golden_values_pinned_anew_do_not_hold(card, verify):
    golden = json.loads((card / GOLDEN).read_text())
    golden["values"]["backbone"][2][3] += 0.01
    (card / GOLDEN).write_text(json.dumps(golden))
    repin(card, GOLDEN)
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert list(failed(findings)) == [("golden values", "backbone")]


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g["values"].pop("backbone"),
        lambda g: g["values"]["backbone"][0].extend([0.0] * 100),
        lambda g: g.update(data="/etc/passwd"),
        lambda g: g.update(values=3),
        lambda g: g["values"].update(backbone=[[0.0]] * 5000),
    ],
)
def test_golden_values_that_are_none_are_said_to_be(card, change):
    golden = json.loads((card / GOLDEN).read_text())
    change(golden)
    (card / GOLDEN).write_text(json.dumps(golden))
    repin(card, GOLDEN)
    with pytest.raises(ReleaseError, match=GOLDEN):
        list(check_golden(open_release(card), Terms(torch.device("cpu"))))


def test_a_check_that_cannot_be_made_does_not_stop_the_others(card, verify):
    (card / GOLDEN).write_text("{}")
    repin(card, GOLDEN)
    code, findings, said = verify(card, "--limit", 4)
    assert code == 1
    assert findings["golden values", "all"]["verdict"] == "cannot be checked"
    assert findings[PGD]["verdict"] == "holds"
    assert "lacks data, values" in said


def test_a_graph_of_other_weights_is_not_torchs(card, verify, monkeypatch):
    from cfamc_zoo.export import parity

    monkeypatch.setattr(parity, "open_session", lambda release, feature: lambda x: x[:, 0, 0, :1])
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert {findings[s]["check"] for s in failed(findings)} == {"onnx"}
