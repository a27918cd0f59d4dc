from __future__ import annotations

import pytest
import timm
import torch

from pipeline.models.pooling import Pooling, pooling_for


def _loop(features: torch.Tensor, kind: str, power: float) -> torch.Tensor:
    """(B, C, H, W), one channel of one image at a time."""
    rows = []
    for image in features.tolist():
        row = []
        for channel in image:
            values = [value for line in channel for value in line]
            if kind == "average":
                row.append(sum(values) / len(values))
            else:
                row.append((sum(max(v, 1e-6) ** power for v in values) / len(values)) ** (1 / power))
        rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize(("kind", "power"), [("gem", 3.0), ("gem", 1.5), ("average", 3.0)])
def test_equals_a_loop_in_every_layout(kind: str, power: float) -> None:
    features = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    expected = _loop(features, kind, power)
    torch.testing.assert_close(Pooling(kind, power=power)(features), expected)
    last = features.permute(0, 2, 3, 1)
    torch.testing.assert_close(Pooling(kind, power=power, channels_last=True)(last), expected)
    tokens = torch.cat([torch.full((2, 2, 5), 1e3), last.flatten(1, 2)], dim=1)
    torch.testing.assert_close(Pooling(kind, power=power, prefix_tokens=2)(tokens), expected)


def test_gem_lies_between_average_and_maximum() -> None:
    features = torch.rand(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    pooled = Pooling("gem")(features)
    assert (pooled > Pooling("average")(features)).all() and (pooled < features.amax((2, 3))).all()


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_channel_without_response_gives_eps_and_a_finite_gradient(value: float) -> None:
    features = torch.full((1, 2, 3, 3), value, requires_grad=True)
    pooled = Pooling("gem")(features)
    pooled.sum().backward()
    torch.testing.assert_close(pooled, torch.full((1, 2), 1e-6))
    assert torch.isfinite(features.grad).all()


def test_half_precision_is_pooled_in_float32() -> None:
    features = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = Pooling("gem")(features)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, _loop(features.float(), "gem", 3.0))


@pytest.mark.parametrize(
    ("name", "channels_last", "prefix_tokens"),
    [
        ("resnet10t", False, 0),
        ("test_convnext", False, 0),
        ("test_vit", False, 1),
        ("vit_tiny_patch16_224", False, 1),
        ("swin_tiny_patch4_window7_224", True, 0),
    ],
)
def test_layout_of_timm_families(name: str, channels_last: bool, prefix_tokens: int) -> None:
    backbone = timm.create_model(name, num_classes=0, global_pool="").eval()
    pooling = pooling_for(backbone, "average", 3.0)
    assert (pooling.channels_last, pooling.prefix_tokens) == (channels_last, prefix_tokens)
    size = backbone.pretrained_cfg["input_size"][-1]
    with torch.no_grad():
        assert pooling(backbone.forward_features(torch.randn(1, 3, size, size))).shape == (1, backbone.num_features)


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="pooling: expected one of gem, average, token; found 'max'"):
        Pooling("max")
    with pytest.raises(ValueError, match="pool_power: expected a number above 0; found 0"):
        Pooling("gem", power=0)
