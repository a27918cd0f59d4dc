"""The exchange of styles within a person, by which JSIA makes pairs of images, and the losses of what it generates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import nn

from pipeline.batch import Batch
from pipeline.losses.image_losses import least_squares, mean_absolute
from pipeline.losses.term import Parts
from pipeline.methods.game import CAPTURED_NAMES, pair_of, with_image_batch
from pipeline.models.image.discriminators import patch_discriminator_of_scales
from pipeline.models.image.jsia import Generator, GeneratorSizes, GrayNetwork
from pipeline.models.image.pixel_range import PixelRange
from pipeline.settings import Settings
from pipeline.settings_key import key

VISIBLE, INFRARED = CAPTURED_NAMES
OTHER = {VISIBLE: INFRARED, INFRARED: VISIBLE}
ByModality = dict[str, torch.Tensor]
Encoder = Callable[[torch.Tensor], torch.Tensor]  # normalized images -> content


@dataclass(frozen=True)
class DiscriminatorSizes:
    """Sizes of `patch_discriminator_of_scales`."""

    width: int = key(32, "channels of a discriminator's first layer", min=1)
    depth: int = key(4, "its layers of stride 2", min=1)
    scales: int = key(2, "sizes of an image that are judged", min=1)


class Generated(NamedTuple):
    """A batch of images and what was made of it, by modality; row i of each modality shows the same person.

    real            (n, 3, H, W) in -1 .. 1
    content, style  of the real images
    same            the real images, generated of their own content and style
    fake            images with the style of the real ones and the content of the other modality's
    content_again   of the fake image that has the real one's content
    """

    real: ByModality
    content: ByModality
    style: ByModality
    same: ByModality
    fake: ByModality
    content_again: ByModality


class Exchange(nn.Module):
    """A generator and a discriminator for each modality. channels: of the content."""

    def __init__(
        self, channels: int, generator: GeneratorSizes, discriminator: DiscriminatorSizes, pixels: PixelRange
    ) -> None:
        super().__init__()
        scales, width, depth = discriminator.scales, discriminator.width, discriminator.depth
        generators = nn.ModuleDict({name: Generator(channels, generator) for name in CAPTURED_NAMES})
        self.generators = cast("Mapping[str, Generator]", generators)  # nn.ModuleDict has no type of its values
        self.discriminators = nn.ModuleDict(
            {name: patch_discriminator_of_scales(scales, width, depth) for name in CAPTURED_NAMES}
        )
        self.pixels = pixels
        self.outputs = len(CAPTURED_NAMES) * scales

    def generate(self, images: ByModality, encode: Encoder) -> Generated:
        """Returns what is made of normalized images (n, 3, H, W) of each modality, by way of their content."""
        real = {name: self.pixels.signed(images[name]) for name in CAPTURED_NAMES}
        content = {name: encode(images[name]) for name in CAPTURED_NAMES}
        style = {name: generator.style(real[name]) for name, generator in self.generators.items()}
        same, fake = {}, {}
        for name, generator in self.generators.items():  # its norms are those of each image: one pass generates both
            both = generator(torch.cat([content[name], content[OTHER[name]]]), style[name].repeat(2, 1))
            same[name], fake[name] = both.chunk(2)
        content_again = {OTHER[name]: encode(self.pixels.normalized(fake[name])) for name in CAPTURED_NAMES}
        return Generated(real, content, style, same, fake, content_again)

    def cycled(self, generated: Generated) -> ByModality:
        """Returns the real images, generated of the content of their fakes and of their own style."""
        return {
            name: generator(generated.content_again[name], generated.style[name])
            for name, generator in self.generators.items()
        }

    def losses(self, generated: Generated) -> Parts:
        """Returns the losses of generators, each the sum over both modalities: "adversarial", "reconstruction", "cycle"
        and "feature", the distance between content and style of real images and those seen again in fakes."""
        style_again = {name: generator.style(generated.fake[name]) for name, generator in self.generators.items()}
        fooled = [least_squares(network(generated.fake[name]), 1) for name, network in self.discriminators.items()]
        return {
            "adversarial": total(fooled),
            "reconstruction": distance(generated.same, generated.real),
            "cycle": distance(self.cycled(generated), generated.real),
            "feature": distance(generated.content_again, generated.content) + distance(style_again, generated.style),
        }

    def discriminator_loss(self, generated: Generated) -> torch.Tensor:
        """Returns the loss of the discriminators, the sum over both and over their sizes; it reaches no generator."""
        return total(
            least_squares(network(generated.fake[name].detach()), 0) + least_squares(network(generated.real[name]), 1)
            for name, network in self.discriminators.items()
        )

    def shown(self, images: ByModality, encode: Encoder) -> ByModality:
        """Returns rows of normalized images by what they show: real ones, each as itself, as its pair, and back."""
        generated = self.generate(images, encode)
        cycled, rows = self.cycled(generated), dict[str, torch.Tensor]()
        for name, real in images.items():
            made = {
                f"{name} again": generated.same[name],
                f"to {OTHER[name]}": generated.fake[OTHER[name]],
                f"back to {name}": cycled[name],
            }
            rows |= {name: real} | {row: self.pixels.normalized(signed) for row, signed in made.items()}
        return rows


def distance(a: ByModality, b: ByModality) -> torch.Tensor:
    """Returns the sum over both modalities of the mean absolute difference, a scalar."""
    return total(mean_absolute(a[name], b[name]) for name in CAPTURED_NAMES)


def total(values: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.stack([*values]).sum()


def by_modality(batch: Batch) -> ByModality:
    """Returns the images of a batch, (n, 3, H, W) float32 each."""
    pair = pair_of(batch)
    return {VISIBLE: pair.visible, INFRARED: pair.infrared}


def check_sizes(settings: Settings, network: GrayNetwork) -> None:
    """Raises ValueError naming the key for images of another size than generators make of the network's content, or too
    small for what looks at them."""
    augment, options = with_image_batch(settings).augment, settings.method
    generator, discriminator = options.generator, options.discriminator
    height, width = (-(-side // network.reduction) << generator.ups for side in network.size)
    if (augment.height, augment.width) != (height, width):
        ups = f"method.generator.ups={generator.ups}"
        raise ValueError(
            f"method.image_batch.height, width: expected {height} and {width}, which {ups} makes of the content of "
            f"augment.height and width; found {augment.height} and {augment.width}"
        )
    halvings = {"generator": generator.depth, "discriminator": discriminator.depth + discriminator.scales - 1}
    most = min(height, width).bit_length() - 1
    for name, count in halvings.items():
        if count > most:
            raise ValueError(
                f"method.{name}.depth: expected at most {most} halvings of images of {height} x {width}; found {count}"
            )
