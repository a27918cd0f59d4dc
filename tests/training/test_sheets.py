"""Sheets of images: when they are due, how they are drawn, and that one that fails ends no training."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from dali_ops.normalize import IMAGENET
from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.loading.sampling import TrainingTable
from pipeline.training.sheets import LABEL, MARGIN, Sheets, draw


def sheets_of(*overrides, identities=3):
    index = pd.DataFrame({"path": ["nowhere.png"] * 2 * identities, "modality": [0, 1] * identities})
    rows = {base: [np.array([2 * label + int(base)]) for label in range(identities)] for base in list(Modality)[:2]}
    table = TrainingTable(np.arange(identities), rows)
    return Sheets(load_config([*overrides]), index, table, torch.device("cpu"))


def test_there_are_twenty_unless_a_run_says_otherwise_and_one_at_the_end():
    due = [step for step in range(1, 1001) if sheets_of().due(step, 1000)]
    assert due == [*range(50, 1001, 50)]
    assert [step for step in range(1, 8) if sheets_of().due(step, 7)] == [1, 2, 3, 4, 5, 6, 7]
    assert sum(sheets_of().due(step, 39) for step in range(1, 40)) == 20
    sparse = sheets_of("train.image_steps=300")
    assert [step for step in range(1, 1001) if sparse.due(step, 1000)] == [300, 600, 900, 1000]


def test_eight_people_are_shown_or_all_there_are_each_in_both_modalities():
    few, many = sheets_of(), sheets_of(identities=100)
    assert [rows.tolist() for rows in few.rows[Modality.VISIBLE]] == [[0], [2], [4]]
    visible, infrared = (np.concatenate(many.rows[base]) for base in (Modality.VISIBLE, Modality.INFRARED))
    assert len(visible) == 8 and (infrared - visible == 1).all()


def test_rows_are_drawn_below_each_other_in_their_colors():
    levels = torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    red = ((levels - mean) / std).expand(2, 3, 8, 4)
    black = ((0 * levels - mean) / std).expand(2, 3, 8, 4)
    sheet = draw({"visible": red, "to infrared": black}, IMAGENET)
    assert sheet.size == (LABEL + 2 * (4 + MARGIN) + MARGIN, 2 * (8 + MARGIN) + MARGIN)
    assert sheet.getpixel((LABEL + MARGIN, MARGIN)) == (255, 128, 0)
    assert sheet.getpixel((LABEL + MARGIN, 8 + 2 * MARGIN)) == (0, 0, 0)
    assert sheet.getpixel((LABEL, 0)) == (255, 255, 255)


def test_a_sheet_that_cannot_be_made_is_a_warning_and_the_last(tmp_path, caplog, monkeypatch):
    sheets = sheets_of()
    training = SimpleNamespace(folder=tmp_path, step=50)

    def fails(training):
        raise ValueError("nowhere.png: cannot be read as an image")

    monkeypatch.setattr(sheets, "made", fails)
    sheets.write(training)
    assert "could not be made, nor will the others: nowhere.png: cannot be read as an image" in caplog.text
    assert not sheets.due(100, 1000) and not (tmp_path / "images").exists()
