from __future__ import annotations

import pytest
import torch

from pipeline.models.mfa import MFA, ChannelNonLocal, PlaceNonLocal

HIGH, LOW = 6, 4


def maps(size: tuple[int, int], low_size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (2, HIGH, *size), (2, LOW, *low_size)
    high, low = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)
    return high, low


def awake(block: torch.nn.Module) -> torch.nn.Module:
    """The block in float64 and eval mode, whose norms pass something on."""
    block = block.double().eval()
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
    return block


def through(layer: torch.nn.Module, column: torch.Tensor) -> torch.Tensor:
    """A 1 x 1 convolution of a place's channels."""
    return layer.weight[:, :, 0, 0] @ column + layer.bias


@pytest.mark.parametrize(("size", "low_size"), [((3, 2), (3, 2)), ((3, 2), (6, 4)), ((3, 2), (5, 3))])
def test_channels_are_mixed_by_what_two_maps_have_in_common(size: tuple[int, int], low_size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = awake(ChannelNonLocal(HIGH, LOW, LOW))
    high, low = maps(size, low_size)
    step = 1 if size == low_size else 2
    places = [(y, x) for y in range(size[0]) for x in range(size[1])]
    expected = torch.zeros_like(high)
    for image in range(2):
        theta = [through(block.theta, high[image, :, y, x]) for y, x in places]
        phi, g = (
            [through(layer, low[image, :, y * step, x * step]) for y, x in places] for layer in (block.phi, block.g)
        )
        alike = torch.stack([torch.outer(one, other) for one, other in zip(theta, phi, strict=True)]).sum(dim=0) / LOW
        for (y, x), value in zip(places, g, strict=True):
            expected[image, :, y, x] = through(block.expand, alike @ value)
    torch.testing.assert_close(block(high, low), block.norm(expected) + high)


@pytest.mark.parametrize("low_size", [(4, 3), (7, 6)])
@pytest.mark.parametrize("paired", [False, True])
def test_places_are_mixed_by_how_alike_they_are(low_size: tuple[int, int], paired: bool) -> None:
    torch.manual_seed(0)
    block = awake(PlaceNonLocal(HIGH, LOW, 2, paired))
    high, low = maps((4, 3), low_size)

    def places(layer: torch.nn.Module, features: torch.Tensor) -> list[torch.Tensor]:
        """What each place has; of pairs, the upper and the lower one together, channel by channel."""
        found = [through(layer, column) for column in features.flatten(1).T]
        half = len(found) // 2
        upper, lower = found[:half], found[half:]
        return [torch.stack(both, dim=1).flatten() for both in zip(upper, lower, strict=True)] if paired else found

    expected = torch.zeros_like(high).flatten(2)
    for image in range(2):
        theta, phi, g = places(block.theta, high[image]), places(block.phi, low[image]), places(block.g, low[image])
        for i, own in enumerate(theta):
            mixed = torch.stack([(own @ other) * value for other, value in zip(phi, g, strict=True)]).mean(dim=0)
            for part in range(1 + paired):
                place = i + part * len(theta)
                expected[image, :, place] = through(block.expand, mixed[part :: 1 + paired])
    torch.testing.assert_close(block(high, low), block.norm(expected.reshape(high.shape)) + high)


def test_both_begin_as_the_identity_and_differ_later() -> None:
    high, low = maps((4, 2), (8, 4))
    plain = MFA(MFA.Options("mfa"), HIGH, LOW).double()
    assert torch.equal(plain(high, low), high)
    released = MFA(MFA.Options("mfa", paired=True), HIGH, LOW).double()
    released.load_state_dict(awake(plain).state_dict())
    assert (plain(high, low) - released.eval()(high, low)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("paired", "size", "low_size", "message"),
    [
        (
            False,
            (3, 2),
            (3, 4),
            r"^at: expected stages that keep the size of their map or halve it; found 3 x 4 -> 3 x 2",
        ),
        (False, (3, 2), (12, 8), r"^at: .*; found 12 x 8 -> 3 x 2"),
        (True, (3, 3), (3, 3), "^paired: expected maps with an even number of places; found 9; set it to false"),
    ],
)
def test_maps_that_do_not_fit(paired: bool, size: tuple[int, int], low_size: tuple[int, int], message: str) -> None:
    block = MFA(MFA.Options("mfa", paired=paired), HIGH, LOW).double()
    with pytest.raises(ValueError, match=message):
        block(*maps(size, low_size))
