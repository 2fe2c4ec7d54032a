"""Plain draws on a generator's device; one seed gives the same again."""

import math

import torch
from torch import Generator, Tensor


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw evenly from *low* to *high*."""
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def log_uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw evenly in the logarithm."""
    return torch.exp(uniform(generator, math.log(low), math.log(high), *shape))


def normal(generator: Generator, *shape: int) -> Tensor:
    """Draw from the standard normal distribution."""
    return torch.randn(*shape, generator=generator, device=generator.device)


def spanned(generator: Generator, median: float, sigma: float, low: float, high: float, count: int) -> Tensor:
    """Draw log-normally, cut to a range, every second one log-uniform over it: rare wishes find a draw too."""
    draws = (median * torch.exp(sigma * normal(generator, count))).clamp(low, high)
    draws[1::2] = log_uniform(generator, low, high, count)[1::2]
    return draws
