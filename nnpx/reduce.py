"""Sums over neighbours and over atoms: the one door to torch-geometric's scatter."""

from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.utils import scatter


def sum_edges_to_atoms(values: Float[Tensor, "edge ..."], center: Int[Tensor, " edge"], n_atoms: int) -> Float[Tensor, "atom ..."]:
    """Σ_j over the neighbours j of every atom: rows of `values` that share a centre are added."""
    total: Tensor = scatter(values, center, dim=0, dim_size=n_atoms, reduce="sum")
    return total


def sum_atoms_to_structures(
    values: Float[Tensor, "atom ..."], owner: Int[Tensor, " atom"], n_structures: int
) -> Float[Tensor, "structure ..."]:
    """Σ_i over the atoms i of every structure: rows of `values` that share an owner are added."""
    total: Tensor = scatter(values, owner, dim=0, dim_size=n_structures, reduce="sum")
    return total
