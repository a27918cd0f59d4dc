"""Losses of images and of discriminators: in float32 or wider."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.precision import wide

Outputs = torch.Tensor | Sequence[torch.Tensor]  # of a discriminator, or of one for each of several sizes


def least_squares(outputs: Outputs, target: float) -> torch.Tensor:
    """Returns the mean over batch and places of (output - target)^2, a scalar, and the sum of it over several sizes.

    outputs: (B, 1, h, w) each. Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, without its 1/2.
    """
    return torch.stack([(wide(output) - target).square().mean() for output in each(outputs)]).sum()


def mean_absolute(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the mean of |a - b| over all elements, a scalar.

    The gradient reaches both, and is 0 where they are equal. Raises ValueError for different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"b: expected shape {tuple(a.shape)}, that of a; found {tuple(b.shape)}")
    return (wide(a) - wide(b)).abs().mean()


def gradient_penalty(outputs: Outputs, images: torch.Tensor, weight: float = 0.01) -> torch.Tensor:
    """Returns weight times the mean over images of |d sum(outputs) / d image|^2, a scalar with a gradient of its own.

    images (B, 3, H, W), real ones that required a gradient when the outputs were made of them, which must not be under
    autocast; of outputs of several sizes, the sum over the sizes. Mescheder et al., "Which Training Methods for GANs do
    actually Converge?", ICML 2018, eq. 9; the default is Hi-CMD's. Raises ValueError for images without a gradient.
    """
    if not images.requires_grad:
        raise ValueError("images: expected ones that require a gradient; found a tensor that doesn't")
    gradients = [torch.autograd.grad(output.sum(), images, create_graph=True)[0] for output in each(outputs)]
    squares = [wide(gradient).square().flatten(1).sum(dim=1).mean() for gradient in gradients]
    return weight * torch.stack(squares).sum()


def each(outputs: Outputs) -> Sequence[torch.Tensor]:
    """Returns the outputs of each size."""
    return [outputs] if isinstance(outputs, torch.Tensor) else outputs
