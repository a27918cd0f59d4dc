"""In a test, the mean over the stems of a captured modality and of what is derived from it."""

from __future__ import annotations

from copy import deepcopy

import pandas as pd
import pytest
import torch

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.evaluation.evaluator import row_context
from pipeline.evaluation.model_info import ModelInfo
from pipeline.methods.network import build_network
from tests.models.networks import make_network

V, IR, DV, DI = Modality
IMAGES = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def network(modalities=tuple(Modality), mean_stems=True):
    """A network whose stems differ."""
    made = make_network(modalities=modalities, stems="modality", mean_stems=mean_stems)
    with torch.no_grad():
        for number, stem in enumerate(made.stems.values()):
            stem.bn1.bias.fill_(0.1 * number)
    return made


def expected_map(made, image, stems):
    """By a loop over the stems."""
    maps = [made.stems[stem](image[None]) for stem in stems]
    return made.backbone.forward_features(sum(maps) / len(maps))


@pytest.mark.parametrize("modality", Modality)
def test_in_a_test_an_image_goes_through_all_stems_of_its_captured_modality(modality):
    made = network().eval()
    stems = [modality.base.key, f"{modality.base.key}_derived"]
    expected = made.pooling(expected_map(made, IMAGES[0], stems))
    torch.testing.assert_close(made(IMAGES[:1], [modality]).pooled, expected)


def test_rows_of_several_modalities_keep_their_order():
    made = network().eval()
    together = made(IMAGES, [IR, V, DI, V]).pooled
    alone = torch.cat([made(IMAGES[i : i + 1], [kind]).pooled for i, kind in enumerate((IR, V, IR, V))])
    torch.testing.assert_close(together, alone)


def test_a_modality_with_one_stem_goes_through_it():
    made = network((V, IR, DV)).eval()
    own = network((V, IR, DV), mean_stems=False).eval()
    infrared, visible = made(IMAGES, [IR, IR, V, V]).pooled.split(2)
    own_infrared, own_visible = own(IMAGES, [IR, IR, V, V]).pooled.split(2)
    assert torch.equal(infrared, own_infrared) and not torch.allclose(visible, own_visible)


def test_a_training_and_a_copy_of_the_network():
    made, own = network().train(), network(mean_stems=False).train()
    assert torch.equal(made(IMAGES, [V, IR, DV, DI]).pooled, own(IMAGES, [V, IR, DV, DI]).pooled)
    assert made.state_dict().keys() == own.state_dict().keys()
    copied, before = deepcopy(made).eval(), made.eval()(IMAGES[:1], [V]).pooled
    with torch.no_grad():
        copied.stems["visible_derived"].bn1.bias.add_(1)
    assert torch.equal(made(IMAGES[:1], [V]).pooled, before)
    assert not torch.allclose(copied(IMAGES[:1], [V]).pooled, before)


FOUR = ["evaluation.stems=mean", "model.stems=modality"]


def test_the_configuration_decides_and_rows_of_results_say_so(tiny):
    index = pd.DataFrame({name: pd.Series(dtype="str") for name in ("path", "split", "identity", "camera", "modality")})
    for stems in ("own", "mean"):
        settings = load_config([*tiny, *FOUR, f"evaluation.stems={stems}"])
        assert bool(build_network(settings, identities=3).averaged) == (stems == "mean")
        assert row_context(settings, ModelInfo("x"), index, "fp32")["stems"] == stems
    pixels = load_config([*tiny, *FOUR, "evaluation.extractor=pixels"])
    assert row_context(pixels, ModelInfo("x"), index, "fp32")["stems"] == "own"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["model.stems=source"], "found one only: model.stems=source, batch.modalities=visible, infrared, visible_d"),
        (["model.stems=shared"], "found one only: model.stems=shared"),
        (
            ["batch.modalities=[visible,infrared]"],
            "found one only: model.stems=modality, batch.modalities=visible, inf",
        ),
        (["derive.infrared=learned"], "mean is over stems that see images as they are; found derive.infrared=learned"),
    ],
)
def test_a_mean_that_says_nothing_is_refused(tiny, more, message):
    with pytest.raises(
        ValueError, match=rf"^evaluation\.stems: mean is over .*{message.removeprefix('mean is over ')}"
    ):
        build_network(load_config([*tiny, *FOUR, *more]), identities=3)
