import numpy as np
import pytest
import torch
from PIL import Image

from dali_ops.normalize import Normalization
from dali_ops.reference import normalize
from pipeline.figures.__main__ import main
from pipeline.figures.batch import LABEL_WIDTH, TITLE_HEIGHT, to_image


def test_an_image_is_the_one_that_was_normalized():
    image = np.random.default_rng(0).integers(0, 256, (9, 5, 3), np.uint8)
    by = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    np.testing.assert_array_equal(np.asarray(to_image(torch.from_numpy(normalize(image, by)), by)), image)


def test_a_sheet_has_a_row_for_each_modality_and_the_columns_asked_for(people, tiny, tmp_path, capsys):
    out = tmp_path / "new" / "batch.png"
    arguments = ["configs/folder.yaml", *tiny, f"data.root={people}", "batch.modalities=[visible,infrared]"]
    main(["batch", *arguments, "--out", str(out), "--columns", "3"])
    with Image.open(out) as sheet:
        assert sheet.size == (LABEL_WIDTH + 3 * (16 + 4), TITLE_HEIGHT + 2 * (32 + 4))
        pixels = np.asarray(sheet)[TITLE_HEIGHT:, LABEL_WIDTH:]
    assert len(np.unique(pixels)) > 50
    with pytest.raises(SystemExit):
        main(["batch", *arguments, "--columns", "0"])
    assert "--columns: expected at least 1; found 0" in capsys.readouterr().err
