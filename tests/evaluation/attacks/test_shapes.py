"""Images of any height, width and number of channels, in both norms."""

import pytest
import torch
from torch import nn

from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.fab import FabTargeted
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square, square_size
from cfamc_zoo.evaluation.victim.model import attacked
from cfamc_zoo.evaluation.victim.scoring import open_scoring
from cfamc_zoo.zoo.network.boxes import draw_boxes, resized_crop
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.threat import threat_of
from tests.conftest import make_encoder

SHAPES = [(3, 16, 8), (1, 5, 20), (4, 7, 7), (2, 9, 1)]
ATTACKS = [
    *(Pgd(steps=4), Apgd("ce", steps=6), ApgdTargeted(steps=4, targets=2)),
    *(FabTargeted(steps=4, targets=2), Square(queries=12)),
]
by_name = {"ids": lambda a: a.name if hasattr(a, "name") else None}


def flat_model(shape, classes=5):
    torch.manual_seed(0)
    channels, height, width = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes)).eval()


def images_of(shape, n=6):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ATTACKS, **by_name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_attack_takes_every_shape_and_stays_in_the_ball(shape, attack, norm):
    model, images = flat_model(shape), images_of(shape)
    labels = model(images).argmax(1)
    threat = threat_of(norm, "0.02" if norm == "linf" else "0.1")
    with attacked(model, images, labels, 5) as victim:
        adversarial = attack.run(victim, Batch(images, labels, range(6), 6), threat)
    assert adversarial.shape == images.shape
    assert threat.size(adversarial - images).max() <= threat.eps * (1 + 1e-5) + 1e-7
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    # FAB keeps an image as it is where it finds nothing inside the radius.
    assert attack.name == "FAB-T" or (adversarial != images).flatten(1).any(1).all()


class Region(nn.Module):
    """Falls when the mean of its region grows: what is outside does not count."""

    def __init__(self, rows=slice(None), columns=slice(None)):
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x):
        blocks = nn.functional.avg_pool2d(x[:, :, self.rows, self.columns].mean(1, True), 4)
        bright = blocks.flatten(1).amax(1)
        return 20 * torch.stack((0.52 - bright, bright - 0.52, 0 * bright - 9), 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("shape", "region"),
    [
        ((24, 8), {"rows": slice(8, None)}),
        ((24, 8), {"rows": slice(0, 8)}),
        ((8, 24), {"columns": slice(8, None)}),
        ((8, 24), {"columns": slice(0, 8)}),
    ],
    ids=str,
)
def test_random_search_reaches_every_part_of_the_image(shape, region, norm):
    images, labels = torch.full((3, 3, *shape), 0.5), torch.zeros(3, dtype=torch.long)
    with attacked(Region(**region), images, labels, 3) as victim:
        batch = Batch(images, labels, range(3), 3)
        adversarial = Square(60).run(
            victim, batch, threat_of(norm, "0.03" if norm == "linf" else "1")
        )
        assert (victim.predictions(adversarial) == 1).all()


def test_squares_cover_the_same_part_of_images_of_equal_area():
    assert [square_size(q, 32, 32) for q in (0, 11, 51, 9000)] == [29, 20, 14, 1]
    assert square_size(11, 64, 16) == 16  # no wider than the image
    assert [square_size(q, 64, 16) for q in (51, 9000)] == [14, 1]
    assert square_size(51, 16, 64) == 14
    assert square_size(0, 1, 9) == 1


def test_square_images_are_attacked_as_ever():
    """The points of the first eight queries on two images, as they were drawn for square images."""
    model, images = flat_model((3, 8, 8)), images_of((3, 8, 8), 2)
    labels = model(images).argmax(1)
    sums = []
    with attacked(model, images, labels, 5) as victim:
        for norm in ("linf", "l2"):
            x = Square(8).run(victim, Batch(images, labels, range(2), 2), threat_of(norm, "0.01"))
            weights = torch.arange(x[0].numel(), dtype=torch.float64).view(x.shape[1:])
            sums.append([round(v, 3) for v in ((x - images) * weights).sum((1, 2, 3)).tolist()])
    assert sums[0] == pytest.approx([-33.493, -44.624], abs=2e-3)
    assert sums[1] == pytest.approx([-1.496, -0.227], abs=2e-3)


@pytest.mark.parametrize("size", [(20, 12), (12, 20)])
def test_crops_of_oblong_images_are_in_them_and_fill_them(size):
    boxes = draw_boxes(
        64, *size, scale=(0.1, 1), ratio=(0.5, 2), generator=torch.Generator().manual_seed(0)
    )
    assert (boxes.top + boxes.height <= size[0]).all() and (
        boxes.left + boxes.width <= size[1]
    ).all()
    assert boxes.height.max() > 0.8 * size[0] and boxes.width.max() > 0.8 * size[1]
    assert boxes.top.max() > 0.4 * size[0] and boxes.left.max() > 0.4 * size[1]
    crops = resized_crop(torch.rand(64, 3, *size), boxes)
    assert crops.shape == (64, 3, *size)


def test_an_encoder_over_crops_takes_oblong_images():
    encoder, images = make_encoder(), torch.rand(2, 3, 40, 24)
    some = MultiCrop(encoder, CropPlan(2, (0.2, 0.5), (0.75, 1.333)))
    assert some(images).shape == (2, 32)
    # No square has the image's whole area, so the crop is the image.
    whole = MultiCrop(encoder, CropPlan(1, (1.0, 1.0), (1.0, 1.0)))
    torch.testing.assert_close(whole(images), encoder(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(17, 22), (22, 17), (8, 40)])
def test_the_first_l2_perturbation_tiles_the_middle_of_the_image(size):
    images = torch.full((2, 3, *size), 0.5)
    batch = Batch(images, torch.zeros(2, dtype=torch.long), range(2), 2)
    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(x.detach().clone())
            return torch.stack((x.mean((1, 2, 3)), -x.mean((1, 2, 3))), 1)

    with attacked(Seeing(), images, batch.labels, 2) as victim:
        seen.clear()
        Square(1).run(victim, batch, threat_of("l2", "0.5"))
    touched = (seen[0] != images).any(1)
    tile = min(size) // 5
    rows, columns = touched.any(2), touched.any(1)
    for part, side in ((rows, size[0]), (columns, size[1])):
        margin = (side - side // tile * tile) // 2
        expected = torch.zeros(side, dtype=torch.bool)
        expected[margin : margin + side // tile * tile] = True
        assert torch.equal(part, expected.expand(2, -1))


def test_onnx_runtime_scores_any_shape():
    torch.manual_seed(0)
    shape = (4, 5, 12)
    model = nn.Sequential(
        nn.Conv2d(shape[0], 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    images = images_of(shape)
    score = open_scoring(model, images[:3])
    torch.testing.assert_close(score(images), model(images).detach(), rtol=1e-4, atol=1e-5)
