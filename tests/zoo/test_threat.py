"""Every norm in the table against what a norm is, in float64: a new one is tested with them."""

import math

import numpy as np
import pytest
import torch

from cfamc_zoo.errors import UsageError
from cfamc_zoo.zoo.threat import L2, NORMS, Linf, Threat, norm_called

SHAPE = (3, 1, 2)
EPS = 0.3


@pytest.fixture(params=NORMS)
def threat(request):
    return NORMS[request.param](EPS, "3/10")


def some(count, *, seed=0, shape=SHAPE):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed)).double()


def drawn(draw, count, shape=SHAPE):
    generator = np.random.default_rng(0)
    return torch.from_numpy(np.stack([draw(generator, shape) for _ in range(count)]))


def on_surface(threat, delta):
    return delta * (EPS / threat.size(delta)).view(-1, 1, 1, 1)


def inner(a, b):
    return (a * b).flatten(1).sum(1)


def test_it_has_the_name_that_the_table_has_and_says_what_it_is(threat):
    assert NORMS[threat.norm] is norm_called(threat.norm) is type(threat)
    assert threat.meaning and threat.meaning not in {
        norm.meaning for norm in NORMS.values() if norm is not type(threat)
    }


def test_the_size_is_a_norm(threat):
    a, b = some(200), some(200, seed=1)
    assert threat.size(a).shape == (200,)
    assert (threat.size(a) > 0).all() and (threat.size(0 * a) == 0).all()
    torch.testing.assert_close(threat.size(-2.5 * a), 2.5 * threat.size(a))
    assert (threat.size(a + b) <= threat.size(a) + threat.size(b) + 1e-12).all()


def test_the_size_of_a_change_of_everything_is_its_reach(threat):
    for count in (1, 2, 300):
        whole = torch.ones(1, 1, 1, count, dtype=torch.double)
        assert threat.size(whole).item() == pytest.approx(threat.reach(count))
        ball = threat.everything(count)
        assert type(ball) is type(threat) and ball.eps == pytest.approx(threat.reach(count))
        torch.testing.assert_close(ball.project(0 * whole, whole), whole, atol=1e-5, rtol=0)


def test_shortening_gives_the_nearest_point_of_the_ball(threat):
    delta = some(60)
    short = threat.shorten(delta)
    assert (threat.size(short) <= EPS * (1 + 1e-12)).all()
    torch.testing.assert_close(threat.shorten(short), short)
    inside = short / 2
    torch.testing.assert_close(threat.shorten(inside), inside)
    others = threat.shorten(some(5000, seed=1) * 0.3)
    away = (delta - short).flatten(1).norm(dim=1)
    nearest = torch.cdist(delta.flatten(1), others.flatten(1)).amin(1)
    assert (away <= nearest + 1e-9).all()


def test_a_projection_is_allowed_idempotent_and_leaves_what_is_allowed(threat):
    images = torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    images[:20] = images[:20].round()  # at the ends of the range
    allowed = threat.project(images, some(60))
    assert (threat.size(allowed) <= EPS * (1 + 1e-12)).all()
    assert (images + allowed).min() >= 0 and (images + allowed).max() <= 1
    torch.testing.assert_close(threat.project(images, allowed), allowed)
    torch.testing.assert_close(threat.project(images, allowed / 2), allowed / 2)


def test_the_steepest_direction_rises_most_of_all_of_its_size(threat):
    gradient = some(60)
    steepest = threat.steepest(gradient)
    torch.testing.assert_close(threat.size(steepest), torch.ones(60).double())
    for seed in range(20):  # a ball is convex, so that what is best nearby is best of all
        nearby = on_surface(threat, steepest + 0.1 * some(60, seed=seed)) / EPS
        assert (inner(gradient, nearby) <= inner(gradient, steepest) + 1e-9).all()
    assert (threat.steepest(0 * gradient) == 0).all()


def test_draws_are_uniform_in_the_ball(threat):
    """Against points of a cube around it, of which those in the ball are kept."""
    shape = (3, 1, 1)
    found = drawn(threat.random_inside, 6000, shape)
    assert found.dtype == torch.double and (threat.size(found) <= EPS * (1 + 1e-12)).all()
    cube = torch.rand(60_000, *shape, generator=torch.Generator().manual_seed(4)).double()
    cube = EPS * (2 * cube - 1)
    expected = cube[threat.size(cube) <= EPS][:6000]
    assert len(expected) > 3000
    part = torch.linspace(0.02, 0.98, 25).double()
    for measure in (
        threat.size,
        lambda x: x[:, 0, 0, 0],
        lambda x: x[:, 0, 0, 0] - x[:, 1, 0, 0],
        lambda x: x[:, 0, 0, 0] * x[:, 2, 0, 0] / EPS,
        lambda x: x.abs().flatten(1).amax(1) / threat.size(x) * EPS,
    ):
        a, b = measure(found).quantile(part), measure(expected).quantile(part)
        torch.testing.assert_close(a, b, atol=0.1 * EPS, rtol=0)


def test_directions_are_drawn_evenly_and_none_is_of_no_size(threat):
    found = drawn(threat.random_direction, 4000)
    assert found.dtype == torch.double and (threat.size(found) > 0).all()
    surface = on_surface(threat, found)
    torch.testing.assert_close(threat.size(surface), torch.full((4000,), EPS).double())
    flat = surface.flatten(1)
    spread = flat.std(0).mean()
    assert flat.mean(0).abs().max() < 0.06 * spread
    assert (flat.std(0) / spread - 1).abs().max() < 0.06
    correlation = torch.corrcoef(flat.T) - torch.eye(flat.shape[1], dtype=torch.double)
    assert correlation.abs().max() < 0.06


def test_equal_generators_draw_equal_numbers(threat):
    for draw in (threat.random_inside, threat.random_direction):
        assert torch.equal(drawn(draw, 3), drawn(draw, 3))


def test_moves_add_up_with_the_least_size(threat):
    """Against the smallest of many moves that add up as well, of three values each."""
    generator = torch.Generator().manual_seed(5)
    weight, room = (torch.rand(40, 3, generator=generator).double() + 0.05 for _ in range(2))
    weight[:5, 2] = 0
    room[5:10, 0] = 0
    room[10:15, 1] *= 0.05
    part = torch.linspace(0.05, 0.9, 40).double()
    missing = part * (weight * room).sum(1)
    moves = threat.moves(weight, room, missing)
    assert moves.min() >= 0 and (moves <= room + 1e-12).all()
    torch.testing.assert_close((weight * moves).sum(1), missing, rtol=1e-5, atol=1e-7)
    for i in range(40):
        tried = torch.rand(20_000, 3, generator=generator).double() * room[i]
        last = int((weight[i] * (room[i] > 0)).argmax())
        tried[:, last] = 0
        tried[:, last] = (missing[i] - tried @ weight[i]) / weight[i, last]
        tried = tried[(tried[:, last] >= 0) & (tried[:, last] <= room[i, last])]
        least = threat.size(tried).min()
        assert threat.size(moves[i : i + 1]) <= least * (1 + 1e-4)
        assert len(tried) > 30, "the comparison should mean something"


def test_where_all_the_room_is_too_little_all_of_it_is_used(threat):
    weight = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]).double()
    room = torch.tensor([[0.2, 0.4, 0.3], [0.2, 0.4, 0.3]]).double()
    moves = threat.moves(weight, room, torch.tensor([5.0, 1.0]).double())
    torch.testing.assert_close(moves[0, :2], room[0, :2])
    assert moves[0, 2] == 0 and (moves[1] == 0).all()


def test_a_radius_keeps_its_text_and_a_number_names_itself(threat):
    kind = type(threat)
    read = kind.of(" 8/255 ")
    assert (read.text, read.eps) == ("8/255", 8 / 255)
    assert (kind(0.25).text, kind(0.25).eps) == ("0.25", 0.25)
    assert read == kind.of("8/255") and read != kind.of("9/255")
    assert threat.step_size(10) == pytest.approx(EPS / 4)


def test_a_length_over_one_is_taken_where_a_change_can_be_so_large(threat):
    kind = type(threat)
    larger = kind.reach(2) > 1
    for text in ("3.0", "7/2"):
        if larger:
            assert kind.of(text).eps == float(text) if "." in text else 3.5
        else:
            with pytest.raises(UsageError, match="is over 1"):
                kind.of(text)
    with pytest.raises(UsageError) as raised:
        kind.length("3", what="step size")
    assert "step size '3' is over 1" in str(raised.value) and "3/255?" in str(raised.value)
    assert (f"In {kind.norm}, write 3.0" in str(raised.value)) == larger


def test_balls_of_two_norms_are_not_equal():
    assert Linf.of("1/2") != L2.of("1/2")
    assert len({Linf.of("1/2"), L2.of("1/2"), Linf.of("1/2")}) == 2
    assert Linf.reach(100) == 1 and L2.reach(100) == math.sqrt(100)
    with pytest.raises(TypeError, match="abstract"):
        Threat(1.0)
