"""Rows of two modalities that share some of their identities, with unequal numbers of images."""

import math

import torch

LABELS_1 = torch.tensor([0, 0, 0, 1, 1, 2, 4])  # the second modality has no 4
LABELS_2 = torch.tensor([1, 0, 2, 1, 1, 3, 2])  # the first has no 3


def rows(dtype=torch.float64, seed=0, width=5):
    """Features and labels of one modality, then of the other, as the losses between two take them."""
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(len(labels), width, dtype=dtype, generator=generator) for labels in (LABELS_1, LABELS_2))
    return one, LABELS_1, other, LABELS_2


def as_lists(*tensors):
    return [tensor.tolist() for tensor in tensors]


def center(features, labels, label):
    """The mean of the rows of a label; None where there are none. Lists of numbers."""
    chosen = [row for row, found in zip(features, labels, strict=True) if found == label]
    return [sum(values) / len(chosen) for values in zip(*chosen, strict=True)] if chosen else None


def centers(features, labels):
    """Label -> center."""
    return {label: center(features, labels, label) for label in sorted(set(labels))}


def unit(row):
    length = math.hypot(*row)
    return [value / length for value in row]


def mean(values):
    """The mean, 0 of none."""
    return sum(values) / len(values) if values else 0.0
