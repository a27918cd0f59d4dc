"""Sizes of images that a network can take, checked where they come in."""

from __future__ import annotations

import torch


def check_multiple(images: torch.Tensor, multiple: int) -> None:
    """Raises ValueError unless H and W of images (B, C, H, W) are multiples of `multiple`, by which a network shrinks
    them, and at least twice as large: a single place can neither be mirrored nor be normalized by its own statistics.
    """
    check_sides("images", *images.shape[2:], multiple=multiple, smallest=2 * multiple)


def check_sides(name: str, height: int, width: int, *, multiple: int, smallest: int) -> None:
    """Raises ValueError, which begins with `name`, unless both are multiples of `multiple`, and at least `smallest`."""
    if height % multiple or width % multiple or min(height, width) < smallest:
        raise ValueError(
            f"{name}: expected sides that are multiples of {multiple}, from {smallest} up; found {height} x {width}"
        )


def check_halvings(images: torch.Tensor, halvings: int, places: int = 1) -> None:
    """Raises ValueError for images (B, C, H, W) of which as many layers of stride 2 leave no map, or one of fewer than
    `places`."""
    height, width = images.shape[2:]
    smallest = 2**halvings
    if (height // smallest) * (width // smallest) < places:
        expected = f"{places * smallest} x {smallest}"
        raise ValueError(
            f"images: expected at least {expected} pixels for {halvings} halvings; found {height} x {width}"
        )
