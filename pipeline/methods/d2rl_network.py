"""From a configuration to the network of D2RL that is tested, and what images it takes."""

from __future__ import annotations

from pipeline.methods.game import with_image_batch
from pipeline.methods.network import build_network
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.image.sizes import check_sides
from pipeline.models.image.unified import CHANNELS, Translation, UnifiedNetwork
from pipeline.models.input_channels import take_channels
from pipeline.normalization import normalization_of
from pipeline.settings import Settings

STRIDE, HALVINGS = 4, 4  # of the encoders; of a discriminator of one size


def build_unified(settings: Settings, identities: int, weights: bool) -> UnifiedNetwork:
    """Returns the untrained network that is tested. Raises ValueError naming a key that is impossible."""
    options, by = settings.method, normalization_of(settings)
    network = build_network(settings, identities, weights)
    if CHANNELS[options.unify] != 3:
        try:
            take_channels(network.backbone, CHANNELS[options.unify])
        except ValueError as error:
            reason = str(error).partition(": ")[2]
            raise ValueError(f"model.backbone: {reason} (method.unify={options.unify} changes it)") from None
    translation = Translation(options.width, options.blocks, options.noise)
    return UnifiedNetwork(translation, network, PixelRange(by.mean, by.std), options.unify)


def check_sizes(settings: Settings) -> None:
    """Raises ValueError naming the key of images that the networks of images can't take."""
    seen, made = settings.augment, with_image_batch(settings).augment
    smallest = max(2 * STRIDE, 2 ** (settings.method.scales - 1 + HALVINGS))
    check_sides("augment.height, augment.width", seen.height, seen.width, multiple=STRIDE, smallest=2 * STRIDE)
    check_sides("method.image_batch, method.scales", made.height, made.width, multiple=STRIDE, smallest=smallest)
