"""Networks of timm as releases: their own features, input and weights, and nothing made up."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import DataError, HubError, ReleaseError, UsageError
from cfamc_zoo.evaluation.attacks.gradient import gradient_of
from cfamc_zoo.export.timm_models import import_network
from cfamc_zoo.zoo.images.preprocess import read_image, to_input
from cfamc_zoo.zoo.network.families.timm import TimmArchitecture
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import open_release
from cfamc_zoo.zoo.release.loading import save_release
from tests.sweep import sweep

FIXED = ("img_size=32", "dynamic_img_size=false")
NAMES = {"test_vit": ["--set", FIXED[0], "--set", FIXED[1]], "test_convnext": ["--size", "32"]}


@pytest.fixture(scope="module", params=["test_convnext", sweep("test_vit")])
def released(request, tmp_path_factory):
    """Name in timm, the folder of a release, and the same network made by timm itself."""
    name, folder = request.param, tmp_path_factory.mktemp("timm")
    torch.manual_seed(1)
    arguments = {"img_size": 32} if name == "test_vit" else {}
    theirs = timm.create_model(name, num_classes=10, **arguments).eval()
    torch.save({"state_dict": theirs.state_dict()}, folder / "weights.pth")
    options = ["--weights", str(folder / "weights.pth"), *NAMES[name]]
    assert run(["export", f"timm:{name}", "-o", str(folder / "some"), *options]) == 0
    theirs.reset_classifier(0)
    return name, folder / "some", theirs


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((140, 100)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_its_features_are_timms(released, photo):
    _, folder, theirs = released
    config = timm.data.resolve_data_config(theirs.pretrained_cfg)
    config = {k: config[k] for k in ("mean", "std", "interpolation", "crop_pct")}
    x = timm.data.create_transform(input_size=(3, 32, 32), **config)(Image.open(photo))
    with torch.no_grad():
        expected = theirs(x[None]).numpy()
    for backend in ("onnx", "torch"):
        got = cfamc_zoo.embed(str(photo), model=str(folder), backend=backend)
        assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()
    pixels = to_input(read_image(photo, open_release(folder).config.preprocess)[None])
    mean, std = (np.array(config[k], np.float32).reshape(3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        expected = theirs(torch.from_numpy((pixels - mean) / std)).numpy()
    got = cfamc_zoo.load(str(folder))(torch.from_numpy(pixels)).numpy()
    # Stored in float16.
    np.testing.assert_allclose(got, expected, rtol=1e-2, atol=2e-3 * np.abs(expected).max())


def test_its_config_says_where_all_is_from(released):
    name, folder, theirs = released
    config = open_release(folder).config
    assert config.architecture.model == name
    assert config.architecture.dimensions == {"backbone": theirs.num_features}
    weights = config.provenance["weights"]
    assert weights["kind"] == "file" and weights["name"] == "weights.pth"
    assert len(weights["left_out"]) == 2 and all("head" in key for key in weights["left_out"])
    assert ReleaseConfig.from_json(config.to_json()) == config


def test_vectors_need_neither_torch_nor_timm(released, photo, tmp_path):
    script = (
        "import sys\n"
        "from cfamc_zoo.cli.app import run\n"
        f"assert run(['embed', {str(photo)!r}, '-m', {str(released[1])!r}, '-o', 'v.npy']) == 0\n"
        "assert run(['list']) == 0\n"
        f"assert run(['info', {str(released[1])!r}]) == 0\n"
        "assert not {'torch', 'timm'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=tmp_path)


def test_it_is_attacked_and_probed_like_any_other(released, tmp_path, capsys):
    model = ["-m", str(released[1]), "--data", "cifar10-sample"]
    head = str(tmp_path / "head.safetensors")
    assert run(["probe", *model, "--limit", "60", "-o", head, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["feature"] == "backbone"
    options = ["--probe", head, "--limit", "4", "--steps", "2"]
    assert run(["attack", *model, *options]) == 0
    assert run(["attack", *model, "--attack", "feature", "--limit", "4", "--steps", "1"]) == 0
    capsys.readouterr()
    assert run(["probe", *model, "--features", "representation"]) == 2
    assert "has no representation; it has backbone" in capsys.readouterr().err


def test_a_config_that_says_another_width_is_refused(released):
    release = open_release(released[1])
    wrong = replace(release.config.architecture, features=7)
    with pytest.raises(ReleaseError, match=r"as backbone, where the config has 7"):
        open_session(
            replace(release, config=replace(release.config, architecture=wrong)), "backbone"
        )
    encoder = cfamc_zoo.load(str(released[1]))
    encoder.architecture = wrong
    with pytest.raises(ReleaseError, match="where its config has 7"):
        encoder(torch.zeros(1, 3, 32, 32))


def test_random_weights_are_said_to_be_random_and_come_from_a_seed():
    one, other = (import_network("test_resnet", weights="random", size=32) for _ in range(2))
    assert one.config.provenance["weights"] == {"kind": "random", "seed": 0}
    for key, value in one.encoder.state_dict().items():
        assert torch.equal(value, other.encoder.state_dict()[key])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet10", {}, r"unknown timm model 'resnet10'; did you mean resnet10t"),
        (
            "test_vit",
            {"size": 32},
            r"takes 160 x 160 pixels alone, and --size is 32; .*img_size=32",
        ),
        (
            "test_resnet",
            {"settings": ["img_size=32"]},
            "timm makes no test_resnet with img_size 32",
        ),
        ("test_resnet", {"settings": ["checkpoint_path=x"]}, "unknown argument of a timm model"),
        ("test_resnet", {"settings": ["global_pool="], "size": 32}, "vectors are needed"),
        ("test_resnet", {"settings": ["num_classes=5"]}, "unknown argument of a timm model"),
        ("test_resnet", {"settings": ["img_size"]}, "is not key=value"),
        ("test_convnext", {"size": 8}, "does not take 8 x 8 pixels: .*; give another --size"),
        ("test_vit", {"settings": ["img_size=5"]}, "does not take 5 x 5 .* or --set img_size=..."),
        ("test_resnet", {"weights": "nothing"}, "'nothing' are no file; .*--weights random"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(name, options, said):
    with pytest.raises(UsageError, match=said) as refusal:
        import_network(name, **{"weights": "random", **options})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["timm:resnet10"], 2, "did you mean resnet10t"),
        (["timm:test_vit", "--size", "32"], 2, "takes 160 x 160 pixels alone"),
        (["timm:test_convnext", "--size", "8"], 2, "does not take 8 x 8 pixels"),
        (["timm:test_resnet", "--set", "num_classes=5"], 2, "unknown argument"),
        (["timm:test_resnet", "--weights", "{folder}/other.safetensors"], 1, "of another network"),
    ],
)
def test_export_says_it_in_a_line_and_leaves_nothing(words, code, said, tmp_path, capsys):
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "other.safetensors")
    words = [word.format(folder=tmp_path) for word in words]
    weights = [] if "--weights" in words else ["--weights", "random"]
    assert run(["export", *words, *weights, "-o", str(tmp_path / "made")]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line
    assert [path.name for path in tmp_path.iterdir()] == ["other.safetensors"]


def test_weights_of_another_network(tmp_path):
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ReleaseError, match="holds the weights of another network than test_resnet"):
        import_network("test_resnet", weights=str(tmp_path / "w.safetensors"))
    state = timm.create_model("test_resnet").state_dict()
    state["conv1.0.weight"] = torch.zeros(5, 3, 3, 3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ReleaseError, match=r"does not fit test_resnet: backbone.conv1.0.weight is"):
        import_network("test_resnet", weights=str(tmp_path / "w.safetensors"))


def test_without_a_network_and_a_cache_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="not in the cache, .* give --weights FILE, or"):
        import_network("test_resnet")


def test_without_timm_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"not installed; pip install 'cfamc-zoo\[timm\]'$"):
        import_network("test_resnet", weights="random")


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "hf-hub:some/thing"},
        {"model": "local-dir:/tmp"},
        {"arguments": {"pretrained": True}},
        {"arguments": {"checkpoint_path": "/tmp/x"}},
        {"arguments": {"img_size": 10**9}},
        {"arguments": []},
        {"features": 0},
        {"input_size": -1},
    ],
)
def test_a_strangers_config_fetches_and_opens_nothing(wrong):
    with pytest.raises(UsageError):
        TimmArchitecture(**{"model": "test_resnet", "features": 96, **wrong})


def test_a_network_of_one_size_takes_no_other():
    encoder = import_network("test_vit", weights="random", settings=FIXED).encoder
    with pytest.raises(DataError, match="takes 32 x 32 pixels alone"):
        encoder(torch.zeros(1, 3, 64, 64))


def test_large_networks_are_attacked_in_the_memory_that_there_is(tmp_path, monkeypatch, capsys):
    """224 x 224 pixels: ten images at a time, and where that is too many, half of them."""
    made = import_network("test_resnet", weights="random", size=224)
    save_release(tmp_path / "large", made.encoder, made.config)
    words = ["attack", "-m", str(tmp_path / "large"), "--data", "cifar10-sample", "--limit", "12"]
    words += ["--attack", "feature", "--steps", "1", "--json"]
    sizes = []

    def measured():
        assert run(words) == 0
        found = capsys.readouterr()
        return json.loads(found.out)["results"], found.err

    def gradient(gain, x):
        sizes.append(len(x))
        if len(x) > room:
            raise torch.OutOfMemoryError("of a device")
        return gradient_of(gain, x)

    monkeypatch.setattr("cfamc_zoo.evaluation.attacks.feature.gradient_of", gradient)
    room = 10
    expected, said = measured()
    assert max(sizes) == 10 and "out of memory" not in said
    room = 4
    sizes.clear()
    found, said = measured()
    assert sizes[:3] == [10, 5, 3] and max(sizes[2:]) == 3
    assert "out of memory with 10 images at a time; going on with 5" in said
    for key in ("n", "push_median_distance", "pull_median_distance", "breakaway_risk"):
        assert found[0][key] == pytest.approx(expected[0][key], rel=1e-3)
