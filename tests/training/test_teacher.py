"""Training against a teacher: what is learnt, what stays, what is recorded and refused."""

import json

import numpy as np
import pytest
import torch

from cfamc_zoo.cli.app import run as command
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.training.engine import Engine, learning_rate
from cfamc_zoo.training.loop import train
from cfamc_zoo.training.objectives import KINDS
from cfamc_zoo.training.recipe import list_recipes, load_recipe
from cfamc_zoo.training.start import start_from
from cfamc_zoo.training.teacher import teacher_for
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.timm import TimmArchitecture
from cfamc_zoo.zoo.release.loading import save_release
from tests.conftest import make_config, make_encoder
from tests.sweep import sweep

CPU = torch.device("cpu")
RECIPES = [name for name in list_recipes() if load_recipe(name).objective.taught]
SHAPE = ["encoder.width=4", "encoder.representation=32", "encoder.projection=16"]
TINY = [*SHAPE, "batch_size=8", "max_steps=2", "precision=float32", "log_steps=1"]


def save(folder, change=lambda encoder: None, name="tiny"):
    encoder = make_encoder()
    change(encoder)
    save_release(folder, encoder, make_config(encoder, name))
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "teacher")


def recipe_of(name, folder, *settings):
    return load_recipe(name, [*TINY, f"teacher={folder}", *settings])


def trained(recipe, images, folder, **options):
    folder.mkdir(exist_ok=True)
    options = {"device": CPU, "report": lambda _: None, "teacher": teacher_for(recipe), **options}
    return train(recipe, images, folder, **options)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("student", ["from-teacher", sweep("from-scratch")])
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_stops_and_goes_on_exactly(name, student, folder, images, tmp_path):
    recipe = recipe_of(name, folder, f"student={student}", "max_steps=3")
    start = start_from(folder, recipe) if student == "from-teacher" else None
    whole = trained(recipe, images, tmp_path / "whole", start=start)
    stops = iter([True])
    start = start_from(folder, recipe) if start else None
    trained(recipe, images, tmp_path / "part", start=start, stop=lambda: next(stops))
    resumed = trained(recipe, images, tmp_path / "part")
    assert same(whole.encoder.state_dict(), resumed.encoder.state_dict())
    assert resumed.teacher == teacher_for(recipe).record()
    teacher = teacher_for(recipe).encoder
    moved = whole.encoder.backbone.state_dict()
    assert not same(moved, teacher.backbone.state_dict())
    # What is not trained is the teacher's, whatever the backbone started from.
    for part in ("representation", "projector"):
        kept, given = (dict(getattr(e, part).named_parameters()) for e in (whole.encoder, teacher))
        assert same(kept, given)


@pytest.mark.parametrize("name", RECIPES)
def test_the_teacher_stays_as_it_is_and_out_of_checkpoints(name, folder, images, tmp_path):
    recipe = recipe_of(name, folder)
    teacher = teacher_for(recipe)
    before = {k: v.clone() for k, v in teacher.encoder.state_dict().items()}
    trained(recipe, images, tmp_path / "run", teacher=teacher)
    assert same(before, teacher.encoder.state_dict())
    assert not teacher.encoder.training
    assert not any(p.requires_grad for p in teacher.encoder.parameters())
    stored = (tmp_path / "run" / "checkpoint.safetensors").stat().st_size
    floats = sum(v.numel() for v in before.values())
    assert stored < 4 * floats * 4  # weights, two moments and crops, not a second network too


def cosine(a, b):
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def test_losses_are_their_papers_equations():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(3, 5, 7, generator=generator, dtype=torch.float64).split((2, 1))
    clean, perturbed = student
    kinds = {kind.kind: kind for kind in KINDS}
    moved = sum(float(((perturbed[i] - teacher[0, i]) ** 2).sum()) for i in range(5)) / 5
    strayed = sum(float(((clean[i] - teacher[0, i]) ** 2).sum()) for i in range(5)) / 5
    robustify = kinds["robustify"]
    assert robustify().loss(student[1:], teacher)[0].item() == pytest.approx(moved, abs=1e-12)
    near = robustify(proximity=0.5).loss(student, teacher)[0].item()
    assert near == pytest.approx(moved + 0.5 * strayed, abs=1e-12)
    slow = -cosine(clean, teacher[0]).mean() - 2 * cosine(perturbed, clean).mean()
    assert kinds["deacl"]().loss(student, teacher)[0].item() == pytest.approx(slow.item())


def test_profeat_is_half_in_features_and_half_behind_the_projector():
    generator = torch.Generator().manual_seed(1)
    f, p = (torch.randn(3, 5, d, generator=generator, dtype=torch.float64) for d in (7, 4))
    kind = {kind.kind: kind for kind in KINDS}["profeat"]
    slow = 0.0
    for z in (f, p):
        slow -= 0.5 * float(cosine(z[0], z[2]).mean() + 8 * cosine(z[1], z[0]).mean())
    loss, _ = kind(robustness=8.0).loss(f[:2], p[:2], f[2:], p[2:])
    assert loss.item() == pytest.approx(slow, abs=1e-12)


def test_profeat_shows_the_teacher_the_weak_view_alone(folder, images):
    recipe = recipe_of("profeat", folder)
    engine = Engine(recipe, images, CPU, start_from(folder, recipe).encoder, teacher_for(recipe))
    weak, strong = engine.batches.take(0).unflatten(0, (2, -1))
    batch = engine._batch(0)
    assert torch.equal(batch.clean, strong) and torch.equal(batch.attacked, strong)
    with torch.no_grad():
        seen = teacher_for(recipe).encoder(weak)
    torch.testing.assert_close(batch.taught[0][0], seen)


def test_deacl_attacks_the_angle_to_the_teacher_in_evaluation_mode(folder, images, monkeypatch):
    recipe = recipe_of("deacl", folder)
    engine = Engine(recipe, images, CPU, start_from(folder, recipe).encoder, teacher_for(recipe))
    statistics = engine.encoder.backbone.state_dict()
    before = {k: v.clone() for k, v in statistics.items()}
    batch = engine._batch(0)
    start, end = engine._start(recipe.adversary, batch), engine._perturbation(batch)
    assert same(before, engine.encoder.backbone.state_dict()), "the attack left its mark"
    assert engine.encoder.training
    assert 0.9 * 8 / 255 < start.abs().max() <= 8 / 255
    assert torch.equal(start, engine._start(recipe.adversary, engine._batch(0)))
    assert not torch.equal(start, engine._start(recipe.adversary, engine._batch(1)))
    climb = recipe.objective.attack(engine._look, batch.attacked, *batch.taught)
    engine.encoder.eval()
    with torch.no_grad():
        begun = climb(recipe.adversary.threat.project(batch.attacked, start) + batch.attacked)
        assert climb(batch.attacked + end) > begun


def test_a_run_is_bound_to_its_teacher_s_digest(folder, images, tmp_path):
    recipe = recipe_of("deacl", folder)
    stops = iter([True])
    trained(recipe, images, tmp_path / "run", stop=lambda: next(stops))
    other = save(tmp_path / "other", lambda e: e.backbone.conv1.weight.mul_(2))
    with pytest.raises(UsageError, match="^[^\n]*teacher 'tiny' of sha256[^\n]*--set teacher="):
        trained(recipe_of("deacl", other), images, tmp_path / "run")


def flatten(encoder):
    for parameter in encoder.backbone.parameters():
        parameter.zero_()


def without_projector(encoder):
    encoder.projector = None


def test_what_cannot_teach_is_refused_in_one_line(folder, images, tmp_path):
    one_line = "^[^\n]*{}[^\n]*$"
    with pytest.raises(UsageError, match=one_line.format("needs a teacher; --set teacher=")):
        teacher_for(load_recipe("deacl", TINY))
    with pytest.raises(UnknownNameError):
        teacher_for(recipe_of("deacl", "resnet18-cifar10-fre"))
    with pytest.raises(UsageError, match=one_line.format("--set encoder.width=4")):
        teacher_for(recipe_of("deacl", folder, "encoder.width=8"))
    with pytest.raises(UsageError, match=one_line.format("emp has none")):
        load_recipe("cf-amc-ssl", [f"teacher={folder}"])
    bare = save(tmp_path / "bare", without_projector)
    with pytest.raises(UsageError, match=one_line.format("no projector.safetensors")):
        teacher_for(recipe_of("profeat", bare))
    assert teacher_for(recipe_of("deacl", bare)) is not None
    constant = recipe_of("deacl", save(tmp_path / "constant", flatten))
    with pytest.raises(UsageError, match=one_line.format("same backbone for all of 16 images")):
        Engine(constant, images, CPU, teacher=teacher_for(constant))
    architecture = TimmArchitecture(model="resnet10t", features=512)
    pytest.importorskip("timm")
    other = Encoder(architecture)
    save_release(tmp_path / "timm", other, make_config(other))
    with pytest.raises(UsageError, match=one_line.format("of the family timm")):
        teacher_for(recipe_of("deacl", tmp_path / "timm"))


def test_a_release_says_who_taught_it(folder, tmp_path, capsys):
    run = tmp_path / "run"
    settings = [f"--set={text}" for text in (*TINY, f"teacher={folder}", "max_steps=1")]
    call = ["train", "deacl", "--data=cifar10-sample", "-o", str(run), *settings]
    assert command(call) == 0
    config = json.loads((run / "release" / "config.json").read_text())
    teacher = teacher_for(recipe_of("deacl", folder))
    assert config["provenance"]["teacher"] == teacher.record()
    assert config["provenance"]["from"]["name"] == "tiny"
    assert config["recipe"]["teacher"] == "tiny", "a folder of this machine is nobody's business"
    from cfamc_zoo.export.card import render_body
    from cfamc_zoo.zoo.release.folder import open_release

    card = render_body(open_release(run / "release"))
    assert f"Taught by `tiny`, sha256 {teacher.sha256[:12]}" in card
    assert "without labels (DeACL)" in card


def test_a_warm_up_rises_to_the_rate_and_the_cosine_falls_from_there():
    recipe = load_recipe("deacl", ["epochs=10", "optimizer.lr=1.0"])
    rates = [learning_rate(recipe, update, 20) for update in range(200)]
    assert rates[:21] == sorted(rates[:21]) and rates[20] == 1
    assert rates[20:] == sorted(rates[20:], reverse=True) and rates[-1] < 1e-3
    np.testing.assert_allclose(np.diff(rates[:21]), 1 / 21)
