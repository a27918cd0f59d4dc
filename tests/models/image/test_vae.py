import pytest
import torch

from pipeline.models.image.vae import Decoder, Encoder, sampled
from tests.models.image.images import images
from tests.models.image.reference import exactly, instance, layer_norm, reflected


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
    assert (sampled(means, 0.5) - means).std().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(sampled(means, 0.0), means)
    assert torch.equal(means.grad, torch.ones_like(means))


def test_the_encoder_equals_its_formula():
    network, batch = Encoder(2, 2, 1).double(), images(16, 8).double()
    parameters = iter(network.parameters())
    found = batch
    for stride in (1, 2, 2):
        found = instance(reflected(found, next(parameters), next(parameters), stride)).relu()
    hidden = instance(reflected(found, next(parameters), next(parameters))).relu()
    exactly(network(batch), found + instance(reflected(hidden, next(parameters), next(parameters))))


def test_the_decoder_equals_its_formula():
    network, codes = Decoder(2, 1, 1).double(), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    parameters = list(network.parameters())
    hidden = instance(reflected(codes, *parameters[:2])).relu()
    found = codes + instance(reflected(hidden, *parameters[2:4]))
    twice = found.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    found = layer_norm(reflected(twice, *parameters[4:6]), *parameters[6:8]).relu()
    exactly(network(codes), reflected(found, *parameters[8:]).tanh())
