"""Adam in the eigenbasis of Shampoo's preconditioner."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from nnpx.optimizer import Optimizer
from nnpx.speed.cuda_graph import Captured, RecordingError, captures

#: gradients of a matrix that are kept at most until their products are added to the covariances: more save no time, and take memory
MOST_KEPT: Final = 32


@final
class SOAP(Optimizer):
    """Adam for matrices, in the coordinates in which the gradients of rows and of columns are uncorrelated.

        L = ⟨G Gᵀ⟩,  R = ⟨Gᵀ G⟩;   G′ = Q_Lᵀ G Q_R  with the eigenvectors Q of L and R
        W ← (1 − η λ) W − η Q_L [ ⟨G′⟩ / (√⟨G′²⟩ + ε) ] Q_Rᵀ        Vyas et al. 2024, arXiv:2409.11321

    ⟨⟩ are exponential averages, corrected for their start as in Adam. A turn of the coordinates on either side of W turns the whole course
    of the training and changes nothing else, so that correlated features cost no more updates than uncorrelated ones. Parameters of more
    than two dimensions are batches of matrices, such as one per element. The first gradient of a matrix finds its coordinates and moves
    nothing; vectors (a matrix of one row or column is one), and matrices whose sides are both too long, take the steps of `AdamW`.

    Args:
        learning_rate: η, peak step size.
        beta1: memory of the mean gradient.
        beta2: memory of the squared gradient, of L and of R.
        epsilon: ε.
        weight_decay: λ, fraction of a weight that is removed per step, in units of the learning rate.
        precondition_every: updates between two refreshes of Q, each by one power iteration; so many gradients are kept, but at most 32.
        max_dimension: sides of a matrix that are longer keep their coordinates.
    """

    def __init__(
        self,
        *,
        learning_rate: Annotated[float, Gt(0)],
        beta1: Annotated[float, Interval(ge=0, lt=1)],
        beta2: Annotated[float, Interval(ge=0, lt=1)],
        epsilon: Annotated[float, Gt(0)],
        weight_decay: Annotated[float, Ge(0)],
        precondition_every: Annotated[int, Ge(1)],
        max_dimension: Annotated[int, Ge(0)],
    ) -> None:
        self.learning_rate, self.max_dimension = learning_rate, max_dimension
        self.numbers = {
            "betas": (beta1, beta2),
            "eps": epsilon,
            "weight_decay": weight_decay,
            "precondition_every": precondition_every,
        }

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of these parameters, all of whose memory is in its state."""
        return RotatedAdam(list(parameters), {"lr": self.learning_rate, "max_dimension": self.max_dimension, **self.numbers})


@final
class RotatedAdam(torch.optim.Optimizer):
    """The steps of `SOAP`.

    The state of a parameter: `step`, the moves made; `mean` and `square`, ⟨G′⟩ and ⟨G′²⟩ in the rotated coordinates; and for each rotated
    side, `covariance` (L or R) and `basis` (Qᵀ, rows by falling eigenvalue), each under the number of the dimension, −2 or −1. Covariances
    are wanted at refreshes only, and lag behind until then: `recent` are the gradients since, `n_recent` of them, whose products cost less
    all at once.

    Args:
        parameters: what is optimised.
        defaults: lr, betas, eps, weight_decay, precondition_every and max_dimension.
    """

    _moved: tuple[Any, ...] = ()  # how the last weights moved, and where they and their means lie
    _recording: "_RecordedMoves | None" = None  # of moves like these; no part of a copy
    _may_record: bool = True  # until a recording cannot be made

    def __init__(self, parameters: Iterable[nn.Parameter], defaults: dict[str, Any]) -> None:
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving = [weight for weight in group["params"] if self._may_move(weight, group)]
            for weight in moving:
                self.state[weight]["step"] += 1
            self._move(moving, group)
            rotated = [weight for weight in moving if self.state[weight]["basis"]]
            self._keep_gradients(rotated, group["betas"][1])
            for weight in rotated:
                if self.state[weight]["step"] % group["precondition_every"] == 0:
                    _refresh(self.state[weight], group["betas"][1])
        return loss

    def _may_move(self, weight: Tensor, group: dict[str, Any]) -> bool:
        """Whether a weight has a gradient and coordinates to move in; the first gradient of a matrix only finds them."""
        if weight.grad is None:
            return False
        state = self.state[weight]
        if state:
            return True
        state.update(_first_state(weight.grad, group))
        return not state["basis"]

    def _keep_gradients(self, weights: list[Tensor], beta2: float) -> None:
        """Put the gradients of rotated weights beside the recent ones, whose products are added up where there is no room for another."""
        states, gradients = [self.state[weight] for weight in weights], [weight.grad for weight in weights if weight.grad is not None]
        for state in states:
            if state["n_recent"] == state["recent"].shape[-2]:
                _add_recent(state, beta2)
        if weights:
            torch._foreach_copy_([state["recent"][..., state["n_recent"], :] for state in states], gradients)
        for state in states:
            state["n_recent"] += 1

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Move the weights; on a GPU, from the second time on that the same ones move, by a recording, if one can be made."""
        states, gradients = [self.state[weight] for weight in weights], [weight.grad for weight in weights if weight.grad is not None]
        factors = [_factors(group, state["step"]) for state in states]
        if weights and self._may_record and captures(weights[0].device) and len(self.param_groups) == 1:
            places = [tensor.data_ptr() for tensor in (*weights, *(state["mean"] for state in states))]
            moved, self._moved = self._moved, (group["betas"], group["eps"], *places)
            self._recording = self._recording_of(weights, states, group) if moved == self._moved else None
            if self._recording is not None:
                self._recording.replay(gradients, factors)
                return
        for weight, gradient, state, three in zip(weights, gradients, states, factors, strict=True):
            _move(weight, gradient, state, group, three)

    def _recording_of(self, weights: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> "_RecordedMoves | None":
        """The recording that there is, or a new one."""
        try:
            return self._recording or _RecordedMoves(weights, states, group)
        except (RecordingError, torch.OutOfMemoryError) as error:
            warnings.warn(f"Moves of SOAP are computed one operation after the other, not recorded: {error}.", stacklevel=2)
            self._may_record = False
            return None


@final
class _RecordedMoves:
    """The moves of some weights on a GPU, recorded once: their many operations take longer to start than to run.

    Args:
        weights: what moves; these and their states have to stay where they are.
        states: of the weights.
        group: what is constant of their settings.

    Raises:
        RecordingError: no graph can be made of them.
        torch.OutOfMemoryError: there is no memory for a second set of gradients.
    """

    def __init__(self, weights: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        self._gradients = [torch.empty_like(weight) for weight in weights]
        self._factors = torch.empty(len(weights), 3, dtype=torch.float64, device=weights[0].device)

        def move() -> None:
            for weight, gradient, state, three in zip(weights, self._gradients, states, self._factors, strict=True):
                _move(weight, gradient, state, group, three.unbind())

        self._moves = Captured(move, torch.cuda.Stream(weights[0].device))

    def replay(self, gradients: list[Tensor], factors: list[tuple[float, float, float]]) -> None:
        """Move the weights by their gradients of now."""
        torch._foreach_copy_(self._gradients, gradients)
        self._factors.copy_(torch.tensor(factors, dtype=torch.float64), non_blocking=True)
        self._moves.replay()


def _factors(group: dict[str, Any], step: int) -> tuple[float, float, float]:
    """What remains of a weight; the learning rate over the correction of the mean; the inverse correction of the square."""
    beta1, beta2 = group["betas"]
    rate: float = group["lr"]
    return 1.0 - rate * group["weight_decay"], rate / (1.0 - beta1**step), 1.0 / (1.0 - beta2**step)


def _move(weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], factors: Sequence[float | Tensor]) -> None:
    """One step of a weight, by numbers of `_factors` or by tensors that hold them; nothing depends on a value, and all stays in place."""
    beta1, beta2 = group["betas"]
    remains, rate, correction = factors
    rotated = _rotate(gradient, state["basis"])
    state["mean"].lerp_(rotated, 1.0 - beta1)
    state["square"].lerp_(rotated.square_(), 1.0 - beta2)
    width = (state["square"] * correction).sqrt_().add_(group["eps"])
    move = (state["mean"] * rate).div_(width)
    weight.mul_(remains).sub_(_rotate_back(move, state["basis"]))


def _first_state(gradient: Tensor, group: dict[str, Any]) -> dict[str, Any]:
    """Coordinates from the first gradient, which counts with its share in later averages as any other does."""
    is_matrix = gradient.ndim > 1 and min(gradient.shape[-2:]) > 1
    sides = [side for side in (-2, -1) if is_matrix and gradient.shape[side] <= group["max_dimension"]]
    covariance = {side: (1.0 - group["betas"][1]) * _covariance(gradient.unsqueeze(-2), side) for side in sides}
    state = {"step": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient), "covariance": covariance}
    state["basis"] = {side: _eigenvectors(matrix).mT.contiguous() for side, matrix in covariance.items()}
    if sides:
        n_kept = min(group["precondition_every"], MOST_KEPT)
        state |= {"recent": gradient.new_zeros(*gradient.shape[:-1], n_kept, gradient.shape[-1]), "n_recent": 0}
    return state


def _eigenvectors(matrix: Tensor) -> Tensor:
    """Those of the largest eigenvalues first; the identity for a gradient that is not finite, so that the loss can tell it.

    In double precision: of matrices of low rank with small entries LAPACK's single precision has returned NaN, or failed.
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device).expand_as(matrix).contiguous()
    if not torch.isfinite(matrix).all():
        return identity
    try:
        vectors = torch.linalg.eigh(matrix.double()).eigenvectors
    except RuntimeError:  # LAPACK has found none; the refreshes turn what stands in for them
        return identity
    return vectors.flip(-1).to(matrix.dtype) if bool(torch.isfinite(vectors).all()) else identity


def _covariance(gradients: Tensor, side: int) -> Tensor:
    """Σ G Gᵀ for the rows, Σ Gᵀ G for the columns, of some gradients of shape (…, rows, gradients, columns)."""
    wide = gradients.flatten(-2) if side == -2 else gradients.flatten(-3, -2).mT
    return wide @ wide.mT


def _rotate(matrix: Tensor, basis: dict[int, Tensor]) -> Tensor:
    """Q_Lᵀ M Q_R; a copy also where nothing is rotated."""
    rows = basis[-2] @ matrix if -2 in basis else matrix
    return rows @ basis[-1].mT if -1 in basis else rows.clone()


def _rotate_back(matrix: Tensor, basis: dict[int, Tensor]) -> Tensor:
    """Q_L M Q_Rᵀ."""
    rows = (matrix.mT @ basis[-2]).mT if -2 in basis else matrix  # on a processor twice as fast as (Qᵀ)ᵀ M with Qᵀ in rows
    return rows @ basis[-1] if -1 in basis else rows


def _add_recent(state: dict[str, Any], beta2: float) -> None:
    """The covariances as they are after the recent gradients, which are not needed any more."""
    n_recent, recent = state["n_recent"], state["recent"][..., : state["n_recent"], :]
    ages = torch.arange(n_recent - 1, -1, -1, dtype=recent.dtype, device=recent.device)
    recent.mul_(((1.0 - beta2) * beta2**ages).sqrt().unsqueeze(-1))
    for side, covariance in state["covariance"].items():
        covariance.mul_(beta2**n_recent).add_(_covariance(recent, side))
    state["n_recent"] = 0


def _refresh(state: dict[str, Any], beta2: float) -> None:
    """One step of orthogonal iteration, Q ← QR(P Q): columns and squares sorted by what the eigenvalues are now, the mean turned along.

    P are the covariances. P Q has the rows of (P Q)ᵀ as columns: as LAPACK wants them to lie.
    """
    _add_recent(state, beta2)
    mean = _rotate_back(state["mean"], state["basis"])
    for side, covariance in state["covariance"].items():
        basis = state["basis"][side]
        turned = basis @ covariance
        order = (basis * turned).sum(-1).argsort(dim=-1, descending=True, stable=True)  # by the eigenvalues
        state["square"].copy_(torch.take_along_dim(state["square"], order.unsqueeze(-1 if side == -2 else -2), dim=side))
        columns = _rows(turned, order).mT
        if columns.device.type == "cpu" or columns.dtype is torch.float64:
            basis.copy_(torch.linalg.householder_product(*torch.geqrf(columns)).mT)
        else:
            basis.copy_(_by_cholesky(columns, _rows(basis, order).mT).mT)
    state["mean"].copy_(_rotate(mean, state["basis"]))


def _rows(matrices: Tensor, order: Tensor) -> Tensor:
    """The rows of every matrix in another order."""
    n_rows, batch = matrices.shape[-2], order.shape[:-1]
    first = n_rows * torch.arange(batch.numel(), device=order.device).view(*batch, 1)
    return matrices.flatten(0, -2).index_select(0, (order + first).flatten()).view_as(matrices)


def _by_cholesky(columns: Tensor, before: Tensor) -> Tensor:
    """Q of the QR decomposition of P Q₀ in single precision for a GPU, where the reflections of Householder wait for one another.

    From Cholesky's factor of the products of the columns, twice and in double precision (Fukaya et al. 2014, doi:10.1109/ScalA.2014.11).
    P + δ has the eigenvectors of P: with a δ of 10⁻⁶ of the largest eigenvalue, where single precision knows no other eigenvalues any
    more, no column is too close to a combination of others.

    Args:
        columns: P Q₀.
        before: Q₀, orthonormal.
    """
    wide: Tensor = columns.double()
    longest = torch.linalg.vector_norm(wide, dim=-2, keepdim=True).amax(-1, keepdim=True)
    wide = wide + (1e-6 * longest + torch.finfo(torch.float32).tiny) * before  # all may be zero
    for _ in range(2):
        wide = wide / torch.linalg.vector_norm(wide, dim=-2, keepdim=True)
        factor: Tensor = torch.linalg.cholesky_ex(wide.mT @ wide).L
        wide = torch.linalg.solve_triangular(factor.mT, wide, upper=True, left=False)
    return wide.to(columns.dtype)
