"""The network's own door: what is no batch of images is refused in one line."""

import numpy as np
import pytest
import torch

from cfamc_zoo.errors import DataError
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from tests.conftest import make_encoder

IMAGES = torch.rand(2, 3, 32, 32)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            (IMAGES * 255).byte(),
            r"images are torch.uint8; give floating point in \[0, 1\]: images / 255",
        ),
        (IMAGES.long(), "images are torch.int64"),
        (IMAGES > 0.5, "images are torch.bool"),
        (IMAGES[0], r"images are \(3, 32, 32\); give \(N, 3, H, W\), RGB: images\[None\]"),
        (IMAGES.permute(0, 2, 3, 1), r"images are \(2, 32, 32, 3\); .*images.movedim\(-1, 1\)"),
        (IMAGES[:, :1], r"images are \(2, 1, 32, 32\); give"),
        (torch.rand(2, 4, 32, 32), r"images are \(2, 4, 32, 32\)"),
        (torch.rand(()), r"images are \(\)"),
        (IMAGES.numpy(), "images are of type ndarray; give a torch tensor"),
        ([IMAGES], "images are of type list"),
    ],
)
def test_what_is_no_batch_of_images(images, said):
    encoder = make_encoder().eval()
    crops = MultiCrop(encoder, CropPlan(2, (0.5, 1.0), (1.0, 1.0)))
    for model in (encoder, crops):
        with pytest.raises(DataError, match=said) as refusal:
            model(images)
        assert "\n" not in str(refusal.value)


def test_another_precision_than_the_weights():
    encoder = make_encoder().eval()
    with pytest.raises(
        DataError, match=r"torch.float64, the weights torch.float32; give images.to"
    ):
        encoder(IMAGES.double())
    assert encoder.double()(IMAGES.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert np.isfinite(encoder.float()(IMAGES.bfloat16()).float().detach().numpy()).all()


def test_no_images_are_no_rows():
    assert make_encoder().eval()(IMAGES[:0]).shape[0] == 0
