"""Where training starts."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from nnpx.memory import refuse_beyond_memory


def lecun_normal(shape: tuple[int, ...], n_inputs: int, generator: torch.Generator) -> Float[Tensor, "..."]:
    """Normal weights of variance 1/n_inputs, by which a signal keeps its size from layer to layer.

    LeCun, Bottou, Orr & Müller 1998, doi:10.1007/3-540-49430-8_2.

    Raises:
        OutOfMemoryError: they do not fit, once before and once after they are scaled.
    """
    found = f"{' × '.join(map(str, shape))} of them for {n_inputs} inputs"
    refuse_beyond_memory(2.0 * 8.0 * math.prod(shape), "network", expected="weights that fit into", found=found)
    return torch.randn(shape, generator=generator, dtype=torch.float64).div(n_inputs**0.5)
