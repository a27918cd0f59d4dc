from __future__ import annotations

import numpy as np
import torch

from pipeline.models.generator import ModalityGenerator


def _per_pixel(images: np.ndarray, w1: np.ndarray, b1: float, w2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    result = np.empty_like(images)
    for image in range(images.shape[0]):
        for row in range(images.shape[2]):
            for column in range(images.shape[3]):
                gray = max(0.0, float(np.dot(w1, images[image, :, row, column])) + b1)
                result[image, :, row, column] = [w2[channel] * gray + b2[channel] for channel in range(3)]
    return result


def _images() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_start_is_that_of_the_paper() -> None:
    images = _images()
    third = np.full(3, 0.333)
    expected = _per_pixel(images.numpy(), third, 0.0, third, np.zeros(3))
    np.testing.assert_allclose(ModalityGenerator()(images).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (expected == 0).any() and (expected > 0).any()


def test_any_weights_equal_the_loop() -> None:
    torch.manual_seed(1)
    generator, images = ModalityGenerator(), _images()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter)
    w1, b1, w2, b2 = (parameter.detach().flatten().numpy() for parameter in generator.parameters())
    expected = _per_pixel(images.numpy(), w1, float(b1[0]), w2, b2)
    np.testing.assert_allclose(generator(images).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_images_and_autocast_do_not_round_the_result() -> None:
    generator, images = ModalityGenerator(), _images().half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = generator(images)
    assert result.dtype == torch.float32
    assert torch.equal(result, generator(images.float()))


def test_every_parameter_gets_a_gradient() -> None:
    generator = ModalityGenerator()
    generator(_images()).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in generator.parameters())
