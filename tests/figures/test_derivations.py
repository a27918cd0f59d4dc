import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dali_ops.derive import DERIVATIONS
from pipeline.figures.__main__ import main
from pipeline.figures.derivations import shown_views, two_people

PAGE = Path(__file__).parents[2] / "docs" / "derivations.md"


def test_the_page_in_docs_is_what_the_command_writes(people, tiny, tmp_path, capsys):
    arguments = ["configs/folder.yaml", *tiny, f"data.root={people}"]
    main(["derivations", *arguments, "--out", str(tmp_path)])
    written, kept = (folder.joinpath("derivations.md").read_text() for folder in (tmp_path, PAGE.parent))
    assert re.sub("`python .*`", "", written) == re.sub("`python .*`", "", kept)
    with Image.open(tmp_path / "derivations.png") as sheet, Image.open(PAGE.with_suffix(".png")) as kept_sheet:
        rows = len(shown_views("visible"))
        assert sheet.height == 22 + rows * (32 + 4)
        assert kept_sheet.height == 22 + rows * (112 + 4)
        assert len(np.unique(np.asarray(sheet))) > 100


def test_every_derivation_is_shown():
    shown = {
        stage.derivation.name
        for family in ("visible", "infrared")
        for it in shown_views(family).values()
        for stage in it.stages
    }
    assert shown == set(DERIVATIONS) - {"identity"}


def test_two_people_have_images_of_both_modalities():
    index = pd.DataFrame({"identity": [7, 8, 8, 9, 9, 5], "modality": [0, 0, 1, 1, 0, 1]})
    people = two_people(index)
    assert people.index.tolist() == [8, 9]
    assert people[0].tolist() == [1, 4] and people[1].tolist() == [2, 3]
    with pytest.raises(ValueError, match="expected 2 identities with images of both modalities; found 1"):
        two_people(index[:4])
