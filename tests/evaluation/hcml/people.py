"""Features of people in two modalities, the second one turned and shifted."""

import torch

from pipeline.evaluation.hcml.objective import Classes


def people(identities=10, images=4, width=12, seed=0, noise=0.5):
    """Returns visible and infrared features (n, width) float64 and the labels of both (n,), in a mixed order."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    labels = torch.arange(identities * images)[torch.randperm(identities * images, generator=generator)] % identities
    centers, turn = normal(identities, width), torch.linalg.qr(torch.eye(width) + 0.15 * normal(width, width))[0]
    visible, infrared = (centers[labels] + noise * normal(len(labels), width) for _ in range(2))
    return visible, infrared @ turn + normal(width), labels


def classes_of(visible, infrared, labels):
    count = int(labels.max()) + 1
    return tuple(Classes.of(features, labels, count) for features in (visible, infrared))
