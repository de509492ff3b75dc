"""One ONNX file for tools that want one."""

import numpy as np
import onnxruntime
import pytest
import torch

import cfamc_zoo
from cfamc_zoo.errors import OutputExistsError, ReleaseError
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.export import single_file
from cfamc_zoo.export.single_file import export_single_file
from cfamc_zoo.zoo.images.preprocess import to_input
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.threat import Linf


def session(path):
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def test_features_of_trained_batchnorm_from_the_file_alone(tiny_release, sample, tmp_path):
    path = tmp_path / "alone" / "x.onnx"
    path.parent.mkdir()
    checked = export_single_file(
        open_release(tiny_release), path, kind="features", images=sample.images[:256]
    )
    assert checked["images"] == 256
    assert checked["backbone"]["relative"] < 1e-5
    x = to_input(sample.images[:7])
    found = session(path).run(None, {"images": x})
    for name, value in zip(("backbone", "representation"), found, strict=True):
        expected = cfamc_zoo.load(str(tiny_release))(torch.from_numpy(x), name).numpy()
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert [p.name for p in path.parent.iterdir()] == ["x.onnx"]
    with pytest.raises(OutputExistsError):
        export_single_file(
            open_release(tiny_release), path, kind="features", images=sample.images[:2]
        )


def test_the_classifier_predicts_the_same_on_the_same_adversarial_images(
    tiny_release, sample, tmp_path
):
    path = tmp_path / "x.onnx"
    release = open_release(tiny_release)
    checked = export_single_file(release, path, kind="classifier", images=sample.images[:256])
    assert checked["same_predictions"] == 1.0
    classifier = cfamc_zoo.load_classifier(str(tiny_release))
    x = torch.from_numpy(to_input(sample.images[:256]))
    labels = torch.from_numpy(sample.labels[:256])
    attack = Pgd(steps=10, step_size=2 / 255)
    with attacked(classifier, x, labels, 10) as target:
        adversarial = attack.run(target, Batch(x, labels, range(len(x)), len(x)), Linf(8 / 255))
    assert (adversarial != x).any()
    assert (adversarial - x).abs().max() <= 8 / 255 + 1e-6
    with torch.no_grad():
        expected = classifier(adversarial).argmax(1).numpy()
    (logits,) = session(path).run(None, {"images": adversarial.numpy()})
    assert (logits.argmax(1) == expected).mean() >= 0.999


def test_a_failed_check_leaves_nothing(tiny_release, sample, tmp_path, monkeypatch):
    monkeypatch.setattr(single_file, "RELATIVE_LIMIT", 0.0)
    with pytest.raises(ReleaseError, match="not written"):
        export_single_file(
            open_release(tiny_release), tmp_path / "x.onnx", kind="features",
            images=sample.images[:4],
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
