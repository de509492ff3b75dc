"""Each batched operation against torchvision's own, on the same parameters."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from cfamc_zoo.training import crops
from cfamc_zoo.training.recipe import Views
from cfamc_zoo.zoo.network.boxes import resized_crop

N, SIZE = 64, 32


@pytest.fixture
def images():
    return torch.rand(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def parameters():
    views = Views(flip_p=0.5, jitter_p=1.0, grey_p=0.5, blur_p=0.5, solarize_p=0.5)
    return crops.draw(views, N, SIZE, torch.Generator().manual_seed(1))


def one_by_one(operation, *columns):
    return torch.stack([operation(*row) for row in zip(*columns, strict=True)])


def test_resized_crop_is_torchvisions(images, parameters):
    p = parameters

    def reference(x, top, left, height, width, flip):
        box = [int(v) for v in (top, left, height, width)]
        x = tv.resized_crop(x, *box, [SIZE, SIZE], antialias=True)
        return tv.horizontal_flip(x) if flip else x

    box = (p.top, p.left, p.height, p.width, p.flip)
    torch.testing.assert_close(
        resized_crop(images, p), one_by_one(reference, images, *box), atol=2e-6, rtol=0
    )


def test_jitter_is_torchvisions_in_each_crops_own_order(images, parameters):
    p = parameters
    operations = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue]

    def reference(x, factors, hue, order):
        values = [*factors.tolist(), hue.item()]
        for k in order.tolist():
            x = operations[k](x, values[k])
        return x

    assert len({tuple(row) for row in p.order.tolist()}) > 12, "orders must differ"
    torch.testing.assert_close(
        crops.jitter(images, p.factors, p.hue, p.order),
        one_by_one(reference, images, p.factors, p.hue, p.order),
        atol=5e-6,
        rtol=0,
    )


@pytest.mark.parametrize("turns", [-0.5, -0.2, 0.0, 0.1, 0.5])
def test_hue_is_torchvisions_on_grey_and_pure_colours_too(images, turns):
    images[0] = 0.5
    images[1] = torch.tensor([1.0, 0, 0])[:, None, None]
    images[2] = torch.tensor([0.0, 1, 1])[:, None, None]
    got = crops.shift_hue(images, torch.full((N,), turns))
    torch.testing.assert_close(got, tv.adjust_hue(images, turns), atol=5e-6, rtol=0)


def test_blur_is_torchvisions(images, parameters):
    sigma = parameters.sigma
    assert 0 < (sigma > 0).sum() < N

    def reference(x, s):
        return tv.gaussian_blur(x, 2 * crops.BLUR_RADIUS + 1, [float(s)]) if s > 0 else x

    torch.testing.assert_close(
        crops.gaussian_blur(images, sigma), one_by_one(reference, images, sigma), atol=2e-6, rtol=0
    )


def test_solarize_and_grey_come_last_and_are_torchvisions(images):
    views = Views(
        scale=(1, 1), ratio=(1, 1), flip_p=0, jitter_p=0, grey_p=1, blur_p=0, solarize_p=1
    )
    got = crops.apply(images, crops.draw(views, N, SIZE, torch.Generator().manual_seed(2)))
    expected = tv.solarize(tv.rgb_to_grayscale(images, 3), 0.5)
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


def test_boxes_are_distributed_as_torchvisions():
    views = Views()
    p = crops.draw(views, 20000, SIZE, torch.Generator().manual_seed(3))
    image = torch.zeros(3, SIZE, SIZE)
    torch.manual_seed(4)
    transform = v2.RandomResizedCrop(SIZE, scale=views.scale, ratio=views.ratio)
    boxes = [transform.make_params([image]) for _ in range(20000)]
    for name in ("top", "left", "height", "width"):
        expected = torch.tensor([float(b[name]) for b in boxes])
        got = getattr(p, name)
        # Standard errors of the two means are below 0.06 pixels, of the deviations less.
        assert abs(got.mean() - expected.mean()) < 0.25, name
        assert abs(got.std() - expected.std()) < 0.25, name
        assert got.min() >= 0
    assert ((p.top + p.height) <= SIZE).all() and ((p.left + p.width) <= SIZE).all()


def test_views_depend_on_the_generator_alone_and_are_view_major():
    images = torch.arange(5, dtype=torch.uint8).mul(50).view(5, 1, 1, 1).expand(5, 3, SIZE, SIZE)
    still = Views(count=3, flip_p=0, jitter_p=0, grey_p=0, blur_p=0, solarize_p=0)
    a = crops.make_views(images, still, torch.Generator().manual_seed(7))
    b = crops.make_views(images, still, torch.Generator().manual_seed(7))
    assert torch.equal(a, b)
    assert torch.allclose(a.reshape(3, 5, -1).mean(2) * 255, torch.arange(5.0) * 50, atol=1e-3)


def test_patches_have_one_size():
    patch = Views(scale=(0.25, 0.25), ratio=(1, 1))
    p = crops.draw(patch, 500, SIZE, torch.Generator().manual_seed(0))
    assert (p.height == 16).all() and (p.width == 16).all()
    assert p.top.unique().numel() == 17, "every position occurs"


def test_a_padded_crop_is_a_shift_with_black_around():
    images = torch.arange(1, 1 + 2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
    boxes = crops.padded_boxes(2, 8, 3, torch.Generator().manual_seed(0))
    shifted = resized_crop(images, boxes)
    padded = torch.nn.functional.pad(images, [3] * 4)
    for i in range(2):
        top, left = int(boxes.top[i]) + 3, int(boxes.left[i]) + 3
        assert torch.equal(shifted[i], padded[i, :, top : top + 8, left : left + 8])
    many = crops.padded_boxes(500, 8, 3, torch.Generator().manual_seed(1))
    assert set(many.top.tolist()) == set(many.left.tolist()) == set(range(-3, 4))


def test_the_last_views_are_autoaugmented_by_seeds_of_their_own(sample):
    images = torch.from_numpy(sample.images[:6]).permute(0, 3, 1, 2)
    plain = Views(count=2, jitter_p=0, grey_p=0, blur_p=0, solarize_p=0, flip_p=0, padding=2)
    changing = Views(**vars(plain) | {"autoaugmented": 1})

    def make(views, part=slice(None)):
        generator = torch.Generator().manual_seed(0)
        return crops.make_views(images, views, generator, part=part).unflatten(0, (2, -1))

    state = torch.get_rng_state()
    weak, strong = make(changing)
    assert torch.equal(state, torch.get_rng_state()), "the program's own draws are its own"
    assert torch.equal(weak, make(plain)[0])
    differing = (strong != make(plain)[1]).flatten(1).any(1)
    assert differing.sum() >= 3, "a policy leaves some images as they are"
    assert torch.equal(make(changing, slice(2, 5)), make(changing)[:, 2:5])
    assert strong.min() >= 0 and strong.max() <= 1
