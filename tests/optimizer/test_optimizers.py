"""Optimisers: they find the bottom, they resume exactly, and each is what its paper says."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnpx.config import compose, conf_dir, instantiate
from nnpx.optimizer.soap import _by_cholesky, _rotate_back

OPTIONS = sorted(path.stem for path in (conf_dir() / "optimizer").glob("*.yaml"))
DEFAULT = torch.float64


def built(option: str, weights: list[nn.Parameter], **changed) -> torch.optim.Optimizer:
    return instantiate({**compose([f"optimizer={option}"]).optimizer, **changed}).build(weights)


def rotation(n: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(n, n, dtype=DEFAULT, generator=torch.Generator().manual_seed(seed))).Q


class Valley:
    """½‖A (W − W*) B‖²: rows and columns of the gradient are correlated where A and B have unequal and turned axes."""

    def __init__(self, shape: tuple[int, int] = (6, 4), steepness: float = 10.0) -> None:
        rows, columns = (torch.logspace(0, float(np.log10(steepness)), n, dtype=DEFAULT) for n in shape)
        self.a, self.b = rows[:, None] * rotation(shape[0], 1), rotation(shape[1], 2) * columns
        self.bottom = torch.randn(shape, dtype=DEFAULT, generator=torch.Generator().manual_seed(3))

    def __call__(self, weight: Tensor) -> Tensor:
        return 0.5 * (self.a @ (weight - self.bottom) @ self.b).square().sum()


def descend(optimizer: torch.optim.Optimizer, loss, n_steps: int) -> list[float]:
    """Updates with the closure that the trainer hands over."""
    losses = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.detach()

    for _ in range(n_steps):
        losses.append(float(optimizer.step(closure)))
    return losses


def parameters() -> list[nn.Parameter]:
    """A matrix, a batch of matrices, a row per element, a vector and a number."""
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in ((6, 4), (3, 5, 4), (3, 1, 4), (4,), ())]


def wave(weights: list[nn.Parameter]):
    """A smooth function without symmetries."""
    return lambda: sum((weight.sin() * torch.arange(weight.numel()).reshape(weight.shape).cos()).sum().square() for weight in weights)


@pytest.mark.parametrize("option", OPTIONS)
def test_it_goes_to_the_bottom(option):
    weight, valley = nn.Parameter(torch.zeros(6, 4, dtype=DEFAULT)), Valley(steepness=2.0)
    losses = descend(built(option, [weight]), lambda: valley(weight), 2000)
    assert losses[-1] < 1e-2 * losses[0]


@pytest.mark.parametrize("option", OPTIONS)
def test_saved_and_loaded_it_continues_bit_for_bit(option):
    changed = {"precondition_every": 3} if option == "soap" else {}
    straight = parameters()
    descend(built(option, straight, **changed), wave(straight), 17)
    first = parameters()
    optimizer = built(option, first, **changed)
    descend(optimizer, wave(first), 8)
    file = io.BytesIO()
    torch.save({"weights": first, "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = [nn.Parameter(weight.detach().clone()) for weight in saved["weights"]]
    resumed = built(option, second, **changed)
    resumed.load_state_dict(saved["optimizer"])
    descend(resumed, wave(second), 9)
    assert all(torch.equal(a, b) for a, b in zip(straight, second, strict=True))


def test_amsgrad_never_lengthens_a_step_again():
    """After one steep gradient among flat ones Adam's steps grow again, those of AMSGrad do not."""
    moved = {}
    for option in ("adamw", "amsgrad"):
        weight = nn.Parameter(torch.zeros(1, dtype=DEFAULT))
        optimizer, path = built(option, [weight], weight_decay=0.0), [0.0]
        for k in range(1500):
            weight.grad = torch.tensor([100.0 if k == 0 else 1.0], dtype=DEFAULT)
            optimizer.step()
            path.append(float(weight.detach()))
        moved[option] = abs(path[-1] - path[-2])
    assert moved["adamw"] > 0.9 * 0.003
    assert moved["amsgrad"] < 0.15 * 0.003


def test_soap_without_rotations_is_adamw():
    """In float64, to rounding."""
    ours, theirs = ([nn.Parameter(weight.detach().double()) for weight in parameters()] for _ in range(2))
    numbers = {"learning_rate": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95}
    descend(built("soap", ours, max_dimension=0, **numbers), wave(ours), 50)
    descend(torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1, betas=(0.8, 0.95)), wave(theirs), 50)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def from_the_paper(gradients: list[np.ndarray], numbers: dict[str, float], every: int, rotated: str) -> np.ndarray:
    """What SOAP adds to a matrix of zeros, without weight decay, in plain numpy."""
    rate, beta1, beta2, epsilon = (numbers[key] for key in ("learning_rate", "beta1", "beta2", "epsilon"))
    first, weight = gradients[0], np.zeros_like(gradients[0])
    left, right = (1 - beta2) * first @ first.T, (1 - beta2) * first.T @ first
    q_left = np.linalg.eigh(left)[1][:, ::-1] if "L" in rotated else np.eye(len(left))
    q_right = np.linalg.eigh(right)[1][:, ::-1] if "R" in rotated else np.eye(len(right))
    mean, square = np.zeros_like(first), np.zeros_like(first)
    for t, gradient in enumerate(gradients[1:], 1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * (q_left.T @ gradient @ q_right) ** 2
        direction = (q_left.T @ mean @ q_right) / (1 - beta1**t) / (np.sqrt(square / (1 - beta2**t)) + epsilon)
        weight = weight - rate * q_left @ direction @ q_right.T
        left = beta2 * left + (1 - beta2) * gradient @ gradient.T
        right = beta2 * right + (1 - beta2) * gradient.T @ gradient
        if t % every == 0 and "L" in rotated:
            order = np.argsort(-np.einsum("ik,ij,jk->k", q_left, left, q_left))  # by falling eigenvalue
            q_left, square = np.linalg.qr(left @ q_left[:, order])[0], square[order]
        if t % every == 0 and "R" in rotated:
            order = np.argsort(-np.einsum("ik,ij,jk->k", q_right, right, q_right))
            q_right, square = np.linalg.qr(right @ q_right[:, order])[0], square[:, order]
    return weight


@pytest.mark.parametrize(("shape", "max_dimension", "rotated"), [((4, 4), 9, "LR"), ((7, 4), 5, "R"), ((4, 7), 5, "L")])
def test_soap_takes_the_steps_of_the_paper(shape, max_dimension, rotated):
    numbers = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8}
    random = np.random.default_rng(0)
    axes = [np.linalg.qr(random.normal(size=(n, n)))[0] * 4.0 ** -np.arange(n) for n in shape]
    gradients = [axes[0] @ random.normal(size=shape) @ axes[1].T for _ in range(12)]
    weight = nn.Parameter(torch.zeros(shape, dtype=DEFAULT))
    optimizer = built("soap", [weight], weight_decay=0.0, precondition_every=3, max_dimension=max_dimension, **numbers)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor(from_the_paper(gradients, numbers, 3, rotated)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("most_kept", [1, 4, 32])
def test_soap_takes_these_steps_for_every_matrix_by_itself(monkeypatch, most_kept):
    """Of a batch with two dimensions, of another group, and where gradients are missing; however many are kept."""
    monkeypatch.setattr("nnpx.optimizer.soap.MOST_KEPT", most_kept)
    random, numbers = np.random.default_rng(1), {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8}
    every = {(4, 4): 5, (2, 2, 3, 3): 3}
    weights = [nn.Parameter(torch.zeros(shape, dtype=DEFAULT)) for shape in every]
    optimizer = built("soap", weights[:1], weight_decay=0.0, max_dimension=9, precondition_every=5, **numbers)
    optimizer.add_param_group({**optimizer.param_groups[0], "params": weights[1:], "precondition_every": 3})
    given = {shape: [] for shape in every}
    for _ in range(24):
        for weight, (shape, own) in zip(weights, given.items(), strict=True):
            weight.grad = None
            if random.random() < 0.67:
                own.append(random.normal(size=shape) * 4.0 ** -np.arange(shape[-1]))
                weight.grad = torch.tensor(own[-1])
        optimizer.step()
    for weight, (shape, own) in zip(weights, given.items(), strict=True):
        for place in np.ndindex(shape[:-2]):
            expected = from_the_paper([one[place] for one in own], numbers, every[shape], "LR")
            torch.testing.assert_close(weight.detach()[place], torch.tensor(expected), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("max_dimension", "rotated"), [(9, {-2, -1}), (5, {-1})])
def test_the_mean_gradient_of_soap_is_the_same_whatever_becomes_of_its_coordinates(max_dimension, rotated):
    """Directions that were weak become the strong ones, so that a refresh puts the columns in another order."""
    random, numbers = np.random.default_rng(3), {"beta1": 0.9, "beta2": 0.5, "precondition_every": 4}
    weight = nn.Parameter(torch.zeros(7, 4, dtype=DEFAULT))
    optimizer, mean, orders = built("soap", [weight], max_dimension=max_dimension, **numbers), np.zeros((7, 4)), set()
    for t in range(17):
        fading = np.arange(7) if t < 6 else np.arange(7)[::-1]
        gradient = 3.0 ** -fading[:, None] * random.normal(size=(7, 4)) * 3.0 ** -fading[:4]
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        mean = mean if t == 0 else 0.9 * mean + 0.1 * gradient
        state = optimizer.state[weight]
        orders.add(int(state["basis"][-1][0].abs().argmax()))
        assert set(state["basis"]) == rotated
        torch.testing.assert_close(_rotate_back(state["mean"], state["basis"]), torch.tensor(mean), rtol=1e-10, atol=1e-12)
    assert len(orders) > 1, "the order never changed"


def test_soap_treats_a_batch_of_matrices_as_so_many_matrices():
    together, alone = nn.Parameter(torch.zeros(3, 5, 5, dtype=DEFAULT)), [nn.Parameter(torch.zeros(5, 5, dtype=DEFAULT)) for _ in range(3)]
    optimizers, random = [built("soap", [together]), built("soap", alone)], torch.Generator().manual_seed(5)
    for _ in range(40):
        together.grad = torch.randn(3, 5, 5, dtype=DEFAULT, generator=random)
        for one, gradient in zip(alone, together.grad, strict=True):
            one.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(together.detach(), torch.stack([one.detach() for one in alone]), rtol=1e-9, atol=1e-10)


def test_turned_coordinates_turn_the_course_of_soap_but_not_that_of_adamw():
    u, v, valley = rotation(5, 7), rotation(5, 8), Valley((5, 5))
    ends = {}

    def turned_valley(weight: torch.Tensor) -> torch.Tensor:
        return valley(u.mT @ weight @ v.mT)

    for option in ("soap", "adamw"):
        plain, turned = (nn.Parameter(torch.zeros(5, 5, dtype=DEFAULT)) for _ in range(2))
        descend(built(option, [plain], weight_decay=0.01), partial(valley, plain), 200)
        descend(built(option, [turned], weight_decay=0.01), partial(turned_valley, turned), 200)
        ends[option] = float((turned.detach() - u @ plain.detach() @ v).abs().max() / plain.detach().abs().max())
    assert ends["soap"] < 1e-4
    assert ends["adamw"] > 0.05


def test_soap_needs_far_fewer_updates_than_adamw_in_a_narrow_turned_valley():
    """Each at the better of two learning rates; to a millionth of the loss."""
    needed, most = {"soap": [], "adamw": []}, 1200
    for option, found in needed.items():
        for rate in (0.03, 0.1):
            weight, valley = nn.Parameter(torch.zeros(12, 8, dtype=DEFAULT)), Valley((12, 8), steepness=30.0)
            losses = descend(built(option, [weight], learning_rate=rate), partial(valley, weight), most)
            found.append(next((k for k, loss in enumerate(losses) if loss < 1e-6 * losses[0]), most))
    assert min(needed["soap"]) < 0.2 * min(needed["adamw"])


def test_soap_keeps_its_coordinates_orthogonal_where_gradients_have_no_full_rank():
    """Features that are never seen, and weights of an element that is not in the batch."""
    weight = nn.Parameter(torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(5)))
    optimizer = built("soap", [weight], precondition_every=1)
    seen = torch.zeros(3, 5, 4)
    seen[0, :2], seen[1] = 1.0, 1.0
    descend(optimizer, lambda: (weight * seen).sin().sum().square(), 50)
    for basis in optimizer.state[weight]["basis"].values():
        torch.testing.assert_close(basis.mT @ basis, torch.eye(basis.shape[-1]).expand_as(basis), rtol=0, atol=1e-5)
    assert weight.isfinite().all()


SCALES = {
    "full": torch.ones(48),
    "half empty": (torch.arange(48) < 24).float(),
    "twelve orders of magnitude": torch.logspace(0, -12, 48),
    "nothing": torch.zeros(48),
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_coordinates_on_a_gpu_are_orthonormal_and_those_of_the_processor(scale):
    """In single precision, batched: Cholesky's factors give Householder's columns, but for signs and what drowns in rounding."""
    random, n = torch.Generator().manual_seed(0), len(scale)
    root = torch.linalg.qr(torch.randn(2, n, n, generator=random)).Q * scale
    covariance, basis = root @ root.mT + 0.5 * root[..., :5] @ root[..., :5].mT, torch.eye(n).expand(2, n, n)
    for _ in range(6):
        found, expected = _by_cholesky(covariance @ basis, basis), torch.linalg.qr(covariance @ basis).Q
        torch.testing.assert_close(found.mT @ found, torch.eye(n).expand(2, n, n), rtol=0.0, atol=3e-6)
        if scale.any():
            torch.testing.assert_close((found * expected).sum(-2).abs()[:, :5], torch.ones(2, 5), rtol=0.0, atol=1e-4)
        basis = found


def test_lbfgs_solves_a_quadratic_of_24_unknowns_in_few_line_searches():
    weight, valley = nn.Parameter(torch.zeros(6, 4, dtype=DEFAULT)), Valley(steepness=5.0)
    losses = descend(built("lbfgs", [weight], iterations=1), lambda: valley(weight), 80)
    assert losses[-1] < 1e-12 * losses[0]


def test_a_first_gradient_that_is_not_finite_is_left_to_the_loss_to_tell():
    weight = nn.Parameter(torch.ones(4, 3, dtype=DEFAULT))
    optimizer = built("soap", [weight])
    for _ in range(12):
        weight.grad = torch.full_like(weight, torch.nan)
        optimizer.step()
    assert weight.isnan().all()


def test_soap_survives_gradients_of_low_rank_and_many_orders_of_magnitude():
    """Their covariances are what single precision finds no eigenvectors of, now and then."""
    random, fading = torch.Generator().manual_seed(7), torch.logspace(0, -6, 144)[:, None]
    weights = [nn.Parameter(torch.zeros(144, 16)) for _ in range(60)]
    for weight in weights:
        weight.grad = fading * torch.randn(144, 16, generator=random)
        weight.grad[::2] = 0.0
    optimizer = built("soap", weights)
    for _ in range(3):
        optimizer.step()
    assert all(bool(torch.isfinite(weight).all()) for weight in weights)
