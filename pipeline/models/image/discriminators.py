"""Discriminators: networks that tell real images from made ones, place by place. Their outputs have no bounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from pipeline.models.image.blocks import Norm, ResidualBlock, conv
from pipeline.models.image.initial import start_gaussian, start_gaussian_weights
from pipeline.models.image.sizes import check_halvings

SLOPE = 0.2
NORMED_PLACES = 2  # an instance norm needs more than one


class PatchDiscriminator(nn.Sequential):
    """AlignGAN's discriminator of images (Wang et al., ICCV 2019; 11.2 million parameters).

    width  channels of the first layer, doubled by each further one
    depth  number of layers of stride 2. The map is as often halved, and must keep two places: 128 x 128 pixels become
           4 x 4 in five layers, and 64 x 32 2 x 1
    """

    def __init__(self, width: int = 64, depth: int = 5) -> None:
        last = width << depth - 1
        last_layer = nn.Conv2d(last, 1, 3, padding=1, bias=False)
        super().__init__(*strided_layers(3, width, depth), last_layer)
        self.depth = depth
        start_gaussian_weights(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns (B, 1, H / 2^depth, W / 2^depth) of images (B, 3, H, W). Raises ValueError for too small ones."""
        check_halvings(images, self.depth, NORMED_PLACES)
        return super().forward(images)


class JointDiscriminator(nn.Module):
    """AlignGAN's discriminator of images and their feature maps together (11.8 million parameters).

    width        channels of the image's first layer, doubled by each further one, and those of the feature map
    features     channels of the feature map
    image_depth  number of layers of stride 2 before the two are joined
    joint_depth  number of those behind
    """

    def __init__(self, width: int = 64, features: int = 2048, image_depth: int = 3, joint_depth: int = 2) -> None:
        super().__init__()
        image_width, joint_width = width << image_depth - 1, width << image_depth
        self.image = strided_layers(3, width, image_depth)
        self.feature = conv(features, width, 1, slope=SLOPE)
        self.joint = strided_layers(image_width + width, joint_width, joint_depth, first="instance")
        self.last = nn.Conv2d(joint_width << joint_depth - 1, 1, 3, padding=1, bias=False)
        self.depth = image_depth + joint_depth
        start_gaussian_weights(self)

    def forward(self, images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Returns (B, 1, H / 2^depth, W / 2^depth), depth that of both parts, of images (B, 3, H, W) and maps (B, C, h,
        w) of any size. Raises ValueError for too small images."""
        check_halvings(images, self.depth, NORMED_PLACES)
        of_image = self.image(images)
        of_features = functional.interpolate(self.feature(features), of_image.shape[2:], mode="bilinear")
        return self.last(self.joint(torch.cat([of_image, of_features], dim=1)))


def strided_layers(channels: int, width: int, depth: int, first: Norm = "none") -> nn.Sequential:
    """Returns `depth` layers of stride 2 with `width`, 2 `width`, ... channels and instance norms; `first` is the norm
    of the first."""
    widths = [channels, *(width << i for i in range(depth))]
    layers = [
        conv(widths[i], widths[i + 1], 4, 2, padding="zeros", norm="instance" if i else first, slope=SLOPE)
        for i in range(depth)
    ]
    return nn.Sequential(*layers)


class MultiScaleDiscriminator(nn.Module):
    """Networks of the same form, with weights of their own, for an image in its size, in half of it, and so on.

    Each next size is the average of 3 x 3 places, every second of them; what lies beyond the edge doesn't count
    (Wang et al., "High-Resolution Image Synthesis ... with Conditional GANs", CVPR 2018, as in MUNIT).

    network   makes the network of one size, from images (B, 3, H, W)
    scales    number of sizes
    halvings  how often such a network halves the size
    """

    def __init__(self, network: Callable[[], nn.Module], scales: int, halvings: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network() for _ in range(scales))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.halvings = scales - 1 + halvings
        start_gaussian(self)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Returns the output of each size, the largest first. Raises ValueError for images that are too small."""
        check_halvings(images, self.halvings)
        sizes = [images]
        for _ in self.networks[1:]:
            sizes.append(self.pool(sizes[-1]))
        return [network(size) for network, size in zip(self.networks, sizes, strict=True)]


def patch_discriminator_of_scales(scales: int = 2, width: int = 32, depth: int = 4) -> MultiScaleDiscriminator:
    """Returns JSIA's discriminator: `depth` layers of stride 2 without norms and conv1 for each of `scales` sizes.

    (1.38 million parameters; UNIT's, with 3 scales and width 64, has 8.27.) An output is (B, 1, h, w), h = H / 2^depth
    for the largest size.
    """

    def network() -> nn.Sequential:
        widths = [3, *(width << i for i in range(depth))]
        strided = (conv(widths[i], widths[i + 1], 4, 2, slope=SLOPE) for i in range(depth))
        return nn.Sequential(*strided, conv(widths[-1], 1, 1))

    return MultiScaleDiscriminator(network, scales, depth)


def residual_discriminator_of_scales(scales: int = 3, width: int = 32, blocks: int = 4) -> MultiScaleDiscriminator:
    """Returns Hi-CMD's discriminator: five layers, two of them of stride 2, residual blocks and conv1 for each of
    `scales` sizes, without norms (1,025,571 parameters).

    An output is (B, 1, h, w), h = H / 4 for the largest size.
    """
    slope = 0.3

    def network() -> nn.Sequential:
        return nn.Sequential(
            conv(3, width, 1, slope=slope),
            conv(width, width, 3, slope=slope),
            conv(width, width, 3, 2, slope=slope),
            conv(width, width, 3, slope=slope),
            conv(width, 2 * width, 3, 2, slope=slope),
            *(ResidualBlock(2 * width, norm="none", slope=slope) for _ in range(blocks)),
            conv(2 * width, 1, 1),
        )

    return MultiScaleDiscriminator(network, scales, halvings=2)
