"""Laws of a descriptor: invariance, locality, smooth derivatives."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck

from nnpx.descriptor import Descriptor
from nnpx.graph import Edges
from nnpx.testing.contract import ContractError, require, require_equal
from nnpx.testing.structures import cluster, random_rotation, to_tensor


@final
@dataclass(frozen=True)
class DescriptorCase:
    """A descriptor in float64, with the length of the species vectors it reads and the radius of its neighbour list (Å)."""

    descriptor: Descriptor
    n_channels: int
    radius: float

    def chemistry(self, n_atoms: int) -> Float[Tensor, "atom channel"]:
        """A species vector for every atom, all different."""
        return torch.rand(n_atoms, self.n_channels, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) + 0.2

    def features(self, positions: Float[Tensor, "atom 3"], radius: float | None = None) -> Float[Tensor, "atom feature"]:
        """Features of an open cluster."""
        edges = open_edges(positions, self.radius if radius is None else radius)
        features: Tensor = self.descriptor(edges, self.chemistry(len(positions)))
        return features


def open_edges(positions: Float[Tensor, "atom 3"], radius: float) -> Edges:
    """All ordered pairs of an open cluster closer than `radius` (Å), sorted by centre."""
    between = positions[None, :, :] - positions[:, None, :]
    close = (torch.linalg.vector_norm(between.detach(), dim=-1) < radius) & ~torch.eye(len(positions), dtype=torch.bool)
    center, neighbor = close.nonzero().unbind(1)
    vector = between[center, neighbor]
    return Edges(center, neighbor, torch.zeros_like(vector), vector, torch.linalg.vector_norm(vector, dim=-1), n_atoms=len(positions))


def features_are_named_and_counted(case: DescriptorCase) -> None:
    """One column and one name per feature."""
    names, shape = case.descriptor.names(), case.features(_positions()).shape
    n_features = case.descriptor.n_features
    require(shape == (8, n_features), "number of features", expected=f"{n_features} columns", found=f"{shape[1]}")
    require(len(set(names)) == n_features, "names of features", expected=f"{n_features} different names", found=f"{len(set(names))}")


def rotation_and_reflection_change_no_feature(case: DescriptorCase) -> None:
    """G(Qr) = G(r) for every orthogonal Q."""
    positions = _positions()
    for matrix in (random_rotation(5), -random_rotation(6)):
        turned = positions @ to_tensor(matrix).T
        require_equal("features under rotation", case.features(turned), case.features(positions), within=1e-11, unit="")


def order_of_neighbors_changes_no_feature(case: DescriptorCase) -> None:
    """Features are sums over neighbours: the order of the edges of one centre means nothing."""
    edges = open_edges(_positions(), case.radius)
    shuffle = torch.from_numpy(np.random.default_rng(7).permutation(len(edges.center)))
    order = shuffle[torch.argsort(edges.center[shuffle], stable=True)]
    mixed = edges.at(order)
    chemistry = case.chemistry(8)
    require_equal("features under permutation", case.descriptor(mixed, chemistry), case.descriptor(edges, chemistry), within=1e-11, unit="")


def far_neighbors_change_no_feature(case: DescriptorCase) -> None:
    """Edges longer than the cutoff, which a neighbour list with a skin contains, add nothing."""
    positions = _positions() * (1.2 * case.radius / 3.0)
    plain, skinned = case.features(positions), case.features(positions, 1.5 * case.radius)
    require_equal("features with neighbours beyond the cutoff", skinned, plain, within=1e-12, unit="")


def isolated_atom_has_no_features(case: DescriptorCase) -> None:
    """No neighbour, no feature."""
    features = case.features(torch.zeros(1, 3, dtype=torch.float64))
    require_equal("features of an isolated atom", features, torch.zeros_like(features), within=0.0, unit="")


def features_depend_on_own_edges_only(case: DescriptorCase) -> None:
    """∂G_i/∂r_jk = 0 unless i = j, or, where atoms tell each other what they see, unless j is within the cutoff of i."""
    edges = open_edges(_positions(), case.radius)
    vector = edges.vector.clone().requires_grad_()
    features = case.descriptor(edges.moved(vector), case.chemistry(8))
    (slope,) = torch.autograd.grad(features[3].sum(), vector)
    near = {3} if case.descriptor.is_local else {3, *edges.neighbor[edges.center == 3].tolist()}
    foreign = slope[[int(center) not in near for center in edges.center]]
    require_equal("locality of the features", foreign, torch.zeros_like(foreign), within=0.0, unit="Å⁻¹")


def jacobian_is_the_derivative(case: DescriptorCase) -> None:
    """`jacobian` gives ∂G_i/∂r_ij, as reverse differentiation does; of a descriptor that is not local there is none, which it says."""
    edges = open_edges(_positions(), case.radius)
    chemistry = case.chemistry(8)
    if not case.descriptor.is_local:
        refused = False
        try:
            case.descriptor.jacobian(edges, chemistry)
        except TypeError:
            refused = True
        require(refused, "jacobian", expected="a TypeError, since features depend on edges of other centres", found="an array")
        return
    pull = torch.rand(8, case.descriptor.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    vector = edges.vector.clone().requires_grad_()
    (slope,) = torch.autograd.grad(case.descriptor(edges.moved(vector), chemistry), vector, pull)
    jacobian = case.descriptor.jacobian(edges, chemistry)
    require_equal("jacobian", torch.einsum("exf,ef->ex", jacobian, pull[edges.center]), slope, within=1e-9, unit="Å⁻¹")


def several_energies_pull_as_each_alone(case: DescriptorCase) -> None:
    """`linearised` gives the features, and for every one of several energies the gradient of a backward pass of its own."""
    edges, chemistry = open_edges(_positions(), case.radius), case.chemistry(8)
    slopes = torch.rand(3, 8, case.descriptor.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(10)) - 0.5
    vector = edges.vector.clone().requires_grad_()
    features = case.descriptor(edges.moved(vector), chemistry)
    alone = torch.stack([torch.autograd.grad(features, vector, slope, retain_graph=True)[0] for slope in slopes])
    found, pull = case.descriptor.linearised(edges, chemistry)
    require_equal("features beside their derivatives", found, features, within=1e-9, unit="")
    for some in (slopes, slopes[:1]):
        require_equal("pulls of energies", pull(some), alone[: len(some)], within=1e-9, unit="eV/Å")


def what_is_trained_has_the_same_derivatives(case: DescriptorCase) -> None:
    """`trainable` gives features and pulls, and their derivatives in all that is trained, as autograd finds them by way of the edges."""
    descriptor, edges, chemistry = case.descriptor, open_edges(_positions(), case.radius).as_variables(), case.chemistry(8)
    slopes = torch.rand(2, 8, descriptor.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(11)) - 0.5
    trained, found = [weight for weight in descriptor.parameters() if weight.requires_grad], []
    for way in (descriptor.trainable, functools.partial(Descriptor.trainable, descriptor)):
        features, pull = way(edges, chemistry, create_graph=True)
        variable = slopes.clone().requires_grad_()
        pulls = pull(variable)
        loss = features.square().mean() + pulls.square().mean()
        found.append((features.detach(), pulls.detach(), *torch.autograd.grad(loss, (variable, *trained))))
    for number, (one, other) in enumerate(zip(*found, strict=True)):
        require_equal(f"part {number} of what is trained", one, other, within=1e-9 * (1.0 + float(other.abs().max())), unit="")


def first_and_second_derivatives_are_right(case: DescriptorCase) -> None:
    """Derivatives in positions and species vectors agree with finite differences (gradcheck), and theirs as well (gradgradcheck)."""
    edges = open_edges(_positions()[:4], case.radius)
    weight = torch.rand(4, case.descriptor.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    weight = weight / (1.0 + case.descriptor(edges, case.chemistry(4)).detach().abs().sum())

    def projected(vector: Tensor, chemistry: Tensor) -> Tensor:
        total: Tensor = (case.descriptor(edges.moved(vector), chemistry) * weight).sum()
        return total

    inputs = (edges.vector.clone().requires_grad_(), case.chemistry(4).requires_grad_())
    try:
        gradcheck(projected, inputs, eps=1e-5, atol=1e-8, rtol=1e-5, fast_mode=True)
        gradgradcheck(projected, inputs, eps=1e-5, atol=1e-7, rtol=1e-5, fast_mode=True)
    except GradcheckError as error:
        found = str(error).splitlines()[0]
        raise ContractError(
            "derivatives of the descriptor", expected="those of finite differences", found=found, do="Correct the backward pass."
        ) from error


def straight_and_flat_environments_have_derivatives(case: DescriptorCase) -> None:
    """Three atoms in a line and four in a plane, where angles are 0° and 180°, have finite first and second derivatives."""
    line = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [0.0, 0.0, -1.1], [0.0, 0.0, 2.3]]
    square = [[0.0, 0.0, 0.0], [1.2, 0.0, 0.0], [0.0, 1.2, 0.0], [1.2, 1.2, 0.0]]
    for places in (line, square):
        positions = torch.tensor(places, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(case.features(positions).sum(), positions, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.square().sum(), positions)
        finite = bool(slope.isfinite().all() and curvature.isfinite().all())
        require(finite, "a straight or flat environment", expected="finite derivatives", found="NaN or infinity")


def single_precision_agrees(case: DescriptorCase) -> None:
    """float32 gives the features of float64 to rounding, also of atoms with few neighbours beside those with many."""
    positions = torch.cat([_positions(), _positions()[:1] + 0.9 * case.radius])
    wide, narrow = open_edges(positions, case.radius), open_edges(positions.float(), case.radius)
    expected, chemistry = case.descriptor(wide, case.chemistry(9)), case.chemistry(9)
    found = copy.deepcopy(case.descriptor).float()(narrow, chemistry.float()).double()
    require_equal("features in float32", found, expected, within=1e-4 * (1.0 + float(expected.detach().abs().max())), unit="")


DESCRIPTOR_LAWS: Final[tuple[Callable[[DescriptorCase], None], ...]] = (
    features_are_named_and_counted,
    single_precision_agrees,
    rotation_and_reflection_change_no_feature,
    order_of_neighbors_changes_no_feature,
    far_neighbors_change_no_feature,
    isolated_atom_has_no_features,
    features_depend_on_own_edges_only,
    jacobian_is_the_derivative,
    several_energies_pull_as_each_alone,
    what_is_trained_has_the_same_derivatives,
    first_and_second_derivatives_are_right,
    straight_and_flat_environments_have_derivatives,
)


def _positions() -> Float[Tensor, "atom 3"]:
    return to_tensor(cluster([1]).positions)
