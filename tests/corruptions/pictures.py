"""A small picture of a person, made of whole numbers only, so that other code can make the same."""

import numpy as np


def picture(height: int = 48, width: int = 24) -> np.ndarray:
    """Returns (height, width, 3) uint8: a dark coat and skin before a wall that gets brighter to the right."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 3 * x, 110 + 2 * x, 120 + x + y], axis=2)
    head = (y * 10 < height * 3) & (y * 10 > height) & (abs(2 * x - width) * 3 < width)
    coat = (y * 10 >= height * 3) & (y * 10 < height * 9) & (abs(2 * x - width) * 2 < width)
    image[head] = (210, 160, 130)
    image[coat] = (40, 30, 60)
    image[coat & (y % 6 < 2)] = (150, 40, 40)
    return image.astype(np.uint8)
