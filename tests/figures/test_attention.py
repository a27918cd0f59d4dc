import numpy as np
import pytest
import torch

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.figures.attention import (
    activation_norm,
    choose_rows,
    enlarge,
    last_activation,
    overlay,
    token_grid,
)
from pipeline.figures.evaluated_run import LeftOut
from pipeline.methods.network import build_network


def slow_norm(features):
    """(B, h, w, C) -> (B, h, w), place by place."""
    batch, height, width, _ = features.shape
    return [
        [[float(sum(v * v for v in features[b, y, x].tolist()) ** 0.5) for x in range(width)] for y in range(height)]
        for b in range(batch)
    ]


def test_the_norm_is_that_of_each_place_whatever_the_order_of_the_axes():
    features = torch.randn(2, 4, 2, 5)  # (B, h, w, C)
    expected = torch.tensor(slow_norm(features))
    torch.testing.assert_close(activation_norm(features, (32, 16), channels_last=True), expected)
    torch.testing.assert_close(activation_norm(features.permute(0, 3, 1, 2), (32, 16)), expected)
    tokens = torch.cat([torch.randn(2, 3, 5), features.reshape(2, 8, 5)], dim=1)
    torch.testing.assert_close(activation_norm(tokens, (32, 16), prefix_tokens=3), expected)


@pytest.mark.parametrize(("tokens", "size", "grid"), [(128, (256, 128), (16, 8)), (162, (288, 144), (18, 9))])
def test_tokens_stand_in_the_proportions_of_the_image(tokens, size, grid):
    assert token_grid(tokens, size) == grid


def test_overlapping_tokens_stand_in_the_grid_they_were_cut_in(tiny):
    assert token_grid(210, (256, 128), (21, 10)) == (21, 10) and token_grid(128, (256, 128), (21, 10)) == (16, 8)
    overlapping = ["model.backbone=test_vit", "model.pooling=average", "model.patch_stride=12"]
    size = ["augment.height=64", "augment.width=32"]
    network = build_network(load_config([*tiny, *overlapping, *size]), identities=3).eval()
    assert last_activation(network, torch.randn(1, 3, 64, 32), Modality.VISIBLE).shape == (1, 5, 2)


@pytest.mark.parametrize(
    "head", ["heads.global.type=bnneck", "heads.global.type=patterns", "heads.parts={type: stripes, count: 2}"]
)
def test_the_whole_map_is_shown_whatever_the_heads_make_of_it(tiny, head):
    network = build_network(load_config([*tiny, head, "model.pooling=average"]), identities=3).eval()
    images = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        features = network.backbone.forward_features(network.stems[network.stem_of[Modality.VISIBLE]](images))
    found = last_activation(network, images, Modality.VISIBLE)
    torch.testing.assert_close(found, activation_norm(features, (32, 16)))
    assert found.shape == (2, *features.shape[2:])


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (torch.ones(2, 5), "have no places"),
        (torch.ones(2, 5, 1, 1), "one place only"),
        (torch.ones(2, 7, 5), "7 tokens, which are no grid over 32 x 16 pixels"),
    ],
)
def test_features_without_places_are_left_out(features, reason):
    with pytest.raises(LeftOut, match=reason):
        activation_norm(features, (32, 16))


@pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto", "vit_tiny_patch16_224"])
def test_the_map_is_of_what_the_network_pools_and_leaves_the_network_as_it_was(tiny, backbone):
    arguments = [*tiny, "augment.height=64", "augment.width=32", "model.pooling=average", "losses.intra.weight=1"]
    torch.manual_seed(0)
    network = build_network(load_config([*arguments, f"model.backbone={backbone}"]), identities=3).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        before = network(images, [Modality.VISIBLE] * 2)
        norm = last_activation(network, images, Modality.VISIBLE)
        after = network(images, [Modality.VISIBLE] * 2)
    assert norm.shape == (2, 4, 2) and norm.min() >= 0
    assert torch.equal(before.embedding, after.embedding) and not network.pooling._forward_pre_hooks
    # A change of the lower half is seen there more than above.
    images[0, :, 40:] += 3
    change = (last_activation(network, images, Modality.VISIBLE) - norm).abs()
    assert change[1].max() == 0 and change[0, 3].mean() > change[0, 0].mean()


def test_a_map_is_enlarged_and_scaled_in_each_image():
    norm = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]])
    found = enlarge(norm, (8, 4))
    assert found.shape == (2, 8, 4) and (found[0].min(), found[0].max()) == (0, 1) and (found[1] == 0).all()
    assert found[0, 0, 0] == 0 and found[0, -1, -1] == 1
    assert found[0, 0, -1] == pytest.approx(1 / 3) and found[0, -1, 0] == pytest.approx(2 / 3)


def test_the_same_people_are_shown_in_both_modalities():
    identity, modality = np.repeat([4, 7, 9], 6), np.tile([0, 0, 0, 1, 1, 1], 3)
    modality[12:] = 0  # 9 is not in infrared
    rows = choose_rows(identity, modality, 4, seed=0)
    assert rows.shape == (2, 2)
    assert (identity[rows] == [4, 7]).all() and (modality[rows] == [[0, 0], [1, 1]]).all()
    assert choose_rows(identity, np.zeros(18), 4, seed=0).size == 0


def test_the_image_shines_through_the_map():
    image = np.zeros((2, 1, 3), np.uint8)
    image[1] = 255
    dark, bright = overlay(image, np.zeros((2, 1)))[:, 0].astype(int)
    assert (bright - dark == pytest.approx(0.45 * 255, abs=1)) and len(set(dark)) > 1
