"""Atom-centred symmetry functions of Behler and Parrinello."""

import copy
from typing import Annotated, Final, Literal, final

import torch
from annotated_types import Gt, Len
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp

from nnpx.cutoff import Cutoff
from nnpx.descriptor import Descriptor
from nnpx.descriptor.angular import AngularSet
from nnpx.descriptor.kept import check_known, keep
from nnpx.descriptor.triplets import Triplets, dot, triplets
from nnpx.errors import ConfigError
from nnpx.graph import Edges
from nnpx.radial import Radial
from nnpx.reduce import sum_edges_to_atoms
from nnpx.wiring import Wired

#: Behler's names of the two kinds of angular functions
_KIND: Final = {"narrow": "G4", "wide": "G5"}


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
        functions: names of the functions to keep, as `nnpx select` chooses them; null keeps all. What no kept function needs is not
            evaluated.

    Raises:
        ConfigError: `angular_radius` is larger than the cutoff, or `functions` names one that is not there.
    """

    eta: Tensor
    shift: Tensor
    lam: Tensor
    zeta: Tensor
    chosen: Tensor
    columns: Tensor
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
        functions: Annotated[list[str], Len(1)] | None,
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
        pool = torch.unique(torch.stack(angular.parameters(angular_radius), 1), dim=0)
        pairs = torch.triu_indices(n_channels, n_channels)
        of_two = [[f"G2 {name} channel {q}" for name in radial.names()] for q in range(n_channels)]
        of_three = [[f"{_KIND[kind]} {name} channels {p}-{q}" for name in _angular_names(pool)] for p, q in pairs.T.tolist()]
        check_known(functions or (), (of_two, of_three))
        kept = keep(of_three, functions)
        buffers = _angular_grid(pool[kept.functions], pairs[:, kept.blocks])
        before = [name for row in of_two for name in row]
        columns = [k for k, name in enumerate(before) if functions is None or name in functions]
        buffers["columns"] = torch.tensor([*columns, *(len(before) + column for column in kept.columns)], dtype=torch.long)
        for name, values in buffers.items():
            self.register_buffer(name, values.clone(), persistent=False)
        self.every_combination = len(self.chosen) == len(self.eta) * len(self.lam)
        self.every_column = len(self.columns) == len(before) + len(kept.blocks) * len(kept.functions)
        self._names = [*(before[k] for k in columns), *kept.names]
        self.n_features = len(self._names)

    def forward(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "atom feature"]:
        """G2 of every channel, then G4 or G5 of every pair of channels, in ascending order of η, r_s, λ, ζ."""
        shells = self.shells(edges.distance)
        radial = _sum_by_channel(shells, chemistry[edges.neighbor], edges.center, edges.n_atoms)
        near = edges.within(self.angular_cutoff.radius)
        three = triplets(near)
        terms = self.terms(
            near.distance[three.first], near.distance[three.second], dot(near.vector[three.first], near.vector[three.second])
        )
        angular = _sum_by_channel(terms, self.pair_weights(near, three, chemistry), three.center, edges.n_atoms)
        return self.kept(torch.cat([radial.flatten(1), angular.flatten(1)], dim=-1))

    def kept(self, features: Float[Tensor, "*row all"]) -> Float[Tensor, "*row feature"]:
        """The columns that are features, of all that were summed."""
        return features if self.every_column else features.index_select(-1, self.columns)

    def shells(self, distance: Float[Tensor, " edge"]) -> Float[Tensor, "edge radial"]:
        """φ_n(r) f_c(r)."""
        shells: Tensor = self.radial(distance) * self.cutoff(distance)[:, None]
        return shells

    def terms(
        self, r_ij: Float[Tensor, " triplet"], r_ik: Float[Tensor, " triplet"], scalar: Float[Tensor, " triplet"]
    ) -> Float[Tensor, "triplet feature"]:
        """One summand of G4 or G5 per triplet and function, from r_ij, r_ik and r_ij·r_ik."""
        sides = [r_ij, r_ik]
        if self.kind == "narrow":
            sides.append(torch.sqrt(r_ij**2 + r_ik**2 - 2.0 * scalar))
        r = torch.stack(sides)
        envelope = self.angular_cutoff(r.flatten()).reshape(r.shape)
        envelope = envelope[0] * envelope[1] * envelope[2] if self.kind == "narrow" else envelope[0] * envelope[1]
        shell = torch.exp(-self.eta * ((r[:, :, None] - self.shift) ** 2).sum(0)) * envelope[:, None]
        # rounding may carry 1 + λ cos θ of a straight line below zero, where a broken power has no derivative
        cosine = scalar / (r_ij * r_ik)
        cone = (2.0 ** (1.0 - self.zeta)) * (1.0 + self.lam * cosine[:, None]).clamp_min(0.0) ** self.zeta
        grid: Tensor = (shell[:, :, None] * cone[:, None, :]).flatten(1)
        return grid if self.every_combination else grid.index_select(1, self.chosen)

    def pair_weights(self, edges: Edges, three: Triplets, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "triplet pair"]:
        """e_j^p e_k^q for p ≤ q, symmetric under the exchange of j and k."""
        e_j, e_k = chemistry[edges.neighbor[three.first]], chemistry[edges.neighbor[three.second]]
        p, q = self.channel_p, self.channel_q
        both = e_j[:, p] * e_k[:, q]
        return torch.where(p == q, both, both + e_j[:, q] * e_k[:, p])

    def jacobian(self, edges: Edges, chemistry: Float[Tensor, "atom channel"]) -> Float[Tensor, "edge 3 feature"]:
        """∂G_i/∂r_ij of every edge, by forward differentiation of the elementwise terms and the chain rule to the vectors."""
        n_edges = len(edges.center)
        unit = edges.vector / edges.distance[:, None]
        slope = jvp(self.shells, (edges.distance,), (torch.ones_like(edges.distance),))[1]
        own = torch.arange(n_edges, device=edges.center.device)
        radial = _sum_by_channel(slope[:, None, :] * unit[:, :, None], chemistry[edges.neighbor], own, n_edges)
        is_near = edges.distance < self.angular_cutoff.radius
        near, inner = is_near.nonzero()[:, 0], edges.where(is_near)
        three = triplets(inner)
        weights = self.pair_weights(inner, three, chemistry)
        a, b = inner.vector[three.first], inner.vector[three.second]
        at = (inner.distance[three.first], inner.distance[three.second], dot(a, b))
        one, none = torch.ones_like(at[0]), torch.zeros_like(at[0])
        by_r_ij, by_r_ik, by_dot = (
            jvp(self.terms, at, along)[1][:, None, :] for along in ((one, none, none), (none, one, none), (none, none, one))
        )
        by_first = by_r_ij * (a / at[0][:, None])[:, :, None] + by_dot * b[:, :, None]
        by_second = by_r_ik * (b / at[1][:, None])[:, :, None] + by_dot * a[:, :, None]
        angular = _sum_by_channel(by_first, weights, near[three.first], n_edges) + _sum_by_channel(
            by_second, weights, near[three.second], n_edges
        )
        return self.kept(torch.cat([part.transpose(1, 2).flatten(2) for part in (radial, angular)], dim=-1))

    def names(self) -> list[str]:
        """`G2 <radial> channel 0`, `G4 eta=… shift=… lambda=… zeta=… channels 0-1`, in the order of the features."""
        return list(self._names)


def _angular_names(pool: Float[Tensor, "function 4"]) -> list[str]:
    return [f"eta={eta:.4f} shift={shift:.2f} lambda={lam:+g} zeta={zeta:g}" for eta, shift, lam, zeta in pool.tolist()]


def _angular_grid(functions: Float[Tensor, "function 4"], pairs: Int[Tensor, "2 pair"]) -> dict[str, Tensor]:
    """The shells (η, r_s) and cones (λ, ζ) whose products are the functions, and which of the products are; pairs of channels."""
    shells, shell_of = torch.unique(functions[:, :2], dim=0, return_inverse=True)
    cones, cone_of = torch.unique(functions[:, 2:], dim=0, return_inverse=True)
    grid = {"eta": shells[:, 0], "shift": shells[:, 1], "lam": cones[:, 0], "zeta": cones[:, 1]}
    return {**grid, "chosen": shell_of * len(cones) + cone_of, "channel_p": pairs[0], "channel_q": pairs[1]}


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
