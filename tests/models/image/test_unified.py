"""D2RL's translation, and the image that unifies both modalities."""

import pytest
import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.image.unified import CHANNELS, Translation, UnifiedNetwork
from tests.models.image.reference import exactly

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
ROWS = [(0, 0, 1, 1, 1), (1, 0), (0, 0), (1,)]  # values of `Modality`


class SeesAll(nn.Module):
    """Stands for the network of features: returns its input."""

    origin = "nothing"

    def forward(self, images, modality):
        return images


def network(unify):
    torch.manual_seed(0)
    return UnifiedNetwork(Translation(2, 1), SeesAll(), PixelRange(MEAN, STD), unify).double().eval()


def made(unified, image, own, other):
    """One image, normalized, as the other modality shows it: levels in 0 .. 1, (3, H, W)."""
    mean, std = (torch.tensor(values).double().view(3, 1, 1) for values in (MEAN, STD))
    code = unified.translation.encoders[own]((2 * (image * std + mean) - 1)[None])
    return (unified.translation.decoders[other](code)[0] + 1) / 2


def expected_row(unified, image, modality):
    mean, std = torch.tensor(MEAN).double(), torch.tensor(STD).double()
    real = torch.stack([image[channel] * std[channel] + mean[channel] for channel in range(3)])
    visible = real if modality == 0 else made(unified, image, "infrared", "visible")
    infrared = real if modality == 1 else made(unified, image, "visible", "infrared")
    gray = (infrared[0] + infrared[1] + infrared[2]) / 3
    of_visible = [(visible[channel] - mean[channel]) / std[channel] for channel in range(3)]
    if unified.unify == "visible":
        return torch.stack(of_visible)
    if unified.unify == "infrared":
        return torch.stack([(gray - mean[channel]) / std[channel] for channel in range(3)])
    return torch.stack([*of_visible, (gray - sum(MEAN) / 3) / (sum(STD) / 3)])


@pytest.mark.parametrize("unify", CHANNELS)
@pytest.mark.parametrize("modality", ROWS)
def test_a_unified_image_is_what_its_formula_says_row_by_row(unify, modality):
    unified, images = network(unify), torch.randn(len(modality), 3, 16, 8, dtype=torch.float64)
    found = unified(images, modality)
    assert found.shape[1] == CHANNELS[unify]
    expected = [expected_row(unified, image, value) for image, value in zip(images, modality, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-6, atol=1e-6)  # mean, std: rounded to float32
    exactly(unified(images, torch.tensor(modality)), found)


def test_real_pixels_stay_what_they_are():
    unified, images = network("multispectral"), torch.randn(2, 3, 16, 8, dtype=torch.float64)
    exactly(unified(images, (0, 0))[:, :3], images)
    gray = images[:, :1] * 0 + 0.7
    infrared = torch.cat([(gray - mean) / std for mean, std in zip(MEAN, STD, strict=True)], dim=1)
    torch.testing.assert_close(unified(infrared, (1, 1))[:, 3:], (gray - 0.4) / 0.25, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(network("infrared")(infrared, (1, 1)), infrared, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("unify", "used"), [("visible", {"infrared"}), ("infrared", {"visible"})])
def test_one_modality_encodes_the_rows_of_the_other_only(unify, used):
    unified, called = network(unify), set()
    for name, encoder in unified.translation.encoders.items():
        encoder.register_forward_hook(lambda *_, name=name: called.add(name))
    unified(torch.randn(2, 3, 16, 8), (0, 1))
    assert called == used


def test_a_cycle_is_two_translations_of_drawn_codes():
    translation, images = Translation(2, 1).double(), torch.rand(3, 3, 16, 8, dtype=torch.float64)
    torch.manual_seed(1)
    found = translation.cycle(images, INFRARED)
    torch.manual_seed(1)
    first, second = (torch.randn(3, 8, 4, 2, dtype=torch.float64) for _ in range(2))
    code = translation.encoders["infrared"](images)
    translated = translation.decoders["visible"](code + first)
    again = translation.encoders["visible"](translated)
    for one, expected in zip(
        found,
        (code, translation.decoders["infrared"](code + first), translated, again)
        + (translation.decoders["infrared"](again + second),),
        strict=True,
    ):
        exactly(one, expected)


def test_evaluation_draws_nothing_and_training_does():
    translation, images = Translation(2, 1), torch.rand(2, 3, 16, 8)
    state = torch.get_rng_state()
    first, second = (translation.eval()(images, VISIBLE) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    first, second = (translation.train()(images, VISIBLE) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_modality_that_was_not_captured_is_not_translated():
    with pytest.raises(ValueError, match="modality: expected visible or infrared; found visible_derived"):
        Translation(2, 1)(torch.rand(1, 3, 16, 8), Modality.VISIBLE_DERIVED)


def test_it_says_what_its_backbone_started_from():
    assert network("visible").origin == "nothing"
