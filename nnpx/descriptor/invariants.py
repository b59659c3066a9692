"""What of the products of moments is invariant: the features of atoms, from the moments of densities around them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.derivatives import refuse_further_derivatives
from nnpx.descriptor.invariant_loops import TermsInLoop, bend, evaluate, pull_back
from nnpx.descriptor.products import Couples, Products
from nnpx.speed.compiled import operation, with_known_signature
from nnpx.speed.threads import in_parts

#: atoms for which another thread is worth its beginning: there is less to do for each than with its neighbours
_FEWEST_ATOMS: Final = 256


@final
class Invariants(nn.Module):
    """What of the products of moments within one density is invariant: A_q00 and the `Products`, each for all densities.

    Args:
        l_max: highest angular momentum.
        max_body_order: one more than the largest number of factors.
        couples: angular momenta that are coupled, all there are if not given.
    """

    pair: Tensor
    coupling: Tensor
    term: Tensor
    gather: Tensor

    def __init__(self, l_max: int, max_body_order: int, couples: Couples | None = None) -> None:
        super().__init__()
        products = Products(l_max, max_body_order, couples)
        for name in ("pair", "coupling", "term", "gather"):
            self.register_buffer(name, getattr(products, name), persistent=False)
        self._coupling, self._gather = terms_of(products.coupling, products.pair), terms_of(products.gather, products.term)
        self.kinds = ["A0", *products.names]  #: `A0`, `A1·A1`, `(A1A1→2)·A2`, `(A1A2→1)·(A1A2→1)`

    def forward(self, moments: Float[Tensor, "component atom density"]) -> Float[Tensor, "atom feature"]:
        """ν = 1, then ν = 2 of every l, then ν = 3 and 4 of every combination; each for all densities."""
        return _differentiable(moments, *self._in_loops()) if moments.device.type == "cpu" else self.as_matrices(moments)

    def linearised(
        self, moments: Float[Tensor, "component atom density"]
    ) -> tuple[Float[Tensor, "atom feature"], Callable[[Tensor], Tensor]]:
        """The same in loops, on a processor, and from ∂V/∂G (energy, atom, feature) of several energies their ∂V/∂A.

        Neither can be differentiated, and there are no such loops on a GPU.
        """
        terms, n_coupled, n_scalars = self._in_loops()
        features: Tensor = INVARIANTS(moments, terms, n_coupled, n_scalars)
        return features, lambda slopes: GRADIENT(slopes, moments, terms, n_coupled)

    def _in_loops(self) -> tuple[list[Tensor], int, int]:
        """The terms as loops read them, and how many tensors are coupled and scalars gathered."""
        terms = [self._coupling.place, self._coupling.coefficient, self._gather.place, self._gather.coefficient]
        return terms, self._coupling.n_rows, self._gather.n_rows

    def as_matrices(self, moments: Float[Tensor, "component atom density"]) -> Float[Tensor, "atom feature"]:
        """The same as products of matrices: what a GPU is good at."""
        _, n_atoms, n_densities = moments.shape
        columns = moments.flatten(1)
        both = columns.index_select(0, self.pair[0]) * columns.index_select(0, self.pair[1])
        tensors = torch.cat([columns, self.coupling @ both])
        terms = tensors.index_select(0, self.term[0]) * tensors.index_select(0, self.term[1])
        return torch.cat([columns[:1], self.gather @ terms]).view(-1, n_atoms, n_densities).transpose(0, 1).flatten(1)


@final
@dataclass(frozen=True)
class Terms:
    """A coupling without its zeros, which are nine of ten numbers: Z_k = Σ_n c_n A_{i_n} A_{j_n} over the terms n with k_n = k."""

    place: Int[Tensor, "3 term"]  #: k_n, i_n and j_n
    coefficient: Float[Tensor, " term"]  #: c_n, float64
    n_rows: int  #: of Z


def terms_of(coupling: Float[Tensor, "out pair"], pair: Int[Tensor, "2 pair"]) -> Terms:
    """The terms of coupling · (A[pair₀] ∘ A[pair₁]), those of one sum together, so that it stays in the nearest cache."""
    out, column = coupling.nonzero().unbind(1)
    place, order = torch.cat([out[None], pair[:, column]]), out.argsort(stable=True)
    return Terms(place[:, order].contiguous(), coupling[out, column].double()[order], len(coupling))


def _room_for_features(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
    _, n_atoms, n_densities = moments.shape
    return moments.new_empty(n_atoms, (1 + n_scalars) * n_densities)


def _room_for_gradient(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
    return slopes.new_empty(len(slopes), *moments.shape)


def _invariants(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
    features = _room_for_features(moments, terms, n_coupled, n_scalars)
    loop = partial(evaluate, features.numpy(), moments.contiguous().numpy(), _arrays(terms), n_coupled)
    in_parts(loop, moments.shape[1], fewest=_FEWEST_ATOMS)
    return features


def _gradient(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
    gradient, operands = _room_for_gradient(slopes, moments, terms, n_coupled), (slopes.contiguous().numpy(), moments.contiguous().numpy())
    in_parts(partial(pull_back, gradient.numpy(), operands, _arrays(terms), n_coupled), moments.shape[1], fewest=_FEWEST_ATOMS)
    return gradient


def _bends(displacement: Tensor, slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> tuple[Tensor, Tensor]:
    rises, bends = _room_for_bends(displacement, slopes, moments, terms, n_coupled)
    operands = tuple(one.detach().contiguous().numpy() for one in (displacement, slopes, moments))
    in_parts(partial(bend, (rises.numpy(), bends.numpy()), operands, _arrays(terms), n_coupled), moments.shape[1], fewest=_FEWEST_ATOMS)
    return rises, bends


def _room_for_bends(displacement: Tensor, slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> tuple[Tensor, Tensor]:
    return slopes.new_empty(slopes.shape), moments.new_empty(moments.shape)


def _arrays(terms: list[Tensor]) -> tuple[TermsInLoop, TermsInLoop]:
    coupling, coupling_factors, gather, gather_factors = (one.numpy() for one in terms)
    return (coupling, coupling_factors), (gather, gather_factors)


#: G (atom, kind · density) of moments (component, atom, density), from the places and factors of couplings and of scalars
INVARIANTS: Final = operation(
    "invariants(Tensor moments, Tensor[] terms, int n_coupled, int n_scalars) -> Tensor", _invariants, _room_for_features
)
#: ∂V/∂A of several energies from their ∂V/∂G
GRADIENT: Final = operation(
    "invariants_gradient(Tensor slopes, Tensor moments, Tensor[] terms, int n_coupled) -> Tensor", _gradient, _room_for_gradient
)
#: how the latter changes with its slopes and moments along displacements of ∂V/∂A: see `nnpx.descriptor.invariant_loops.bend`
BENDS: Final = operation(
    "invariants_bends(Tensor displacement, Tensor slopes, Tensor moments, Tensor[] terms, int n_coupled) -> (Tensor, Tensor)",
    _bends,
    _room_for_bends,
)


def _differentiable(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
    """`INVARIANTS` as autograd differentiates it: backward twice at most, or forward, and then no further."""
    features: Tensor = _Invariants.apply(moments, terms, n_coupled, n_scalars)  # type: ignore[no-untyped-call]  # as torch has it
    return features


def _differentiable_gradient(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
    """`GRADIENT` as autograd differentiates it, once."""
    gradient: Tensor = _Gradient.apply(slopes, moments, terms, n_coupled)  # type: ignore[no-untyped-call]  # as torch has it
    return gradient


@with_known_signature
class _Invariants(torch.autograd.Function):
    """G(A)."""

    @staticmethod
    def forward(moments: Tensor, terms: list[Tensor], n_coupled: int, n_scalars: int) -> Tensor:
        features: Tensor = INVARIANTS(moments, terms, n_coupled, n_scalars)
        return features

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        moments, ctx.terms, ctx.n_coupled, _ = inputs
        ctx.shape = output.shape
        ctx.save_for_backward(moments)
        ctx.save_for_forward(moments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (moments,) = ctx.saved_tensors
        return _differentiable_gradient(grads[0][None], moments, ctx.terms, ctx.n_coupled)[0], None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        features = _differentiable(_side_by_side(inputs[0], in_dims[0]), *inputs[1:])
        return features.unflatten(0, (info.batch_size, -1)), 0

    @staticmethod
    def jvp(ctx: Any, change: Tensor, *_: None) -> Tensor:
        (moments,) = ctx.saved_tensors
        rises: Tensor = BENDS(change[None], moments.new_zeros(1, *ctx.shape), moments, ctx.terms, ctx.n_coupled)[0]
        return rises[0]


@with_known_signature
class _Gradient(torch.autograd.Function):
    """∂V/∂A of several energies, linear in their ∂V/∂G."""

    @staticmethod
    def forward(slopes: Tensor, moments: Tensor, terms: list[Tensor], n_coupled: int) -> Tensor:
        gradient: Tensor = GRADIENT(slopes, moments, terms, n_coupled)
        return gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        slopes, moments, ctx.terms, ctx.n_coupled = inputs
        ctx.save_for_backward(slopes, moments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        refuse_further_derivatives("gradients of invariants")
        return *BENDS(grads[0], *ctx.saved_tensors, ctx.terms, ctx.n_coupled), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        slopes, moments, terms, n_coupled = inputs
        if in_dims[1] is None:  # several energies of the same atoms
            energies = slopes.movedim(in_dims[0], 0)
            gradient = _differentiable_gradient(energies.flatten(0, 1), moments, terms, n_coupled)
            return gradient.unflatten(0, energies.shape[:2]), 0
        each = slopes.unsqueeze(1).expand(-1, info.batch_size, -1, -1) if in_dims[0] is None else slopes.movedim(in_dims[0], 1)
        gradient = _differentiable_gradient(each.flatten(1, 2), _side_by_side(moments, in_dims[1]), terms, n_coupled)
        return gradient.unflatten(2, (info.batch_size, -1)), 2


def _side_by_side(moments: Tensor, dim: int) -> Float[Tensor, "component atom density"]:
    """Moments of several batches of atoms as those of one."""
    return moments.movedim(dim, 1).flatten(1, 2)
