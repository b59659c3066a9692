"""Atom-centred symmetry functions of Behler and Parrinello."""

import copy
from functools import reduce
from operator import mul
from typing import Annotated, Literal, final

import torch
from annotated_types import Gt
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.angular import AngularSet
from nnpx.descriptor.triplets import Triplets, chunks, sides, sum_outer_products, triplets
from nnpx.errors import ConfigError
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.reduce import sum_edges_to_atoms
from nnpx.wiring import Wired


@final
class ACSF(Descriptor):
    """Radial functions of one neighbour, angular functions of two, summed over the neighbours within the cutoff.

        G2_i = Σ_j     w_j     φ_n(r_ij) f_c(r_ij)
        G4_i = Σ_{j<k} w_{jk} 2^{1−ζ} (1 + λ cos θ_ijk)^ζ g(r_ij) g(r_ik) g(r_jk),   g(r) = e^{−η (r − r_s)²} f_c(r)     narrow
        G5_i = the same without g(r_jk)                                                                               wide

    Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401; Behler 2011, doi:10.1063/1.3553717.

    The weights come from the species embedding e: w_j = e_j gives one radial block per channel, and the symmetric products
    e_j^p e_k^q (p ≤ q) one angular block per pair of channels. With `onehot` these are Behler's element-resolved functions; with
    one channel that holds the atomic number they are the weighted functions of Gastegger et al. 2018 (doi:10.1063/1.5019667).

    Args:
        cutoff: f_c, applied to radial functions at its own radius.
        radial: φ_n.
        n_channels: length of the species vector.
        angular_radius: radius within which angles are resolved, Å; at most the cutoff's.
        kind: `narrow` (G4, all three atoms within the radius) or `wide` (G5, both neighbours within it).
        angular: the set of η, r_s, λ, ζ.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff.
    """

    exponent_of_sums: Tensor
    exponent: Tensor
    lam: Tensor
    chosen: Tensor
    channel_p: Tensor
    channel_q: Tensor

    def __init__(
        self,
        *,
        cutoff: Wired[Cutoff],
        radial: Wired[Radial],
        n_channels: Wired[int],
        angular_radius: Annotated[float, Gt(0)],
        kind: Literal["narrow", "wide"],
        angular: AngularSet,
    ) -> None:
        super().__init__()
        if angular_radius > cutoff.radius:
            raise ConfigError(
                "descriptor.angular_radius",
                expected=f"at most cutoff.radius = {cutoff.radius} Å",
                found=f"{angular_radius} Å",
                do="Lower descriptor.angular_radius or raise cutoff.radius.",
            )
        self.cutoff, self.radial, self.n_channels, self.kind = cutoff, radial, n_channels, kind
        self.angular_cutoff = copy.deepcopy(cutoff)
        self.angular_cutoff.radius = angular_radius
        eta, shift, lam, zeta = angular.parameters(angular_radius)
        shells, shell_of = torch.unique(torch.stack([eta, shift], 1), dim=0, return_inverse=True)
        lambdas, lambda_of = torch.unique(lam, return_inverse=True)
        zetas, zeta_of = torch.unique(zeta, return_inverse=True)
        self.zetas: list[float] = zetas.tolist()
        self.functions = [tuple(one) for one in torch.unique(torch.stack([eta, shift, lam, zeta], 1), dim=0).tolist()]
        chosen = torch.unique((shell_of * len(lambdas) + lambda_of) * len(zetas) + zeta_of)
        self.every_combination = len(chosen) == len(shells) * len(lambdas) * len(zetas)
        width, place = shells.unbind(1)
        n_sides = 3 if kind == "narrow" else 2
        p, q = torch.triu_indices(n_channels, n_channels)
        buffers = {"exponent_of_sums": torch.stack([-width, 2.0 * width * place]), "exponent": -n_sides * width * place**2, "lam": lambdas}
        for name, values in {**buffers, "chosen": chosen, "channel_p": p, "channel_q": q}.items():
            self.register_buffer(name, values.clone(), persistent=False)
        self.n_features = radial.n_functions * n_channels + len(chosen) * len(p)

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """G2 of every channel, then G4 or G5 of every pair of channels, in ascending order of η, r_s, λ, ζ."""
        radial = _sum_by_channel(self.shells(edges.distance), chemistry[edges.neighbor], edges.center, edges.n_atoms)
        three, weights = self.weighted_triplets(edges, chemistry)
        layout = chunks(three, edges.distance.dtype)
        shell, cone = self.factors(*sides(edges, three.where(layout.place)))
        weights = weights.index_select(0, layout.place) * layout.counts[:, None]
        sums = sum_outer_products((weights[:, :, None] * shell[:, None, :]).flatten(1), cone, layout)
        angular = sums.reshape(edges.n_atoms, len(self.channel_p), -1)
        angular = angular if self.every_combination else angular.index_select(2, self.chosen)
        return torch.cat([radial.flatten(1), angular.flatten(1)], dim=-1)

    def shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """φ_n(r) f_c(r)."""
        shells: Tensor = self.radial(distance) * self.cutoff(distance)[:, None]
        return shells

    def weighted_triplets(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> tuple[Triplets, Float[Tensor, "triplet pair"]]:
        """The triplets within the angular radius, and e_j^p e_k^q for p ≤ q, symmetric under the exchange of j and k.

        Where every species vector has one channel only, as with `onehot`, a triplet counts for one pair of channels: it belongs to the
        centre with this pair, and has one weight. Otherwise it belongs to the centre, and has a weight for every pair.
        """
        apart = not chemistry.requires_grad and bool(((chemistry != 0).sum(1) <= 1).all())
        kind = chemistry.abs().argmax(1)[edges.neighbor] if apart else torch.zeros_like(edges.neighbor)
        radius = self.angular_cutoff.radius
        three = triplets(edges, radius, kind, self.n_channels if apart else 1)
        if self.kind == "narrow":
            vector = edges.vector.detach()
            between = vector.index_select(0, three.first) - vector.index_select(0, three.second)
            three = three.where((between.square().sum(1) < radius**2).nonzero()[:, 0])
        e_j, e_k = chemistry[edges.neighbor[three.first]], chemistry[edges.neighbor[three.second]]
        if apart:
            return three, e_j.sum(1, keepdim=True) * e_k.sum(1, keepdim=True)
        p, q = self.channel_p, self.channel_q
        both = e_j[:, p] * e_k[:, q]
        return three, torch.where(p == q, both, both + e_j[:, q] * e_k[:, p])

    def factors(
        self, r_ij: Float[Tensor, " triplet"], r_ik: Float[Tensor, " triplet"], scalar: Float[Tensor, " triplet"]
    ) -> tuple[Float[Tensor, "triplet shell"], Float[Tensor, "triplet cone"]]:
        """2 g(r_ij) g(r_ik) g(r_jk) of every η and r_s, and ((1 + λ cos θ) / 2)^ζ of every λ and ζ, from r_ij, r_ik and r_ij·r_ik.

        The exponent of the first is −η Σ r² + 2 η r_s Σ r − n η r_s² with n distances.
        """
        squares = r_ij**2 + r_ik**2
        total, envelope = r_ij + r_ik, 2.0 * self.angular_cutoff(r_ij) * self.angular_cutoff(r_ik)
        if self.kind == "narrow":
            r_jk = torch.sqrt(squares - 2.0 * scalar)
            squares, total, envelope = squares + r_jk**2, total + r_jk, envelope * self.angular_cutoff(r_jk)
        exponent = torch.addmm(self.exponent, torch.stack([squares, total], 1), self.exponent_of_sums)
        shell = torch.exp(exponent) * envelope[:, None]
        # rounding may carry 1 + λ cos θ of a straight line below zero, where a broken power has no derivative
        cosine = scalar / (r_ij * r_ik)
        base = (0.5 + 0.5 * self.lam * cosine[:, None]).clamp_min(0.0)
        return shell, torch.stack(powers(base, self.zetas), 2).flatten(1)

    def terms(
        self, r_ij: Float[Tensor, " triplet"], r_ik: Float[Tensor, " triplet"], scalar: Float[Tensor, " triplet"]
    ) -> Float[Tensor, "triplet function"]:
        """One summand of G4 or G5 per triplet and function."""
        shell, cone = self.factors(r_ij, r_ik, scalar)
        grid = (shell[:, :, None] * cone[:, None, :]).flatten(1)
        return grid if self.every_combination else grid.index_select(1, self.chosen)

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge, by forward differentiation of the elementwise terms and the chain rule to the vectors."""
        n_edges = len(edges.center)
        unit = edges.vector / edges.distance[:, None]
        slope = jvp(self.shells, (edges.distance,), (torch.ones_like(edges.distance),))[1]
        own = torch.arange(n_edges, device=edges.center.device)
        radial = _sum_by_channel(slope[:, None, :] * unit[:, :, None], chemistry[edges.neighbor], own, n_edges)
        three, weights = self.weighted_triplets(edges, chemistry)
        if weights.shape[1] < len(self.channel_p):
            pair = (three.owner % len(self.channel_p))[:, None]
            weights = weights.new_zeros(len(pair), len(self.channel_p)).scatter(1, pair, weights)
        a, b, at = edges.vector[three.first], edges.vector[three.second], sides(edges, three)
        one, none = torch.ones_like(at[0]), torch.zeros_like(at[0])
        by_r_ij, by_r_ik, by_dot = (
            jvp(self.terms, at, along)[1][:, None, :] for along in ((one, none, none), (none, one, none), (none, none, one))
        )
        by_first = by_r_ij * (a / at[0][:, None])[:, :, None] + by_dot * b[:, :, None]
        by_second = by_r_ik * (b / at[1][:, None])[:, :, None] + by_dot * a[:, :, None]
        angular = _sum_by_channel(by_first, weights, three.first, n_edges) + _sum_by_channel(by_second, weights, three.second, n_edges)
        return torch.cat([part.transpose(1, 2).flatten(2) for part in (radial, angular)], dim=-1)

    def names(self) -> list[str]:
        """`G2 <radial> channel 0`, `G4 eta=… shift=… lambda=… zeta=… channels 0-1`, in the order of the features."""
        kind = {"narrow": "G4", "wide": "G5"}[self.kind]
        radial = [f"G2 {name} channel {q}" for q in range(self.n_channels) for name in self.radial.names()]
        pairs = zip(self.channel_p.tolist(), self.channel_q.tolist(), strict=True)
        angular = [
            f"{kind} eta={eta:.4f} shift={s:.2f} lambda={lam:+g} zeta={z:g} channels {p}-{q}"
            for p, q in pairs
            for eta, s, lam, z in self.functions
        ]
        return radial + angular


def powers(base: Float[Tensor, "row base"], exponents: list[float]) -> list[Float[Tensor, "row base"]]:
    """base^ζ for every ζ; a whole ζ by squaring, which costs a few multiplications for all of them together."""
    squares = [base]
    while 2 ** len(squares) <= max(exponents):
        squares.append(squares[-1] * squares[-1])
    results = []
    for exponent in exponents:
        if exponent != int(exponent):
            results.append(base**exponent)
        else:
            results.append(reduce(mul, [square for k, square in enumerate(squares) if int(exponent) >> k & 1]))
    return results


def _sum_by_channel(
    values: Float[Tensor, "row ..."], weights: Float[Tensor, "row channel"], owner: Int[Tensor, " row"], n_owners: int
) -> Float[Tensor, "owner channel ..."]:
    """Σ over the rows of each owner of weight × value, for every channel.

    Products with a weight of zero are left out where the weights are fixed: of a one-hot embedding's pairs, one in many counts.
    """
    n_channels = weights.shape[1]
    if weights.requires_grad:
        row = torch.arange(weights.shape[0], device=weights.device).repeat_interleave(n_channels)
        channel = torch.arange(n_channels, device=weights.device).repeat(weights.shape[0])
    else:
        row, channel = weights.nonzero(as_tuple=True)
    weight = weights[row, channel].reshape(-1, *[1] * (values.dim() - 1))
    total = sum_edges_to_atoms(values[row] * weight, owner[row] * n_channels + channel, n_owners * n_channels)
    return total.reshape(n_owners, n_channels, *values.shape[1:])
