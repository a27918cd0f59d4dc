"""MIMB against plain loops over its formulas, and the sizes that it refuses."""

from __future__ import annotations

import pytest
import torch

from pipeline.models.mimb import MIMB, Convolution, ScaleBlock, check_sizes
from pipeline.models.taps import MapSize

OWN, EARLIER = MapSize(8, 4, 2), MapSize(3, 16, 8)
SIZES = {"stem": EARLIER, "layer1": MapSize(5, 16, 8), "layer2": MapSize(6, 8, 4), "layer3": OWN}


def random_maps(size, rows=3, seed=1):
    return torch.randn(rows, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def normed(row, norm):
    centered = row - row.mean()
    return centered / (centered.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias


def attention(asked, values, layer):
    """Of tokens (T, N), head by head and token by token."""
    query, key, value = (
        tokens @ layer.in_proj_weight.chunk(3)[part].T + layer.in_proj_bias.chunk(3)[part]
        for part, tokens in enumerate((asked, asked, values))
    )
    result = torch.zeros_like(values)
    width = values.shape[1] // layer.num_heads
    for head in range(layer.num_heads):
        own = slice(head * width, (head + 1) * width)
        for i in range(len(values)):
            scores = torch.stack([query[i, own] @ key[j, own] / width**0.5 for j in range(len(values))])
            weights = scores.exp() / scores.exp().sum()
            result[i, own] = sum(weights[j] * value[j, own] for j in range(len(values)))
    return result @ layer.out_proj.weight.T + layer.out_proj.bias


def plain_block(block, features, earlier):
    """The block of one image, by its formulas."""
    x = block.narrow(features[None])[0].flatten(1)
    x = torch.stack([normed(row, block.norm) for row in x])
    o = x
    if block.earlier is not None:
        convolution, _, norm = block.earlier
        o = torch.stack([normed(row, norm) for row in convolution(earlier[None])[0].flatten(1)])
        x = x + 0.1 * o
    x = x + attention(o, x, block.attention)
    first, _, last = block.mlp
    hidden = torch.stack([normed(row, block.mlp_norm) for row in x]) @ first.weight.T + first.bias
    x = x + (hidden * torch.sigmoid(1.702 * hidden)) @ last.weight.T + last.bias
    return block.widen(x.reshape(1, -1, *features.shape[1:]))[0]


@pytest.mark.parametrize("convolution", [Convolution(6, 4, 2), None], ids=["earlier", "itself"])
def test_a_block_equals_loops(convolution):
    torch.manual_seed(0)
    block = ScaleBlock(OWN, EARLIER if convolution else None, convolution, heads=4).double()
    for name, parameter in block.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter)
    features, earlier = random_maps(OWN), random_maps(EARLIER, seed=2)
    expected = torch.stack([plain_block(block, *pair) for pair in zip(features, earlier, strict=True)])
    torch.testing.assert_close(block(features, earlier), expected)


def test_each_block_reads_the_map_of_its_stage_and_follows_the_last():
    torch.manual_seed(0)
    mimb = MIMB(MIMB.Options("mimb"), OWN.channels, SIZES).double()
    maps = {name: random_maps(size, seed=number) for number, (name, size) in enumerate(SIZES.items())}
    expected = maps["layer3"]
    for name in ("stem", "layer1", "layer2", "layer3"):
        expected = mimb.blocks[name](expected, None if name == "layer3" else maps[name])
    assert torch.equal(mimb(maps["layer3"], maps), expected)
    assert [mimb.blocks[name].earlier[0].in_channels for name in ("stem", "layer1", "layer2")] == [3, 5, 6]


@pytest.mark.parametrize(
    ("height", "width", "given", "heads"), [(24, 12, None, 32), (18, 9, None, 27), (4, 2, None, 8), (4, 2, 2, 2)]
)
def test_there_are_as_many_heads_as_divide_the_places(height, width, given, heads):
    scale = {"stem": 4, "layer1": 4, "layer2": 2, "layer3": 1}
    sizes = {name: MapSize(4, height * of_own, width * of_own) for name, of_own in scale.items()}
    mimb = MIMB(MIMB.Options("mimb", heads=given), 4, sizes)
    assert {block.attention.num_heads for block in mimb.blocks.values()} == {heads}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads: expected a divisor of the 8 places of layer3's map; found 3"),
        ({"at": ["layer2"]}, "at: expected layer3 alone; found layer2"),
        ({"last_blocks": {"layer3": 1}}, "at: expected layer3 alone; found layer3, layer3"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        MIMB(MIMB.Options("mimb", **options), OWN.channels, SIZES)


def test_maps_that_no_convolution_brings_together_are_refused():
    odd = SIZES | {"layer2": MapSize(6, 9, 4), "layer3": MapSize(8, 5, 2)}
    with pytest.raises(
        ValueError, match=r"^at: expected a map 4 times as large at stem .* multiples of 16; found 16 x 8"
    ):
        check_sizes(odd)
