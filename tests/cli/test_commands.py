"""Finding, evaluating and fetching models from the command line."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest

from cfamc_zoo.zoo.release.folder import CONFIG, MODEL
from tests import inside

PATHS = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def zoo(*arguments, **options):
    done = inside.cfamc_zoo(*arguments, **options)
    assert "Traceback" not in done.stderr
    return done


def process(*arguments, code=0, **options):
    """As `zoo`, in a process of its own."""
    command = [sys.executable, "-m", "cfamc_zoo", *map(str, arguments)]
    environment = os.environ | PATHS | {"HF_HUB_OFFLINE": "1"} | options.pop("env", {})
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, **options
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "did you mean list"),
        (["embed"], "Missing argument"),
        (["embed", "x", "--modle", "y"], "--model"),
        (["info", "resnet18-thin-cifar10"], "unknown model"),
        (["attack", "--eps", "8"], "did you mean 8/255?"),
        (["attack", "--eps", "eight"], "is not a number"),
        (["attack", "--eps", "-1/255"], "is negative"),
        (["attack", "--eps", "1/0"], "is not a number"),
        (["attack", "--steps", "0"], "must be at least 1"),
        (["attack", "--attack", "pdg"], "did you mean pgd"),
        (["attack", "--start", "zeros"], "did you mean zero"),
        (["attack", "--limit", "0"], "--limit"),
        (["attack", "--data", "cifar10-smple"], "did you mean cifar10-sample"),
        (["attack", "--probe", "gone.safetensors"], "is not a file"),
        (["attack", "--device", "cuda:9"], "0 CUDA devices"),
        (["probe", "--features", "backbones"], "did you mean backbone"),
        (["probe", "--data", "cifar11"], "did you mean cifar10"),
        (["probe", "-o", "nowhere/p.safetensors"], "does not exist"),
        (["export", "nowhere", "-o", "out"], "unknown model 'nowhere'"),
        (["pull", "resnet"], "unknown model"),
    ],
)
def test_wrong_usage_is_at_most_three_lines_and_exit_code_2(
    arguments, said, tiny_release, tmp_path
):
    if arguments[0] in ("attack", "probe"):
        arguments = [*arguments, "-m", tiny_release]
    done = zoo(*arguments, code=2, cwd=tmp_path)
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") <= 3
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_process_ends_with_the_code_and_the_lines_of_its_command(tmp_path):
    for arguments in (["lst"], ["embed"], ["pull", "resnet"], ["probe", "--data", "cifar11"]):
        by_itself = process(*arguments, code=2, cwd=tmp_path)
        done = zoo(*arguments, code=2, cwd=tmp_path)
        assert (by_itself.stdout, by_itself.stderr) == (done.stdout, done.stderr)


def test_help_and_version_go_to_stdout():
    assert "Usage: cfamc-zoo" in process().stdout
    assert "embed" in zoo("--help").stdout
    assert process("--version").stdout.startswith("cfamc-zoo 0.")


def test_attack_reports_every_image_and_can_be_repeated(tiny_release, sample):
    command = ["attack", "-m", tiny_release, "--eps", "1/255,8/255", "--limit", 60, "--json"]
    answer = json.loads(zoo(*command, "--steps", 3).stdout)
    assert [r["metric"] for r in answer["results"]] == [
        "clean accuracy",
        "robust accuracy",
        "robust accuracy",
    ]
    clean, small, large = (r["correct"] for r in answer["results"])
    assert len(clean) == 60
    assert all(a >= b >= c for a, b, c in zip(clean, small, large, strict=True))
    for row in answer["results"]:
        assert row["value"] == pytest.approx(100 * sum(row["correct"]) / 60)
        assert row["low"] <= row["value"] <= row["high"]
    again = json.loads(zoo(*command, "--steps", 3).stdout)
    for a, b in zip(answer["results"], again["results"], strict=True):
        assert a["correct"] == b["correct"]
    table = zoo("attack", "-m", tiny_release, "--limit", 20, "--steps", 2)
    assert "95% interval" in table.stdout
    assert "PGD-2" in table.stdout


def test_a_model_and_data_of_other_classes_are_refused(tiny_release, tmp_path):
    release = shutil.copytree(tiny_release, tmp_path / "release")
    from safetensors.torch import load, save

    from cfamc_zoo.zoo.release.folder import PROBE, open_release, write_files

    opened = open_release(release)
    tensors = load(opened.read(PROBE))
    metadata = {
        "feature": "representation",
        "data": "pets",
        "classes": json.dumps(list("abcdefghij")),
    }
    write_files(release, dataclasses.replace(opened.config), {PROBE: save(tensors, metadata)})
    done = zoo("attack", "-m", release, "--limit", 5, code=2)
    assert "knows the classes of pets, not those of cifar10-sample" in done.stderr


def test_a_probe_is_fitted_written_and_attacked(tiny_release, tmp_path):
    from importlib import resources

    folder = tmp_path / "cifar10" / "plain_text"
    folder.mkdir(parents=True)
    source = str(resources.files("cfamc_zoo") / "samples/cifar10-sample.parquet")
    for split in ("train", "test"):
        shutil.copy(source, folder / f"{split}-00000-of-00001.parquet")
    env = {"CFAMC_ZOO_DATA": str(tmp_path)}
    head = tmp_path / "head.safetensors"
    options = ["-m", tiny_release, "--features", "backbone", "--limit", 300]
    answer = json.loads(zoo("probe", *options, "-o", head, "--json", env=env).stdout)
    assert answer["train_images"] == 300
    assert answer["n"] == 1000
    assert answer["test_accuracy"] > 15, "random features beat chance"

    attack = ["attack", "-m", tiny_release, "--probe", head, "--steps", 1, "--json"]
    attacked = json.loads(zoo(*attack).stdout)
    clean = attacked["results"][0]
    assert clean["value"] == pytest.approx(answer["test_accuracy"], abs=0.11)


def test_a_head_chosen_for_robustness_is_the_most_robust_of_those_that_are_accurate(
    tmp_path, monkeypatch, capsys
):
    """Under attack at the radius that the release was trained against."""
    from importlib import resources

    from cfamc_zoo.cli.app import run
    from cfamc_zoo.zoo.release.loading import save_release
    from tests.conftest import make_config, make_encoder

    folder = tmp_path / "cifar10" / "plain_text"
    folder.mkdir(parents=True)
    source = str(resources.files("cfamc_zoo") / "samples/cifar10-sample.parquet")
    for split in ("train", "test"):
        shutil.copy(source, folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("CFAMC_ZOO_DATA", str(tmp_path))
    encoder = make_encoder()

    def probe(eps, *more):
        config = dataclasses.replace(
            make_config(encoder), threat_model={"norm": "linf", "eps": eps}
        )
        save_release(tmp_path / "r", encoder, config)
        options = ["-m", str(tmp_path / "r"), "--features", "backbone", "--limit", "300", "--json"]
        assert run(["probe", *options, *more]) == 0
        return json.loads(capsys.readouterr().out)

    told = probe("1/1000", "--select", "robust")
    clean, robust = told["held_out_accuracy"], told["held_out_robust_accuracy"]
    assert set(robust) == {d for d, a in clean.items() if a >= 0.95 * max(clean.values())}
    assert robust[str(told["decay"])] == max(robust.values()) > 0
    assert any(robust[d] < clean[d] - 1 for d in robust), "attacked"
    much = probe("64/255", "--select", "robust")["held_out_robust_accuracy"]
    assert set(much.values()) == {0.0}
    plain = probe("1/1000")
    assert plain["held_out_accuracy"] == clean and plain["held_out_robust_accuracy"] == {}
    assert clean[str(plain["decay"])] == max(clean.values())


def test_list_and_info_show_what_was_measured(tiny_release):
    listed = json.loads(zoo("list", "--json").stdout)["models"]
    assert zoo("list").stdout.count("\n") == len(listed) + 1
    shown = json.loads(zoo("info", tiny_release, "--json").stdout)
    assert shown["architecture"]["width"] == 4
    assert "model.safetensors" in zoo("info", tiny_release).stdout


@pytest.mark.parametrize("command", ["list", "info"])
def test_at_a_terminal_of_80_columns_names_are_whole(command, capsys, monkeypatch):
    from cfamc_zoo.cli.app import run
    from cfamc_zoo.zoo.catalogue.registry import default_model

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no colours, which would count as width
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    name = default_model()
    assert run([command, name] if command == "info" else [command]) == 0
    printed = capsys.readouterr().out
    assert name in printed and "\t" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    if command == "info":
        assert "cifar10-sample  robust accuracy" in printed
        assert "linear head chosen for" in printed
        lines = printed.splitlines()
        (last,) = (i for i, line in enumerate(lines) if line.startswith("differences between"))
        assert lines[last - 1] == "", "apart from the table above"


@pytest.mark.parametrize("columns", ["40", "60", "200"])
def test_a_path_breaks_where_its_folders_end(capsys, monkeypatch, columns):
    from cfamc_zoo.cli import output

    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    path = "/home/somebody/photographs/of two summers/bundled/resnet18-thin-cifar10-free"
    output.table(("", ""), [("folder", path), ("input", "RGB in [0, 1]")])
    lines = [line[8:].rstrip("\n") for line in capsys.readouterr().out.splitlines()]
    drawn = [line.rstrip() for line in lines if line.strip()][:-1]
    assert max(map(len, drawn)) <= int(columns) - 8
    assert len(drawn) == 1 or all(line[-1] in "/ " or line in path for line in drawn)
    whole = "".join(line if line.endswith("/") else f"{line} " for line in drawn).strip()
    assert whole == path


def test_export_makes_a_release_of_a_release(tiny_release, tmp_path):
    out = tmp_path / "copy"
    answer = zoo("export", tiny_release, "-o", out, "--name", "renamed", "--json").stdout
    assert len(answer) < 1000
    assert json.loads(answer)["folder"] == str(out)
    assert set(json.loads(answer)["sha256"]) > {MODEL, "model.onnx"}
    assert json.loads((out / CONFIG).read_text())["name"] == "renamed"
    assert (out / MODEL).read_bytes() == (tiny_release / MODEL).read_bytes()
    assert "already there" in zoo("export", tiny_release, "-o", out, code=2).stderr


def test_doctor_finds_the_packages_and_a_provider_that_works():
    done = zoo("doctor", "--json")
    found = {f["what"]: f for f in json.loads(done.stdout)["findings"]}
    assert found["ONNX Runtime on CPU"]["state"] == "ok"
    assert found["torch"]["state"] == "ok"


def test_doctor_notices_two_onnx_runtimes_over_each_other(monkeypatch):
    from cfamc_zoo import doctor

    monkeypatch.setattr(doctor.metadata, "version", lambda name: "1.0")
    (finding,) = [f for f in doctor.examine() if f.what == "ONNX Runtime"]
    assert finding.state == "broken"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in finding.remedy


def test_a_reader_that_goes_away_is_no_error(tiny_release):
    command = f"{sys.executable} -m cfamc_zoo info {tiny_release} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
