"""Derivations of normalized images: matrices of channels, beside their NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dali_ops import parameters as layout
from dali_ops import reference
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage, channel_matrices, matrices_for_testing
from dali_ops.normalize import mix_channels
from dali_ops.views import View

LINEAR = [name for name, derivation in DERIVATIONS.items() if derivation.matrices]
COUNT = 12


def behind(*names: str, probability: float = 1.0) -> tuple[Stage, ...]:
    return tuple(Stage(DERIVATIONS[name], probability, normalized=True) for name in names)


def sampled(stages: tuple[Stage, ...], seed: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    numbers = np.zeros((COUNT, layout.width(len(stages))), np.float32)
    for place, stage in enumerate(stages):
        numbers[:, layout.applied(place)] = generator.random(COUNT) < stage.probability
        numbers[:, layout.derivation(place)] = stage.derivation.sample(generator, COUNT)
    return numbers


def normalized_images(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    images = torch.randn(COUNT, 3, 7, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    return images.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "stages",
    [
        *[behind(name) for name in LINEAR],
        behind("random_channel", "gray", probability=0.5),
        (Stage(DERIVATIONS["gamma"]), *behind("channel_gains", "channel_shuffle", "weighted_gray", probability=0.7)),
    ],
    ids=lambda stages: "-".join(stage.derivation.name for stage in stages),
)
def test_channels_are_mixed_as_the_twin_mixes_them(stages, dtype):
    numbers, images = sampled(stages), normalized_images(dtype)
    twins = [
        reference.derive_normalized(image, View("visible", stages), own)
        for image, own in zip(images.float().numpy(), numbers, strict=True)
    ]
    matrices = channel_matrices(stages, numbers)
    assert matrices is not None and matrices.shape == (COUNT, 3, 3) and matrices.dtype == np.float32
    mix_channels(images, matrices)
    assert images.dtype == dtype and images.is_contiguous(memory_format=torch.channels_last)
    tolerance = 1e-6 if dtype == torch.float32 else 4e-3
    np.testing.assert_allclose(images.float(), np.stack(twins), rtol=tolerance, atol=tolerance)


def test_the_way_of_the_gpu_equals_that_of_the_cpu(monkeypatch):
    stages = behind("random_channel", "gray", "channel_gains", probability=0.6)
    matrices = channel_matrices(stages, sampled(stages))
    one, other = normalized_images(), normalized_images()
    mix_channels(one, matrices)
    columns = torch.from_numpy(matrices)
    torch.testing.assert_close(one, torch.einsum("noc,nchw->nohw", columns, other), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(torch.Tensor, "device", property(lambda tensor: torch.device("meta")))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *where, **how: tensor)
    mix_channels(other, matrices)
    monkeypatch.undo()
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_without_such_stages_there_is_nothing_to_mix():
    stages = (Stage(DERIVATIONS["gray"], 0.5),)
    assert channel_matrices(stages, sampled(stages)) is None and matrices_for_testing(stages) is None


def test_adaptive_gray_of_caj_is_made_of_two_stages():
    """Ye et al., ICCV 2021: a channel is copied in three of four cases; of the rest half are gray, half as they are."""
    stages = (*behind("random_channel", probability=0.75), *behind("gray", probability=0.5))
    made = np.concatenate([channel_matrices(stages, sampled(stages, seed)) for seed in range(400)])
    gray = np.broadcast_to([0.2989, 0.5870, 0.1140], (3, 3))
    outcomes = {"unchanged": np.eye(3), "gray": gray}
    outcomes |= {f"channel {number}": np.repeat(np.eye(3)[number : number + 1], 3, axis=0) for number in range(3)}
    shares = {name: (np.abs(made - of).max(axis=(1, 2)) < 2e-4).mean() for name, of in outcomes.items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["unchanged"] == pytest.approx(1 / 8, abs=0.02) and shares["gray"] == pytest.approx(1 / 8, abs=0.02)
    assert all(shares[f"channel {number}"] == pytest.approx(1 / 4, abs=0.03) for number in range(3))


def test_tests_take_the_stages_that_most_images_go_through_with_fixed_numbers():
    stages = (*behind("random_channel"), *behind("channel_gains", probability=0.4))
    np.testing.assert_array_equal(matrices_for_testing(stages), [np.repeat([[0, 1, 0]], 3, axis=0)])
