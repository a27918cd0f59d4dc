"""Who gets ticks: parts of the paper's method, and nothing that is another."""

import pytest

from pipeline.config import load_config
from pipeline.literature import read_literature
from pipeline.methods.method import method_of
from pipeline.methods.table_4 import COLUMNS, ticks

ROWS = {
    "B1": "b1",
    "B2": "b2",
    "B2+MML+MDL1": "mdl1",
    "B2+MML+MDL2": "mdl2",
    "B2+MML+MDL3": "mdl3",
    "B2+MML+MDL4": "mdl4",
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_ablation_has_its_ticks(row):
    settings = load_config([f"configs/ablation/{ROWS[row]}.yaml"])
    (published,) = [found for _, found in read_literature("ablation").iterrows() if found["row"] == row]
    assert ticks(settings) == {name: published[name] == "1" for name in COLUMNS}
    assert method_of(settings).label(settings) == "base_derivative"


@pytest.mark.parametrize(
    "override",
    [
        *("data.dataset=regdb", "seed=4", "train.epochs=3", "optimizer.lr=0.3", "augment.height=384"),
        *("model.backbone=resnet50", "model.weights=x.pth", "evaluation.flip=true"),
        "losses.intra.modalities=[visible,infrared,visible_derived,infrared_derived]",
    ],
)
def test_what_does_not_make_another_method(override):
    assert ticks(load_config([override])) == ticks(load_config([]))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.backbone=convnext_tiny"], r'model\.backbone="convnext_tiny"'),
        (["model.pooling=average"], r'model\.pooling="average"'),
        (["losses.intra.margin=1", "losses.cross.margin=1"], r"losses\.intra\.margin=1\.0, losses\.cross\.margin=1\.0"),
        (["derive.visible=learned"], r'derive\.visible=\["learned"\]'),
        (["inserts.non_local.at=layer2.1"], r"inserts\.non_local\.type"),
        (["losses.second.type=intra"], r"losses\.second\.type"),
        (["heads.parts.type=stripes"], r"heads\.parts\.type"),
        (["losses.cross.weight=0.5"], "whose losses have weight 1"),
        (["losses.intra.modalities=[visible]"], r'losses\.intra\.modalities=\["visible"\]'),
        (["losses.cross.pairs=[[visible,visible_derived]]"], "no column for visible, visible_derived"),
        (["configs/demo.yaml"], r"model\.backbone=\"resnet10t\""),
    ],
)
def test_another_method_has_none(overrides, said):
    with pytest.raises(ValueError, match=said):
        ticks(load_config(overrides))


def test_how_an_unused_derivative_is_made_does_not_count():
    arguments = ["configs/ablation/mdl1.yaml", "derive.visible=weighted_gray"]
    assert ticks(load_config(arguments)) == ticks(load_config(arguments[:1]))
    with pytest.raises(ValueError, match="derive"):
        ticks(load_config(["configs/ablation/mdl2.yaml", *arguments[1:]]))
