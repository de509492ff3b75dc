"""`cfamc_zoo.attack`: any classifier, from Python."""

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import cfamc_zoo
from cfamc_zoo.errors import (
    DataError,
    ModelError,
    OutputExistsError,
    UnknownNameError,
    UsageError,
)
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.zoo.threat import Linf
from tests.evaluation.attacks.models import Affine, Convolutional, own_labels, some_images


@pytest.fixture
def images():
    return some_images()


@pytest.fixture
def model():
    return Convolutional()


def test_it_finds_what_the_attack_finds(model, images):
    labels = own_labels(model, images)
    result = cfamc_zoo.attack(model, images, labels, eps=["2/255", 4 / 255], norm="linf", seed=3)
    threats = [Linf.of("2/255"), Linf(4 / 255)]
    expected = evaluate(model, Examples(images, labels, 5), Pgd(), threats, Run(seed=3))
    assert [a.correct for a in result.accuracies] == [a.correct for a in expected]
    assert 0 < result.accuracies[2].value < result.accuracies[1].value < 100


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_images_that_come_back_are_in_the_ball_and_have_the_verdicts(model, images, norm):
    labels = own_labels(model, images)
    eps = 0.02 if norm == "linf" else 0.3
    result = cfamc_zoo.attack(model, images, labels, eps=eps, norm=norm)
    (adversarial,) = torch.from_numpy(result.adversarial)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    delta = (adversarial - images).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert size.max() <= eps * (1 + 1e-5)
    assert (own_labels(model, adversarial) == labels).tolist() == result.accuracies[-1].correct
    assert 0 < result.accuracies[-1].value < 100


def test_it_says_why_a_number_should_be_doubted(images):
    class Detached(Convolutional):
        def forward(self, x):
            return super().forward(x).detach()

    model = Detached()
    result = cfamc_zoo.attack(model, images, own_labels(model, images), eps="2/255")
    assert "zero-gradient" in [doubt.name for doubt in result.doubts]
    lines = str(result).splitlines()
    assert lines[0] == "clean accuracy: 100.00% (91.24..100.00), 40 images"
    assert lines[1].startswith("robust accuracy, PGD-20 2/255: ")
    assert any(line.startswith("doubt: 32 of 32 images have") for line in lines)


def test_an_ensemble_and_what_it_runs_instead_for_few_classes(images):
    model = Affine(classes=3)
    labels = own_labels(model, images)
    result = cfamc_zoo.attack(model, images, labels, attack="apgd-only", eps=0.01)
    assert [a.attack for a in result.accuracies] == ["", "APGD-CE", "APGD-T", "APGD-CE + APGD-T"]
    assert any("the targeted DLR loss needs 4 classes" in note for note in result.notes)


def test_the_model_is_given_back_as_it_was(images):
    model = Convolutional().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cfamc_zoo.attack(model, images, torch.zeros(40, dtype=torch.int32), eps=0.01)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"attack": "pdg"}, UnknownNameError, "did you mean pgd"),
        ({"attack": "feature"}, UsageError, "not on a classifier"),
        ({"eps": "8"}, UsageError, "did you mean 8/255"),
        ({"eps": -0.1}, UsageError, "negative"),
        ({"eps": []}, UsageError, "no radius"),
        ({"norm": "l1"}, UnknownNameError, "l1"),
        ({"images": torch.zeros(0, 3, 8, 8)}, DataError, "no images"),
        ({"images": 255 * some_images()}, DataError, "must be in [0, 1]"),
        ({"labels": torch.zeros(39, dtype=torch.long)}, DataError, "40 images and 39 labels"),
        ({"labels": torch.full((40,), 5)}, DataError, "the model knows 0..4"),
        ({"model": nn.Flatten(0)}, ModelError, "shape (1, classes)"),
        ({"model": nn.Linear(3, 3)}, ModelError, "the model failed on images"),
    ],
)
def test_bad_input_is_one_clear_line(model, images, change, error, said):
    given = {"model": model, "images": images, "labels": torch.zeros(40, dtype=torch.long)}
    with pytest.raises(error) as raised:
        cfamc_zoo.attack(**{**given, **change})
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_equal_calls_give_equal_bits(model, images):
    labels = own_labels(model, images)
    first, second = (cfamc_zoo.attack(model, images, labels, eps=0.01) for _ in range(2))
    assert np.array_equal(first.adversarial, second.adversarial)


@pytest.fixture(scope="module")
def result():
    model, images = Convolutional(), some_images()
    labels = own_labels(model, images)
    return cfamc_zoo.attack(
        model, images, labels, attack="apgd", steps=3, restarts=2, eps=["1/255", "2/255"]
    )


def test_settings_by_keyword_are_those_of_a_value(images, model):
    labels = own_labels(model, images)
    named = cfamc_zoo.attack(model, images, labels, attack="square", steps=9, eps=0.02)
    value = cfamc_zoo.attack(model, images, labels, attack=Square(9), eps=0.02)
    assert np.array_equal(named.adversarial, value.adversarial)
    other = cfamc_zoo.attack(model, images, labels, attack="square", steps=2, eps=0.02)
    assert not np.array_equal(named.adversarial, other.adversarial)


def test_a_result_is_short_to_look_at(result):
    text = repr(result)
    assert text.startswith("<Assessment: APGD-CE, linf, 40 images: 100.00% clean, ")
    assert f"{result.accuracies[2].value:.2f}% at 2/255" in text
    assert len(text) < 200
    assert "True" not in repr(result.accuracies[0])


def test_a_result_as_json_holds_what_the_command_prints(result):
    read = json.loads(json.dumps(result.to_json()))
    assert [row["attack"] for row in read["results"]] == ["", "APGD-CE", "APGD-CE"]
    assert read["results"][1]["correct"] == result.accuracies[1].correct
    assert read["settings"] == ["Apgd(loss='ce', steps=3, restarts=2)"]
    assert read["eps"] == ["1/255", "2/255"]
    assert read["images"] == [40, 3, 8, 8]
    assert read["classes"] == 5
    assert read["versions"]["torch"] == torch.__version__


def test_a_result_is_saved_as_images_with_their_verdicts(result, tmp_path):
    result.save(tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), result.adversarial)
    result.save(str(tmp_path / "x.parquet"))
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["eps"].to_pylist() == ["1/255"] * 40 + ["2/255"] * 40
    assert table["stands"].to_pylist() == [c for a in result.accuracies[1:] for c in a.correct]
    assert table["label"].to_pylist() == result.labels.tolist() * 2
    with pytest.raises(OutputExistsError, match="already there"):
        result.save(tmp_path / "x.npy")
    with pytest.raises(UsageError, match=r"must end in \.npy or \.parquet"):
        result.save(tmp_path / "x.png")


def test_a_result_is_written_as_a_page_with_pictures(result, tmp_path):
    result.report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert f"<b>{result.accuracies[2].value:.1f}%</b> at 2/255" in page
    fell = sum(c is False for c in result.accuracies[2].correct)
    assert page.count('class="fell"') == min(fell, 8) > 0
    assert page.count("data:image/png") == 3 * len(result.pictures)
    assert "Apgd(loss=&#39;ce&#39;, steps=3, restarts=2)" in page
    assert "L-infinity: the largest change" in page and "{&#39;" not in page
    with pytest.raises(OutputExistsError):
        result.report(tmp_path / "r.html")
    with pytest.raises(UsageError, match=r"must end in \.html"):
        result.report(tmp_path / "r.pdf")


@pytest.mark.parametrize("shape", [(1, 12, 5), (4, 5, 12)])
def test_images_of_any_shape_come_back_in_files_and_pictures(shape, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * 60, 3))
    images = np.random.default_rng(0).random((9, *shape))
    labels = model(torch.from_numpy(images).float()).argmax(1).numpy()
    found = cfamc_zoo.attack(model, images, labels, attack="square", steps=5, norm="l2", eps=0.3)
    assert found.adversarial.shape == (1, 9, *shape)
    found.report(tmp_path / "r.html")
    found.save(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.metadata[b"image_shape"].decode() == "x".join(map(str, shape))
    assert np.allclose(table["image"][3].as_py(), found.adversarial[0, 3].ravel())


def test_progress_is_told_to_a_function_or_drawn_for_a_person(model, images, capsys):
    told = []

    def tell(done, whole, status):
        told.append((done, whole, status))

    labels = own_labels(model, images)
    options = {"attack": "pgd", "steps": 2, "eps": [0.01, 0.02], "batch_size": 16}
    cfamc_zoo.attack(model, images, labels, progress=tell, **options)
    assert [whole for _, whole, _ in told] == [80] * len(told)
    assert sorted(done for done, _, _ in told) == [done for done, _, _ in told]
    assert told[-1] == (80, 80, "checks of the model")
    assert any(status.startswith("PGD-2 0.02: robust ") for _, _, status in told)
    capsys.readouterr()
    cfamc_zoo.attack(model, images, labels, progress=True, **options)
    assert capsys.readouterr() == ("", "")  # quicker than the first line in a log


@pytest.mark.parametrize("attack", ["pgd", Pgd()], ids=["by-name", "value"])
def test_the_batch_size_is_taken_beside_any_attack(model, images, attack):
    told = []
    labels = own_labels(model, images)
    cfamc_zoo.attack(
        model, images, labels, attack=attack, eps=0.01, batch_size=16,
        progress=lambda done, whole, status: told.append(done),
    )  # fmt: skip
    steps = [after - before for before, after in pairwise(told)]
    assert steps == [16, 16, 8, 0], "40 images, and the checks"
    with pytest.raises(UsageError, match="batch_size is 0; it must be at least 1"):
        cfamc_zoo.attack(model, images, labels, attack=attack, batch_size=0)


def test_a_model_by_name_is_its_classifier(tiny_release, sample):
    found, expected = (
        cfamc_zoo.attack(
            given, sample.images[:24].transpose(0, 3, 1, 2), sample.labels[:24], steps=1, eps=0.01
        )
        for given in (str(tiny_release), cfamc_zoo.load_classifier(str(tiny_release)))
    )
    assert np.array_equal(found.adversarial, expected.adversarial)
    assert found.pictures
    assert all(picture.label in sample.classes for picture in found.pictures)
