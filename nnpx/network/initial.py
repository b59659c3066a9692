"""Where training starts."""

import torch
from jaxtyping import Float
from torch import Tensor


def lecun_normal(shape: tuple[int, ...], n_inputs: int, generator: torch.Generator) -> Float[Tensor, "..."]:
    """Normal weights of variance 1/n_inputs, by which a signal keeps its size from layer to layer.

    LeCun, Bottou, Orr & Müller 1998, doi:10.1007/3-540-49430-8_2.
    """
    return torch.randn(shape, generator=generator, dtype=torch.float64).div(n_inputs**0.5)
