"""Points of structures: what the last layer reads, which is how the energy moves with its weights."""

import numpy as np
import torch
from small import ethanols, graph_of, potential_for

from nnpx.ensemble import Ensemble
from nnpx.learning.features import pool


def test_the_last_layer_features_of_a_structure_are_the_gradient_of_its_energy_in_the_last_weights():
    structures = ethanols(3)
    member = potential_for(graph_of(structures), 0).eval()
    points = pool(Ensemble([member]), structures[:2], structures[2:])
    assert points.last_layer.shape[0] == 2
    assert points.last_layer_known.shape[0] == 1
    weight = member.network.weights[-1].requires_grad_()
    for atoms, found in zip(structures[:2], points.last_layer, strict=True):
        graph = graph_of([atoms])
        (gradient,) = torch.autograd.grad(member(graph).energy.sum(), weight)
        np.testing.assert_allclose(float(member.energy_scale) * found, gradient.flatten().numpy(), rtol=1e-9, atol=1e-12)
