"""What the members of an ensemble have in common, so that it is computed once for all: found by comparing all that they hold."""

from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from nnpx.descriptor.expanding import ExpandingDescriptor
from nnpx.descriptor.neighbor_sums import NeighborSums
from nnpx.descriptor.triplet_sums import TripletTables
from nnpx.potential import Potential


def describe_alike(one: Potential, other: Potential) -> bool:
    """Whether both have the same features of every environment: the same descriptor and embedding, trained or not."""
    same_names = one.descriptor.names() == other.descriptor.names()
    return same_names and _equal(one.descriptor, other.descriptor) and _equal(one.embedding, other.embedding)


def expand_alike(one: Potential, other: Potential) -> bool:
    """Whether what one expands is what the other would."""
    expands = isinstance(one.descriptor, ExpandingDescriptor) and one.descriptor.expands_like(other.descriptor)
    return expands and _equal(one.embedding, other.embedding)


def scale_alike(one: Potential, other: Potential) -> bool:
    """Whether the features of both are standardised alike, as those of members that were trained on the same structures."""
    return torch.equal(one.feature_mean, other.feature_mean) and torch.equal(one.feature_std, other.feature_std)


def begin_alike(one: Potential, other: Potential) -> bool:
    """Whether both know the same of an energy before they learn: the prior and E0."""
    return torch.equal(one.reference_energies, other.reference_energies) and _equal(one.prior, other.prior)


def _equal(one: Any, other: Any) -> bool:
    """Whether two modules, tensors or other values are equal; what cannot be compared is not."""
    if type(one) is not type(other):
        return False
    match one:
        case nn.Module():
            same = _equal(_content(one), _content(other))
        case Tensor():
            same = one.dtype == other.dtype and torch.equal(one, other)
        case np.ndarray():
            same = np.array_equal(one, other)
        case dict():
            same = one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
        case list() | tuple():
            same = len(one) == len(other) and all(map(_equal, one, other))
        case NeighborSums():
            same = one.equals(other)  # it remembers tables
        case TripletTables():
            same = True  # of what is compared elsewhere
        case _ if is_dataclass(one):
            same = all(_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
        case _:
            same = one == other
    return bool(same)


def _content(module: nn.Module) -> list[dict[str, Any]]:
    """Parts, parameters, buffers, and what was set besides; not whether it is being trained."""
    plain = {key: value for key, value in vars(module).items() if key not in vars(_EMPTY)}
    return [dict(module.named_children()), dict(module.named_parameters(recurse=False)), dict(module.named_buffers(recurse=False)), plain]


#: what every module has
_EMPTY: Final = nn.Module()
