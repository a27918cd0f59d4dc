"""The view classifier."""

import pytest
import torch

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.losses.identity import identity_loss
from pipeline.losses.term import Rows
from tests.losses.features import ROWS, objective, random_rows


def with_cameras(cameras):
    rows = random_rows()
    return Rows(rows.parts | {"camera": cameras}, rows.labels, rows.modality)


def test_cameras_are_told_in_each_modality():
    cameras = torch.randint(0, 40, (ROWS,), generator=torch.Generator().manual_seed(0))
    rows, made = with_cameras(cameras), objective({"views": {"views": 8}})
    classifiers = made.terms["views"].classifiers
    for classifier in classifiers.children():
        torch.nn.init.normal_(classifier.weight)
    expected = sum(
        identity_loss(classifiers[modality.base.key](rows.of(modality).pooled), rows.of(modality).camera % 8)
        for modality in Modality
    )
    torch.testing.assert_close(made({"global": rows})["views"], expected.detach())


def test_gradients_of_every_classifier():
    made = objective({"views": {}})
    made({"global": with_cameras(torch.zeros(ROWS, dtype=torch.int64))})["loss"].backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_one_view_is_refused():
    with pytest.raises(ValueError, match=r"losses\.views\.views: expected at least 2; found 1"):
        load_config(["losses.views.views=1"])
