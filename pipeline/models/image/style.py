"""JSIA's style encoder and decoder: what an image looks like apart from its content, and images of the two.

Wang et al., "Cross-Modality Paired-Images Generation for RGB-Infrared Person Re-Identification", AAAI 2020, in the
sizes of its code. All start as torch's layers do.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.models.image.blocks import AdaptiveResidualBlock, conv, to_image, up_blocks
from pipeline.models.image.sizes import check_halvings


class StyleEncoder(nn.Module):
    """Layers of stride 2 without norms, which would remove the style; the mean over places; a linear layer.

    width  channels of the first layer, doubled by strided ones up to four times as many (709,824 parameters)
    depth  number of layers of stride 2
    style  length of a code
    """

    def __init__(self, width: int = 32, depth: int = 4, style: int = 128) -> None:
        super().__init__()
        widths = [width << min(i, 2) for i in range(depth + 1)]
        strided = (conv(widths[i], widths[i + 1], 4, 2, slope=0.0) for i in range(depth))
        self.layers = nn.Sequential(conv(3, width, 7, slope=0.0), *strided)
        self.to_code = nn.Linear(widths[-1], style)
        self.depth = depth

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns codes (B, style) of images (B, 3, H, W) in -1 .. 1. Raises ValueError for too small ones."""
        check_halvings(images, max(self.depth, 2))  # the first layer's padding mirrors three pixels
        return self.to_code(self.layers(images).mean(dim=(2, 3)))


class StyleParameters(nn.Module):
    """From a style code to shift and scale of each channel of adaptive instance norms: three linear layers, ReLU
    between (625,152 parameters).

    layers, channels: of the norms; style: length of a code; hidden: width of the hidden layers.
    """

    def __init__(self, layers: int = 4, channels: int = 256, style: int = 128, hidden: int = 256) -> None:
        super().__init__()
        self.shape = (layers, 2, channels)
        self.perceptron = nn.Sequential(
            nn.Linear(style, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, layers * 2 * channels),
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Returns (B, layers, 2, channels), by layer its shifts, then its scales, of codes (B, style)."""
        return self.perceptron(codes).unflatten(1, self.shape)


class StyleDecoder(nn.Module):
    """Adaptive residual blocks, up blocks that halve the channels, and `last` (3,198,723 parameters).

    content  channels of the content: 256 for layer1 of a ResNet-50
    blocks   number of residual blocks
    ups      number of up blocks: an image has 2^ups times the height and width of its content
    slope    of the activations below 0
    last     from content / 2^ups channels to the image; None: conv7 and tanh
    """

    def __init__(
        self, content: int = 256, blocks: int = 2, ups: int = 1, slope: float = 0.0, last: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AdaptiveResidualBlock(content, slope=slope) for _ in range(blocks))
        self.ups = up_blocks(content, ups, slope)
        self.last = last or to_image(content >> ups)

    @property
    def layers(self) -> int:
        """How many norms need shifts and scales."""
        return AdaptiveResidualBlock.LAYERS * len(self.blocks)

    def forward(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Returns images (B, 3, 2^ups h, 2^ups w), in -1 .. 1 unless `last` is another, of content (B, C, h, w) and
        style (B, `layers`, 2, C), as `StyleParameters` gives it."""
        if style.shape[1:] != (self.layers, 2, content.shape[1]):
            expected = (len(content), self.layers, 2, content.shape[1])
            raise ValueError(f"style: expected shape {expected}; found {tuple(style.shape)}")
        features = content
        for block, of_block in zip(self.blocks, style.split(AdaptiveResidualBlock.LAYERS, dim=1), strict=True):
            features = block(features, of_block)
        return self.last(self.ups(features))
