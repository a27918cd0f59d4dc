"""From a configuration to AlignGAN's tested network."""

from __future__ import annotations

from pipeline.methods.game import with_image_batch
from pipeline.methods.network import build_reported_backbone, keys_named
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.image.sizes import check_sides
from pipeline.models.image.translated import TranslatedNetwork, TwoBranchHead
from pipeline.models.image.translator import Translator
from pipeline.models.pooling import pooling_for
from pipeline.normalization import normalization_of
from pipeline.settings import Settings

STRIDE = 4  # of a translator


def build_translated(settings: Settings, identities: int, weights: bool) -> TranslatedNetwork:
    """Returns the untrained network for that many identities; `weights` False leaves pre-trained weights out.

    Raises ValueError naming a key that is impossible.
    """
    options, normalization = settings.method, normalization_of(settings)
    with keys_named():
        backbone = build_reported_backbone(settings, weights)
        pooling = pooling_for(
            backbone, settings.model.pooling, settings.model.pool_power, settings.model.pool_power_trained
        )
    if pooling.channels_last or pooling.kind == "token":
        raise ValueError("model.backbone: expected one whose maps are (B, C, h, w), as a ResNet's")
    return TranslatedNetwork(
        Translator(options.width, options.blocks),
        PixelRange(normalization.mean, normalization.std),
        backbone,
        pooling,
        TwoBranchHead(backbone.num_features, identities, dropout=options.dropout),
        height=options.reid_height or settings.augment.height,
        width=options.reid_width or settings.augment.width,
        mirrored=options.mirrored,
    )


def check_sizes(settings: Settings) -> None:
    """Raises ValueError naming the key of images that translators or discriminators can't take."""
    seen, made, halvings = settings.augment, with_image_batch(settings).augment, settings.method.depth
    check_sides("augment.height, augment.width", seen.height, seen.width, multiple=STRIDE, smallest=2 * STRIDE)
    name = "method.image_batch.height, method.image_batch.width"
    check_sides(name, made.height, made.width, multiple=STRIDE, smallest=2 * STRIDE)
    if (made.height >> halvings) * (made.width >> halvings) < 2:  # places that the last instance norm sees
        raise ValueError(
            f"method.depth: expected fewer layers for images of {made.height} x {made.width}; found {halvings}"
        )
