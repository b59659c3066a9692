"""One network for each element."""

from itertools import pairwise
from typing import Annotated, Final, final

import torch
from annotated_types import Ge, Gt, Len
from jaxtyping import Float, Int
from torch import Tensor, nn

from nnpx.network import Network
from nnpx.network.initial import lecun_normal
from nnpx.network.layers import Activation, Groups, activated, layers_with_slopes
from nnpx.wiring import Wired

#: Up to this many atoms × elements it is faster to evaluate every network at every atom and to pick one (no index operations, no
#: wait for a device) than to sort the atoms. Measured on one core, outputs, slopes and the derivatives of both in the weights, two hidden
#: layers of 64 and 264 to 427 inputs: the two are equal at some 290, whether with two, three or four elements (72 atoms of four elements
#: 1.84 and 1.84 ms, 144 of three 1.93 and 2.17 ms, 144 of four 2.16 and 2.66 ms); with 42 inputs and one layer of 32 beyond 580. Energies
#: and forces of four members, 264 inputs in float64, 3.7 against 5.2 ms for 9 atoms, 7.0 against 6.6 ms for 54, 11.6 against 8.6 ms for
#: 108. On a GPU (H100, two elements) 12.0 against 17.8 ms with symmetry functions and 6.5 against 9.7 with moments for 999 atoms, 25.8
#: against 24.4 and 7.2 against 8.6 for 9,999; beyond, memory forbids, and in training nothing else can be recorded.
STACKED_IN_TRAINING: Final = 288
STACKED_IN_EVALUATION: Final = 128
STACKED_ON_A_GPU: Final = 65536


@final
class PerSpecies(Network):
    """One perceptron per element, as in the first neural network potentials: the centre's element chooses the network.

        E_i = NN_{species(i)}(G_i),   h_k = σ(W_k h_{k−1} + b_k)       Behler & Parrinello 2007, doi:10.1103/PhysRevLett.98.146401

    The chemistry of the centre is not an input, since the choice of the network already says it. Weights start as LeCun normals and
    biases at zero; the last layer is scaled down so that training starts near the prior and the reference energies.

    Args:
        hidden: widths of the hidden layers.
        activation: tanh, bounded, or silu, x/(1 + e^{−x}), unbounded.
        output_scale: factor on the initial weights of the last layer.
        n_features: length of the geometry.
        n_species: number of elements.
        n_outputs: numbers per atom.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        *,
        hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)],
        activation: Activation,
        output_scale: Annotated[float, Gt(0)],
        n_features: Wired[int],
        n_species: Wired[int],
        n_outputs: Wired[int],
        generator: Wired[torch.Generator],
    ) -> None:
        super().__init__()
        widths = [n_features, *hidden, n_outputs]
        pairs = list(pairwise(widths))
        self.n_species = n_species
        self.weights = nn.ParameterList(nn.Parameter(lecun_normal((n_species, n_in, n_out), n_in, generator)) for n_in, n_out in pairs)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n_species, 1, n_out, dtype=torch.float64)) for _, n_out in pairs)
        self.activation = activation
        with torch.no_grad():
            self.weights[-1].mul_(output_scale)

    def forward(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom output"]:
        """E_i from row i alone, by the network of its element."""
        is_stacked = self.n_species == 1 or self._are_few(geometry)
        return self.stacked(geometry, species) if is_stacked else self.sorted_by_species(geometry, species)

    def with_slopes(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
        energies: Float[Tensor, "energy output"],
    ) -> tuple[Float[Tensor, "atom output"], Float[Tensor, "energy atom feature"]]:
        """The layers of each element with their derivative written out, but for few atoms, and where a GPU is to record it."""
        if (geometry.is_cuda and torch.is_grad_enabled()) or (self.n_species > 1 and self._are_few(geometry)):
            return super().with_slopes(geometry, chemistry, species, energies)
        groups = Groups([len(geometry)]) if self.n_species == 1 else Groups.of(species, self.n_species)
        outputs, slopes = layers_with_slopes(geometry, energies, (list(self.weights), list(self.biases)), self.activation, groups)
        return outputs, slopes if self.training else slopes.detach()

    def _are_few(self, geometry: Float[Tensor, "atom feature"]) -> bool:
        """Whether to evaluate every network at every atom."""
        on_processor = STACKED_IN_TRAINING if self.training else STACKED_IN_EVALUATION
        return geometry.shape[0] * self.n_species <= (STACKED_ON_A_GPU if geometry.is_cuda else on_processor)

    def last_layer_features(
        self,
        geometry: Float[Tensor, "atom feature"],
        chemistry: Float[Tensor, "atom channel"],
        species: Int[Tensor, " atom"],
    ) -> Float[Tensor, "atom width"]:
        """The activations of the last hidden layer, of the network of each atom's element."""
        signal = self._hidden(geometry)
        return signal.gather(0, species[None, :, None].expand(1, -1, signal.shape[2]))[0]

    def stacked(self, geometry: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"]) -> Float[Tensor, "atom output"]:
        """All networks at all atoms, of which each atom takes one."""
        outputs = torch.baddbmm(self.biases[-1], self._hidden(geometry), self.weights[-1])
        return outputs.gather(0, species[None, :, None].expand(1, -1, outputs.shape[2]))[0]

    def _hidden(self, geometry: Float[Tensor, "atom feature"]) -> Float[Tensor, "species atom width"]:
        """The last activations of all networks at all atoms."""
        signal = geometry[None] if self.n_species == 1 else geometry.expand(self.n_species, -1, -1)  # whose backward pass adds up
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            signal = activated(self.activation, torch.baddbmm(bias, signal, weight))
        return signal

    def sorted_by_species(self, geometry: Float[Tensor, "atom feature"], species: Int[Tensor, " atom"]) -> Float[Tensor, "atom output"]:
        """Atoms grouped by element, each group through its own network."""
        groups = Groups.of(species, self.n_species)
        *weights, last = (weight.unbind() for weight in self.weights)  # whose gradients are put together once
        *biases, offset = (bias.unbind() for bias in self.biases)
        outputs = []
        for element, signal in enumerate(groups.sorted(geometry).split(groups.counts)):
            for weight, bias in zip(weights, biases, strict=True):
                signal = activated(self.activation, torch.addmm(bias[element], signal, weight[element]))
            outputs.append(torch.addmm(offset[element], signal, last[element]))
        return groups.unsorted(torch.cat(outputs))
