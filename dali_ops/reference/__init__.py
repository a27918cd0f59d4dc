"""The NumPy twin of every operation, in the order in which one would explain them. For tests only: it is slow.

decode -> resize -> derive (`reference.derive`) -> mix -> pad and crop -> flip -> erase -> normalize -> derive what is
normalized (`reference.normalized`). Images are uint8 HWC, with one or three channels until they are erased.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from dali_ops import parameters as layout
from dali_ops.decode import VISIBLE
from dali_ops.normalize import Normalization
from dali_ops.reference.derive import derive
from dali_ops.reference.mixing import MIX
from dali_ops.reference.normalized import DERIVE_NORMALIZED
from dali_ops.views import View


def decode(path: str | os.PathLike[str], base: str) -> np.ndarray:
    """Decodes by PIL: three channels for visible, one for infrared.

    DALI's JPEG decoding may differ by a level or two.
    """
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        return np.asarray(image.convert("RGB")) if base == VISIBLE else np.asarray(image.convert("L"))[:, :, None]


def resize(image: np.ndarray, height: int, width: int, interpolation: str = "bilinear") -> np.ndarray:
    """Resizes by PIL with antialiasing. DALI may differ by a level or two."""
    channels = [Image.fromarray(image[:, :, channel]) for channel in range(image.shape[2])]
    resized = [channel.resize((width, height), Image.Resampling[interpolation.upper()]) for channel in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=2)


def crop(image: np.ndarray, pad: int, top: int, left: int, fill: int = 0) -> np.ndarray:
    """Returns a window of the image's own size out of the image with `pad` pixels of a level on every side."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    return padded[top : top + height, left : left + width]


def flip(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def erase(image: np.ndarray, top: int, left: int, height: int, width: int, color: tuple[int, int, int]) -> np.ndarray:
    """Returns uint8 HW3 with the color in the box."""
    erased = image.copy()
    erased[top : top + height, left : left + width] = color
    return erased


def view(
    captured: np.ndarray, shown: View, numbers: np.ndarray, *, pad: int, pad_fill: int = 0, by: Normalization
) -> np.ndarray:
    """Returns one view (uint8 HW3) of one resized uint8 image; `numbers` are the parameters of the view."""
    image = captured
    for number, stage in enumerate(shown.stages):
        if stage.normalized:
            break
        if stage.probability == 1 or numbers[layout.applied(number)]:
            image = derive(image, stage.derivation.name, numbers[layout.derivation(number)])
    if shown.mixing:
        image = MIX[shown.mixing](three_channels(image), three_channels(captured), numbers[layout.MIXING].astype(int))
    image = crop(image, pad, int(numbers[layout.CROP_Y]), int(numbers[layout.CROP_X]), pad_fill)
    image = three_channels(flip(image) if numbers[layout.FLIP] else image)
    if shown.fill is None:
        return image
    top, left, height, width = map(int, numbers[layout.ERASING])
    return erase(image, top, left, height, width, by.color_of(shown.fill))


def three_channels(image: np.ndarray) -> np.ndarray:
    return np.broadcast_to(image, (*image.shape[:2], 3))


def normalize(image: np.ndarray, by: Normalization) -> np.ndarray:
    """Normalizes uint8 HW3 to float32 3HW."""
    return ((image / 255 - np.array(by.mean)) / np.array(by.std)).transpose(2, 0, 1).astype(np.float32)


def derive_normalized(image: np.ndarray, shown: View, numbers: np.ndarray) -> np.ndarray:
    """Applies a view's stages behind normalization to one image (float32 3HW)."""
    for number, stage in enumerate(shown.stages):
        if stage.normalized and numbers[layout.applied(number)]:
            image = DERIVE_NORMALIZED[stage.derivation.name](image, numbers[layout.derivation(number)])
    return image
