"""Small models to attack."""

import torch
from torch import nn
from torch.nn import functional as F


class Affine(nn.Module):
    """Linear: how far an image is from falling is known in closed form."""

    def __init__(self, classes=5, side=8, gain=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.gain = gain
        self.head = nn.Linear(3 * side * side, classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.gain * self.head(x.flatten(1) - 0.5)


class Convolutional(nn.Module):
    def __init__(self, classes=5, side=8):
        super().__init__()
        torch.manual_seed(1)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.head = nn.Linear(16 * side * side, classes)
        nn.init.uniform_(self.bn1.running_mean, -0.3, 0.3)
        nn.init.uniform_(self.bn1.running_var, 0.2, 2)
        self.eval()

    def forward(self, x):
        return 3 * self.head(F.relu(self.bn1(self.conv1(x))).flatten(1))


def some_images(n=40, side=8, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(2)
    return low + (high - low) * torch.rand(n, 3, side, side, generator=generator)


def own_labels(model, images):
    with torch.no_grad():
        return model.eval()(images).argmax(1)


def distances(model, images, labels, norm):
    """(N,) the exact distance of each image to the boundary of an `Affine` model.

    The margin to class j falls by |w_y - w_j| a unit of perturbation, in the dual norm. Images
    must be far enough from 0 and 1 that these do not matter.
    """
    w, logits = model.head.weight.double(), (model(images) / model.gain).double()
    order = 1 if norm == "linf" else 2
    margins = logits.gather(1, labels[:, None]) - logits
    slopes = (w[labels][:, None] - w).norm(order, dim=2)
    return (margins / slopes.clamp_min(1e-30)).scatter(1, labels[:, None], torch.inf).amin(1)
