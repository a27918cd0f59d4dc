"""How convolutions and linear layers of networks that make images start. All are in place and draw from torch's seed.

Norms keep the start that their classes give them.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

DEVIATION = 0.02  # of normal weights (Radford et al., "Unsupervised Representation Learning with DCGANs", 2016)
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def start_kaiming(network: nn.Module) -> None:
    """Draws weights from N(0, 2 / fan_in), and sets biases to 0 (He et al., 2015; MUNIT's generators)."""
    for layer in weighted_layers(network):
        nn.init.kaiming_normal_(layer.weight)
        clear_bias(layer)


def start_gaussian(network: nn.Module) -> None:
    """Draws weights from N(0, 0.02^2), and sets biases to 0 (MUNIT's discriminators)."""
    start_gaussian_weights(network)
    for layer in weighted_layers(network):
        clear_bias(layer)


def start_gaussian_weights(network: nn.Module) -> None:
    """Draws weights from N(0, 0.02^2), and leaves biases as torch draws them (AlignGAN)."""
    for layer in weighted_layers(network):
        nn.init.normal_(layer.weight, std=DEVIATION)


def weighted_layers(network: nn.Module) -> Iterator[Layer]:
    """Yields the convolutions and linear layers of a network, in its own order."""
    return (layer for layer in network.modules() if isinstance(layer, Layer))


def clear_bias(layer: Layer) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
