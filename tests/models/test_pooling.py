from __future__ import annotations

import pytest
import timm
import torch

from pipeline.models.backbone import create_backbone
from pipeline.models.pooling import Pooling, choose_pooling, pooling_for, pooling_problem
from pipeline.models.probing import pools_class_token, probe


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


@pytest.mark.parametrize("value", [0.0, 5e-6, 2e-5, 1e-3])
def test_a_high_power_of_small_values_has_finite_gradients(value: float) -> None:
    """HCT pools with a power of 10 on RegDB: 1e-5 to that power is nothing in float32."""
    features = torch.zeros(1, 1, 3, 9)
    features[..., 1, 4] = value
    features.requires_grad_()
    pooled = Pooling("gem", power=10.0)(features)
    pooled.sum().backward()
    assert pooled.isfinite().all() and features.grad.isfinite().all()
    exact = features.detach().double().clamp(min=1e-6).pow(10).mean().pow(0.1).item()
    if value == 1e-3:
        assert pooled.item() == pytest.approx(exact, rel=1e-3)


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


def create(name: str, **kwargs: object) -> torch.nn.Module:
    size = {"height": 64, "width": 32}
    return create_backbone(name, **size, pretrained=False, weights=None, last_stride=2, kwargs=kwargs)


def test_a_token_is_the_first_one_and_its_gradient_is_its_own() -> None:
    features = torch.randn(2, 6, 5, dtype=torch.bfloat16).requires_grad_()
    pooled = Pooling("token", prefix_tokens=2)(features)
    assert pooled.dtype == torch.float32 and torch.equal(pooled, features[:, 0].float())
    pooled.sum().backward()
    assert features.grad[:, 0].eq(1).all() and features.grad[:, 1:].eq(0).all()


def test_a_trained_power_begins_as_the_fixed_one_and_its_gradient_is_the_slope() -> None:
    features = torch.rand(2, 5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    trained = Pooling("gem", power=2.5, power_trained=True).double()
    assert not Pooling("gem").state_dict() and trained.state_dict()["power"].shape == (1,)
    pooled = trained(features)
    torch.testing.assert_close(pooled, Pooling("gem", power=2.5)(features))
    pooled.sum().backward()
    low, high = (Pooling("gem", power=2.5 + step)(features).sum() for step in (-1e-5, 1e-5))
    torch.testing.assert_close(trained.power.grad, ((high - low) / 2e-5)[None], rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("name", "kwargs", "kind"),
    [
        ("resnet10t", {}, "gem"),
        ("resnet10t", {"act_layer": "silu"}, "average"),
        ("test_vit", {}, "token"),
        ("vit_small_patch16_dinov3", {"depth": 1}, "average"),
        ("test_convnext", {}, "average"),
    ],
)
def test_auto_is_gem_without_negative_values_else_what_timm_pools_by(name: str, kwargs: dict, kind: str) -> None:
    assert choose_pooling(create(name, **kwargs), "auto") == kind


def test_gem_of_negative_values_is_a_problem_that_names_their_share() -> None:
    vit, resnet = create("test_vit"), create("resnet10t")
    line = pooling_problem(vit, "gem")
    assert line is not None and line.startswith("pooling: gem is for maps without negative values; ")
    assert f"{100 * vit.negative_share:.0f} % of those of VisionTransformer are" in line and line.endswith(
        "set it to token"
    )
    assert 0.4 < vit.negative_share < 0.6 and resnet.negative_share == 0
    assert pooling_problem(vit, "token") is pooling_problem(vit, "average") is pooling_problem(resnet, "gem") is None


def test_choosing_uses_no_random_state() -> None:
    backbone = create("test_vit")
    before = torch.get_rng_state()
    choose_pooling(backbone, "auto")
    probe(backbone, "test_vit", 64, 32)
    assert pools_class_token(backbone, "test_vit", {"img_size": (64, 32)})
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="pooling: expected one of gem, average, token; found 'max'"):
        Pooling("max")
    with pytest.raises(ValueError, match="pool_power: expected a number above 0; found 0"):
        Pooling("gem", power=0)
    with pytest.raises(
        ValueError, match="pool_power_trained: expected the pooling gem, which has a power; found average"
    ):
        Pooling("average", power_trained=True)
    with pytest.raises(ValueError, match="pooling: ResNet has no class token; set it to auto, gem or average"):
        choose_pooling(create("resnet10t"), "token")
    with pytest.raises(ValueError, match="type: stripes are of a map of rows and columns; found the class token"):
        Pooling("token").stripes(torch.randn(1, 4, 8), 2)
