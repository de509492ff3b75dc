"""Embedding by the workers of a Ray of two cores: the rows of one process, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding.executors import embed_inputs
from cfamc_zoo.embedding.inputs import Inputs, open_inputs
from cfamc_zoo.embedding.items import Given, Item
from cfamc_zoo.embedding.outputs import Output
from cfamc_zoo.embedding.settings import Execution, Settings
from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.release.folder import open_release


@pytest.fixture(scope="module", autouse=True)
def ray():
    """Two cores for all tests of this file: to start Ray takes longer than they do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\.")
        import ray

        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
        )
        yield ray
        ray.shutdown()


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch, sample):
    """Of every kind: 100 files, one of them damaged; Parquet, and two tar files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(100):
        Image.fromarray(sample.images[i]).save(f"images/{i:02}.png")
    content = [Path(f"images/{i:02}.png").read_bytes() for i in range(10)]
    pq.write_table(pa.table({"image": content}), "some.parquet", row_group_size=4)
    for name, mode in (("plain.tar", "w"), ("packed.tar.gz", "w:gz")):
        with tarfile.open(name, mode) as archive:
            for i in range(5):
                archive.add(f"images/{i:02}.png")
    Path("images/50.png").write_text("no image")


def table_of(folder):
    """All rows, in the order of the partitions."""
    return pa.concat_tables(map(pq.read_table, sorted(Path(folder).iterdir())))


def assert_same_rows(one, other):
    one, other = table_of(one), table_of(other)
    assert one.drop(["embedding"]).equals(other.drop(["embedding"]))
    vectors = [np.stack(table.column("embedding").to_pylist()) for table in (one, other)]
    np.testing.assert_allclose(*vectors, rtol=0, atol=1e-6)


def test_rows_reasons_and_what_made_them_are_those_of_one_process(tiny_release, tmp_path, capsys):
    inputs = ["images", "some.parquet", "packed.tar.gz", "plain.tar"]
    inputs.append((tmp_path / "images/07.png").as_uri())
    more = ["-m", str(tiny_release), "--columns", "width,sha256,size", "--normalize", "--json"]
    said = []
    for folder, backend in (("one", "onnx"), ("many", "ray")):
        assert run(["embed", *inputs, "-o", f"{folder}/", "--backend", backend, *more]) == 1
        said.append(json.loads(capsys.readouterr().out))
    assert_same_rows("one", "many")
    reasons = [Path(f"{folder}.unreadable.jsonl").read_text() for folder in ("one", "many")]
    assert reasons[0] == reasons[1] and "images/50.png" in reasons[0]
    assert len([*Path("many").iterdir()]) > len([*Path("one").iterdir()]) == 1
    made = [pq.read_schema(f"{folder}/part-00000.parquet").metadata for folder in ("one", "many")]
    assert {**made[0], b"part": b""} == {**made[1], b"part": b""}
    for one in said:
        del one["seconds"], one["output"]
    assert said[0] == said[1]
    assert not [p.name for p in tmp_path.glob(".*")]


def embed(items, output, release, backend, roots=()):
    return embed_inputs(
        Inputs(("some",), (Given(items),)),
        open_release(release),
        Output(Path(output), "/", roots=roots),
        settings=Settings(backend=backend),
        execution=Execution(threads=1),
    )


def test_what_a_killed_worker_did_is_done_again(tiny_release, tmp_path):
    items = [*open_inputs("images")]
    assert embed(items, "one", tiny_release, "onnx").written == 99
    flag = str(tmp_path / "killed")

    def content():  # a function of a function travels to the workers by itself
        if not os.path.exists(flag):  # noqa: PTH110
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return Path("images/70.png")

    items[70] = Item(items[70].name, content, items[70].size, items[70].modified)
    outcome = embed(items, "many", tiny_release, "ray")
    assert Path(flag).exists()
    assert (outcome.total, outcome.written) == (100, 99)
    assert_same_rows("one", "many")


DRIVER = """
import os, signal, sys
import ray
from cfamc_zoo.cli.app import run
from cfamc_zoo.embedding.partial import Partial
put, done = Partial.put, []
def put_then_die(self, i, *arguments):
    put(self, i, *arguments)
    done.append(i)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Partial.put = put_then_die
run(sys.argv[1:])
"""


@pytest.mark.sweep
def test_partitions_that_a_killed_driver_finished_are_not_embedded_again(
    tiny_release, tmp_path, capsys, monkeypatch, ray
):
    base = ["embed", "images", "-m", str(tiny_release), "--batch-size", "8", "-o"]
    assert run([*base, "one/"]) == 1
    arguments = [*base, "many/", "--backend", "ray"]
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    killed = subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / ".many.partial").iterdir()}
    assert len(kept) == 2
    capsys.readouterr()
    assert run(arguments) == 1
    assert "went on after" in capsys.readouterr().err
    assert {name: Path("many", name).stat().st_mtime_ns for name in kept} == kept
    assert_same_rows("one", "many")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["-o", "e.parquet"], "writes several; give -o FOLDER/"),
        (["-o", "e/", "--update"], "--update is not for --backend ray"),
        (["-o", "e/", "--threads", "3"], "no machine of the cluster has 3 free cores"),
        (["-o", "e/", "--features", "projection"], "projection needs --backend torch"),
        (["-o", "e/", "--device", "cuda"], "and a GPU"),
    ],
)
def test_what_it_cannot_do_is_one_line(tiny_release, capsys, more, said):
    assert run(["embed", "images", "-m", str(tiny_release), "--backend", "ray", *more]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_what_a_worker_raises_on_purpose_is_raised_here(tiny_release, tmp_path, capfd):
    """As on a machine that does not see the folder of the images."""
    with pytest.raises(UsageError, match="does not see folder 'elsewhere'"):
        embed([*open_inputs("images")], "many", tiny_release, "ray", roots=("elsewhere",))
    assert "Traceback" not in capfd.readouterr().err
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"images"}


def test_workers_without_ray_and_ray_without_its_package_are_one_line(
    tiny_release, capsys, monkeypatch
):
    base = ["embed", "images", "-m", str(tiny_release), "-o", "e/"]
    assert run([*base, "--workers", "2"]) == 2
    assert "--workers is of --backend ray" in capsys.readouterr().err
    monkeypatch.setattr("cfamc_zoo.embedding.executors.find_spec", lambda name: None)
    assert run([*base, "--backend", "ray"]) == 2
    assert "pip install 'cfamc-zoo[ray]'" in capsys.readouterr().err


def test_without_it_nothing_of_ray_is_imported(tiny_release):
    script = "import sys\nfrom cfamc_zoo.cli.app import run\nrun(sys.argv[1:])\n"
    script += "assert not {'ray', 'torch'} & {*sys.modules}, 'imported'"
    arguments = ["embed", "images/01.png", "-m", str(tiny_release), "-o", "e/"]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
