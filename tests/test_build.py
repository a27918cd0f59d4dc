import pytest

from pipeline.build import build_index, build_loss, build_network, training_rows
from pipeline.config import load_config


def test_without_the_identity_loss_nothing_trains_the_head(tiny):
    network = build_network(load_config([*tiny, "loss.identity=0"]), identities=3)
    assert not network.head_parameters()
    assert build_network(load_config(tiny), identities=3).head_parameters()


def test_the_default_loss_is_the_papers_method():
    loss = build_loss(load_config([]))
    pairs = [f"{first.key} {second.key}" for first, second in loss.cross]
    assert pairs == ["infrared visible", "visible infrared_derived", "infrared visible_derived"]
    assert (loss.identity_weight, loss.intra_weight, loss.cross_weight) == (1, 1, 1)
    assert loss == build_loss(load_config(["configs/ablation/mdl4.yaml"]))


@pytest.mark.parametrize("pairs", ["[[visible]]", "[[visible,infrared,visible_derived]]", "[[visible,thermal]]"])
def test_pairs_that_are_none_are_refused(pairs):
    with pytest.raises(ValueError, match="pairs of modalities|found 'thermal'"):
        build_loss(load_config([f"loss.cross_pairs={pairs}"]))


def test_pairs_that_are_not_in_use_are_refused():
    with pytest.raises(ValueError, match="infrared_derived is not in use"):
        build_loss(load_config(["batch.modalities=[visible,infrared]"]))


def test_a_split_without_images_is_refused(people, tiny):
    settings = load_config([*tiny, f"data.root={people}", "data.train_splits=[val]"])
    with pytest.raises(ValueError, match="data.train_splits: no images in val of"):
        training_rows(build_index(settings.data), settings.data)
