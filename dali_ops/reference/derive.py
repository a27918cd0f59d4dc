"""The NumPy twin of every derivation: (uint8 HWC image, three numbers) -> uint8 HWC image."""

from __future__ import annotations

import numpy as np

from dali_ops.derive.color_jitter import TO_YIQ
from dali_ops.derive.levels import CLIP_LIMIT, GAMMA_CURVES, GAMMA_LIMITS, PALETTES, TILES_ACROSS, TILES_DOWN


def derive(image: np.ndarray, name: str, numbers: np.ndarray) -> np.ndarray:
    """Returns the derivation `name` of one image; `numbers` are its three parameters."""
    return DERIVE[name](image, np.asarray(numbers, np.float64))


def to_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def identity(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return image


def weighted_gray(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels((image * numbers).sum(axis=2, keepdims=True))


def gray(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Computes in fixed point of 15 bits, as DALI on the CPU.

    In floats, as on the GPU, one pixel in 750 is a level off.
    """
    weights = np.array([9798, 19235, 3735])  # 0.299, 0.587, 0.114, together 2 ** 15
    return ((image * weights).sum(axis=2, keepdims=True) + 2**14 >> 15).astype(np.uint8)


def random_channel(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    channel = int(numbers[0])
    return image[:, :, channel : channel + 1]


def green(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return image[:, :, 1:2]


def channel_gains(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels(image * numbers)


def brightness(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels(image * numbers[0])


def contrast(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels(128 + numbers[0] * (image - 128.0))


def saturation(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    lightness = (image * np.array([0.299, 0.587, 0.114])).sum(axis=2, keepdims=True)
    return to_levels(lightness + numbers[0] * (image - lightness))


def hue(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Turns the two color components of YIQ by the angle whose cosine and sine are the numbers."""
    yiq = image @ TO_YIQ.T
    in_phase, quadrature = yiq[..., 1], yiq[..., 2]
    cosine, sine = numbers[:2]
    turned = [yiq[..., 0], cosine * in_phase - sine * quadrature, sine * in_phase + cosine * quadrature]
    return to_levels(np.linalg.solve(TO_YIQ, np.stack(turned, axis=2)[..., None])[..., 0])


def channel_shuffle(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return image[:, :, numbers.astype(int)]


def gamma(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    lowest, highest = np.log(GAMMA_LIMITS)
    exponent = np.exp(lowest + (highest - lowest) * numbers[0] / (GAMMA_CURVES - 1))
    return to_levels(255 * (image / 255) ** exponent)


def gamma_gray(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return gamma(gray(image, numbers), numbers)


def equalize(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Equalizes each channel as OpenCV: its darkest level becomes 0, its brightest 255; one of one level stays as it
    is."""
    return np.stack([equalize_channel(image[:, :, channel]) for channel in range(image.shape[2])], axis=2)


def equalize_channel(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), minlength=256)
    darkest = int(np.flatnonzero(counts)[0])
    others = channel.size - counts[darkest]
    if others == 0:
        return channel
    below = np.cumsum(counts) - counts[darkest]
    return to_levels(255 * below / others)[channel]


def clahe(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Equalizes as OpenCV: with a table for each tile; tiles divide the image. A pixel goes through the tables of the
    four nearest tiles, weighted by how near their centers are."""
    height, width, _ = image.shape
    down, across = height // TILES_DOWN, width // TILES_ACROSS
    tiles = image.reshape(TILES_DOWN, down, TILES_ACROSS, across).swapaxes(1, 2).reshape(-1, down * across)
    tables = np.stack([clipped_table(tile) for tile in tiles]).reshape(TILES_DOWN, TILES_ACROSS, 256)
    mapped = np.zeros((height, width))
    for near_y, weight_y in neighbours(height, down, TILES_DOWN):
        for near_x, weight_x in neighbours(width, across, TILES_ACROSS):
            mapped += weight_y[:, None] * weight_x * tables[near_y[:, None], near_x, image[:, :, 0]]
    return to_levels(mapped)[:, :, None]


def clipped_table(tile: np.ndarray) -> np.ndarray:
    """Returns (256,) uint8: equalisation, with what exceeds the limit of a level spread over all."""
    limit = max(int(CLIP_LIMIT * tile.size / 256), 1)
    counts = np.bincount(tile, minlength=256)
    excess = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit) + excess // 256
    rest = excess % 256
    if rest:
        counts[:: max(256 // rest, 1)][:rest] += 1
    return to_levels(np.cumsum(counts) * 255 / tile.size)


def neighbours(length: int, tile: int, tiles: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns for each pixel of a line the tile whose center is before it, and the one behind, with their weights."""
    position = np.arange(length) / tile - 0.5
    before = np.floor(position).astype(int)
    behind = position - before
    return [(np.clip(before, 0, tiles - 1), 1 - behind), (np.clip(before + 1, 0, tiles - 1), behind)]


def inversion(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return 255 - image


def sharpness(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Compares with the image smoothed by 1 4 6 4 1 in both directions; beyond its edges it is mirrored."""
    smoothed = image.astype(np.float64)
    for axis in (0, 1):
        edges = [(2, 2) if other == axis else (0, 0) for other in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(smoothed, edges, mode="reflect"), 5, axis=axis)
        smoothed = windows @ (np.array([1, 4, 6, 4, 1]) / 16)
    return to_levels(image + numbers[0] * (image - smoothed))


def spectrum(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return to_levels(image * numbers)


def pseudo_color(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    palette = np.array(PALETTES[int(numbers[0])])
    anchors = np.linspace(0, 255, len(palette))
    return to_levels(np.concatenate([np.interp(image, anchors, palette[:, channel]) for channel in range(3)], axis=2))


DERIVE = {
    twin.__name__: twin
    for twin in (
        identity,
        gray,
        green,
        channel_gains,
        brightness,
        contrast,
        saturation,
        hue,
        random_channel,
        weighted_gray,
        gamma_gray,
        channel_shuffle,
        equalize,
        clahe,
        gamma,
        inversion,
        sharpness,
        spectrum,
        pseudo_color,
    )
}
