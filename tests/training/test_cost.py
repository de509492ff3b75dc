"""What a recipe computes, counted by hand beside."""

import pytest
import torch
from torch import nn

from cfamc_zoo.training.cost import flop_per_pass, passes_per_image
from cfamc_zoo.training.recipe import load_recipe
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector


@pytest.mark.parametrize(
    ("recipe", "settings", "passes"),
    [
        ("cf-amc-ssl", (), 16 * 3),  # every view, replayed
        ("emp-standard", ("views.count=4",), 4),
        ("emp-crop-pgd", (), 16 * (1 + 5)),
        ("simclr-crop-pgd", (), 2 + 5),  # the second view alone is attacked
        ("deacl", (), 2 + 5),  # one view, clean and perturbed
    ],
)
def test_passes_of_an_image(recipe, settings, passes):
    assert passes_per_image(load_recipe(recipe, settings)) == passes


def test_flop_are_those_of_every_product_of_every_layer():
    small = ("encoder.width=4", "encoder.representation=24", "encoder.projection=12")
    recipe = load_recipe("cf-amc-ssl", small)
    network = Encoder(recipe.encoder, projector=build_projector(recipe.encoder)).eval()
    products = []

    def count(layer, inputs, output):
        each = layer.weight[0].numel()  # what a single value of the output is made of
        products.append(each * output.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32), "projection")
    assert flop_per_pass(recipe) == 3 * 2 * sum(products)
