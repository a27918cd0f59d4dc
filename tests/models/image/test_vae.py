import pytest
import torch

from pipeline.models.image.vae import Decoder, Encoder, sampled
from tests.models.image.images import images


def test_an_autoencoder_gives_images_of_the_size_of_its_own():
    encoder, decoder = Encoder(4, 2, 1), Decoder(4, 2, 1)
    codes = encoder(images())
    assert codes.shape == (2, 16, 16, 8)
    made = decoder(codes)
    assert made.shape == (2, 3, 64, 32)
    assert made.abs().max() <= 1


def test_sampled_codes_are_normal_around_their_means():
    means = torch.full((50_000,), 3.0, requires_grad=True)
    codes = sampled(means)
    assert codes.mean().item() == pytest.approx(3, abs=0.02)
    assert codes.std().item() == pytest.approx(1, abs=0.02)
    codes.sum().backward()
    assert torch.equal(means.grad, torch.ones_like(means))
