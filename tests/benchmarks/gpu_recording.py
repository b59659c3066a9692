"""An update of a potential up to its gradient, recorded once as a CUDA graph; what gpu_training.py replays."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from gpu_systems import tell
from torch import Tensor

from nnpx.descriptor import learned_density
from nnpx.errors import TrainingError
from nnpx.graph import AtomicGraph
from nnpx.loss import Loss
from nnpx.network import per_species
from nnpx.potential import Potential

#: largest difference between a replay and an update that was not recorded, in parts of the value
TOLERANCE = 1e-3


@contextmanager
def constant_shapes() -> Iterator[None]:
    """Inside the block no shape depends on where the atoms are or of which element; all pairs of a molecule have to be listed.

    A recorded update repeats its kernels at the shapes that they had, and while it is recorded nothing may wait for the GPU. In two places
    nnpx reads from the GPU what the shapes are, for speed alone (and in the repulsion, which training does not evaluate). It looks which
    pairs are within the cutoff: without that those beyond it stay, where all cutoff functions are zero. And in training it sorts many atoms
    by element: without that all networks are evaluated at all atoms, as they are at few.
    """
    slots, at_most = learned_density.slots, per_species.STACKED_IN_TRAINING
    learned_density.slots, per_species.STACKED_IN_TRAINING = (lambda edges, radius: edges), sys.maxsize
    try:
        yield
    finally:
        learned_density.slots, per_species.STACKED_IN_TRAINING = slots, at_most


class Molecules:
    """Molecules of one size, with all their pairs, of which some are chosen at a time; the batch has the same shapes whichever they are.

    Args:
        graph: all of them.
        n_chosen: how many at a time.
        device: where they are kept.
    """

    def __init__(self, graph: AtomicGraph, n_chosen: int, device: str) -> None:
        self.n_structures, self.n_chosen = graph.n_structures, n_chosen
        self._chosen = torch.zeros(n_chosen, dtype=torch.long, device=device)
        self._pairs = graph.select(torch.arange(n_chosen)).to(device)  # which are those of any others, too
        atoms = {key: getattr(graph, key).unflatten(0, (graph.n_structures, -1)) for key in ("positions", "species", "forces")}
        self._per_atom = {key: value.to(device) for key, value in atoms.items()}
        self._per_structure = {key: getattr(graph, key).to(device) for key in ("energy", "energy_noise")}

    def choose(self, structures: Tensor) -> None:
        """Take these from now on."""
        self._chosen.copy_(structures)

    def batch(self) -> AtomicGraph:
        """Those chosen."""
        per_atom = {key: value.index_select(0, self._chosen).flatten(0, 1) for key, value in self._per_atom.items()}
        return self._pairs.with_(**per_atom, **{key: value.index_select(0, self._chosen) for key, value in self._per_structure.items()})

    def shuffled(self, seed: int) -> Iterator[Tensor]:
        """Batches without end, in a new order each epoch; what is left of an epoch is left out."""
        generator = torch.Generator().manual_seed(seed)
        while True:
            order = torch.randperm(self.n_structures, generator=generator)
            yield from order[: self.n_structures // self.n_chosen * self.n_chosen].split(self.n_chosen)


class Gradient:
    """Called, it leaves the gradient of the loss of the chosen molecules with the weights, and returns the loss and the gradient's norm.

    Args:
        potential: in training mode.
        loss: on the same device.
        molecules: on the same device.
        clip: largest norm of the gradient.
    """

    def __init__(self, potential: Potential, loss: Loss, molecules: Molecules, clip: float) -> None:
        self.potential, self.loss, self.molecules, self.clip = potential, loss, molecules, clip
        self.weights = [weight for weight in potential.parameters() if weight.requires_grad]

    def __call__(self) -> tuple[Tensor, Tensor]:
        self.forget()
        batch = self.molecules.batch()
        value = self.loss(self.potential(batch), batch, progress=0.0)
        value.backward(inputs=self.weights)
        return value.detach(), torch.nn.utils.clip_grad_norm_(self.weights, self.clip)

    def forget(self) -> None:
        for weight in self.weights:
            weight.grad = None


def recorded(gradient: Gradient) -> Callable[[], tuple[Tensor, Tensor]]:
    """The same as a CUDA graph, compared with what was not recorded, and asked for other molecules, too."""
    n, n_chosen = gradient.molecules.n_structures, gradient.molecules.n_chosen
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    gradient.molecules.choose(torch.arange(n_chosen))
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):  # libraries choose their kernels and find their memory in the first calls
            expected = [float(one) for one in gradient()]
        gradient.forget()  # the gradient is to lie in the memory of the graph
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        result = gradient()

    def replay() -> tuple[Tensor, Tensor]:
        graph.replay()
        return result

    found = [float(one) for one in replay()]
    gradient.molecules.choose(torch.arange(n - n_chosen, n))
    others = [float(one) for one in replay()]
    tell({"expected": expected, "replayed": found, "others": others})
    equal = all(abs(one - other) <= TOLERANCE * abs(one) for one, other in zip(expected, found, strict=True))
    if not equal or others == found or not math.isfinite(sum(others)):
        do = "Train on the processor with --device cpu."
        raise TrainingError("recording", expected=f"{expected}, and others for others", found=f"{found}, {others}", do=do)
    return replay
