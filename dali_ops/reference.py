"""The NumPy twin of every operation, in the order in which one would explain them. For tests only: it is slow.

decode -> resize -> derive -> pad and crop -> flip -> erase -> normalise. Images are uint8 HWC, with one or three
channels until they are erased.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from dali_ops import parameters as layout
from dali_ops.decode import VISIBLE
from dali_ops.derive import GAMMA_CURVES, GAMMA_LIMITS
from dali_ops.erasing import ERASED
from dali_ops.normalize import MEAN, STD


def decode(path: str | os.PathLike[str], family: str) -> np.ndarray:
    """Three channels for visible, one for infrared, by PIL. DALI's JPEG decoding may differ by a level or two."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        return np.asarray(image.convert("RGB")) if family == VISIBLE else np.asarray(image.convert("L"))[:, :, None]


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with antialiasing, by PIL. DALI may differ by a level."""
    channels = [Image.fromarray(image[:, :, channel]) for channel in range(image.shape[2])]
    resized = [channel.resize((width, height), Image.Resampling.BILINEAR) for channel in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=2)


def derive(image: np.ndarray, name: str, numbers: np.ndarray) -> np.ndarray:
    """The derivation `name` of one resized image; `numbers` are its three parameters."""
    return DERIVE[name](image, np.asarray(numbers, np.float64))


def to_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def identity(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return image


def weighted_grey(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels((image * numbers).sum(axis=2, keepdims=True))


def grey(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """In fixed point of 15 bits, as DALI on the CPU. In floats, as on the GPU, one pixel in 750 is a level off."""
    weights = np.array([9798, 19235, 3735])  # 0.299, 0.587, 0.114, together 2 ** 15
    return ((image * weights).sum(axis=2, keepdims=True) + 2**14 >> 15).astype(np.uint8)


def random_channel(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    channel = int(numbers[0])
    return image[:, :, channel : channel + 1]


def gamma(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    lowest, highest = np.log(GAMMA_LIMITS)
    exponent = np.exp(lowest + (highest - lowest) * numbers[0] / (GAMMA_CURVES - 1))
    return to_levels(255 * (image / 255) ** exponent)


def gamma_grey(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return gamma(grey(image, numbers), numbers)


def equalize(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """As OpenCV: the darkest level there is becomes 0, the brightest 255; a picture of one level stays as it is."""
    counts = np.bincount(image.ravel(), minlength=256)
    darkest = int(np.flatnonzero(counts)[0])
    others = image.size - counts[darkest]
    if others == 0:
        return image
    below = np.cumsum(counts) - counts[darkest]
    return to_levels(255 * below / others)[image]


def inversion(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return 255 - image


def spectrum(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels(image * numbers)


DERIVE = {
    "identity": identity,
    "grey": grey,
    "random_channel": random_channel,
    "weighted_grey": weighted_grey,
    "gamma_grey": gamma_grey,
    "equalize": equalize,
    "gamma": gamma,
    "inversion": inversion,
    "spectrum": spectrum,
}


def crop(image: np.ndarray, pad: int, top: int, left: int) -> np.ndarray:
    """A window of the image's own size out of the image with `pad` black pixels on every side."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    return padded[top : top + height, left : left + width]


def flip(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def erase(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """uint8 HW3 with the mean colour in the box."""
    erased = image.copy()
    erased[top : top + height, left : left + width] = ERASED
    return erased


def view(image: np.ndarray, derivation: str | None, numbers: np.ndarray, *, pad: int, erasing: bool) -> np.ndarray:
    """One view (uint8 HW3) of one resized uint8 image; `numbers` are the WIDTH parameters of the view."""
    image = derive(image, derivation or "identity", numbers[layout.DERIVATION])
    image = crop(image, pad, int(numbers[layout.CROP_Y]), int(numbers[layout.CROP_X]))
    image = flip(image) if numbers[layout.FLIP] else image
    three = np.broadcast_to(image, (*image.shape[:2], 3))
    return erase(three, *numbers[layout.ERASING].astype(int)) if erasing else three


def normalize(image: np.ndarray) -> np.ndarray:
    """uint8 HW3 -> float32 3HW."""
    return ((image / 255 - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1).astype(np.float32)
