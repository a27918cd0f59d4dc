from __future__ import annotations

import numpy as np
import torch

from pipeline.models.generator import MiddleGenerators, ModalityGenerator, generators_of


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


# ---- middle modalities

SOURCES = ["visible", "infrared"]


def _middle() -> MiddleGenerators:
    torch.manual_seed(2)
    generators = MiddleGenerators(SOURCES)
    for parameter in generators.parameters():
        torch.nn.init.uniform_(parameter, -0.1, 1)
    torch.nn.init.constant_(generators.decoder.bias, -0.3)
    return generators


def test_middle_images_equal_loops_over_pixels_and_statistics_of_their_own_modality() -> None:
    generators, images = _middle(), torch.cat([_images(), _images() * 2])
    found = generators(images, [("visible", 2), ("infrared", 2)])
    for source, rows in (("visible", slice(0, 2)), ("infrared", slice(2, 4))):
        first, _, second, _, norm = generators.encoders[source]
        w1, b1, w2, b2 = (
            parameter.detach().flatten().tolist() for layer in (first, second) for parameter in layer.parameters()
        )
        pixels = images[rows].permute(0, 2, 3, 1).reshape(-1, 3).tolist()
        gray = [max(0.0, sum(w * x for w, x in zip(w1, pixel, strict=True)) + b1[0]) for pixel in pixels]
        encoded = np.array([max(0.0, w2[0] * value + b2[0]) for value in gray])
        encoded = (encoded - encoded.mean()) / np.sqrt(encoded.var() + 1e-5) * norm.weight.item() + norm.bias.item()
        to_color, bias = (parameter.detach().flatten().numpy() for parameter in generators.decoder.parameters())
        expected = np.maximum(0, encoded[:, None] * to_color + bias)
        made = found[rows].detach().permute(0, 2, 3, 1).reshape(-1, 3).numpy()
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
        assert (made == 0).any() and (made > 0).any()


def test_rows_that_are_not_derived_stay_and_one_decoder_serves_both_sources() -> None:
    generators, images = _middle(), torch.randn(4, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    runs = [("visible", 1), ("as_it_is", 2), ("infrared", 1)]
    before = generators(images, runs)
    assert torch.equal(before[1:3], images[1:3])
    with torch.no_grad():
        generators.decoder.bias.add_(1.0)
    changed = (generators(images, runs) != before).flatten(1).any(dim=1)
    assert changed.tolist() == [True, False, False, True]
    names = list(generators.state_dict())
    assert len([name for name in names if "decoder" in name]) == 2


def test_middle_images_start_alike_are_exact_under_autocast_and_train_every_parameter() -> None:
    generators, images = MiddleGenerators(SOURCES), _images()
    both = torch.cat([images, images])
    runs = [("visible", 2), ("infrared", 2)]
    exact = generators(both, runs)
    assert torch.equal(exact[:2], exact[2:]) and torch.equal(exact[:, 0], exact[:, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(generators(both, runs), exact)
    generators = _middle()
    generators(both, runs).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in generators.parameters())


def test_in_evaluation_an_image_is_derived_the_same_beside_any_other() -> None:
    generators, images = _middle(), _images()
    generators(images, [("visible", 2)])
    generators.eval()
    both = generators(images, [("visible", 2)])
    torch.testing.assert_close(both[:1], generators(images[:1], [("visible", 1)]))


def test_without_a_source_there_is_nothing_to_learn() -> None:
    assert not list(generators_of("middle", []).parameters())
    assert isinstance(generators_of("middle", SOURCES), MiddleGenerators)
    assert isinstance(generators_of("x_modality", SOURCES)["infrared"], ModalityGenerator)
