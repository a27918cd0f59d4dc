"""The layers of the networks, from their formulas."""

import statistics

import torch
from torch.nn import functional


def exactly(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def adain(features, shift, scale):
    """Adaptive instance norm by loops: features (B, C, H, W), shift and scale (B, C)."""
    result = torch.empty_like(features)
    for sample, channels in enumerate(features):
        for channel, places in enumerate(channels):
            values = places.flatten().tolist()
            mean, deviation = statistics.fmean(values), (statistics.pvariance(values) + 1e-5) ** 0.5
            result[sample, channel] = scale[sample, channel] * (places - mean) / deviation + shift[sample, channel]
    return result


def instance(features):
    ones = torch.ones(features.shape[:2], dtype=features.dtype)
    return adain(features, 0 * ones, ones)


def tracked(features, scale, shift):
    """An instance norm with parameters, in training."""
    return adain(features, *(values.expand(len(features), -1) for values in (shift, scale)))


def layer_norm(features, scale, shift):
    """MUNIT's layer norm by loops over samples and channels."""
    result = torch.empty_like(features)
    for sample, places in enumerate(features):
        values = places.flatten().tolist()
        normalized = (places - statistics.fmean(values)) / (statistics.stdev(values) + 1e-5)
        for channel in range(features.shape[1]):
            result[sample, channel] = scale[channel] * normalized[channel] + shift[channel]
    return result


def leaky(features, slope=0.2):
    return torch.where(features > 0, features, slope * features)


def reflected(features, weight, bias, stride=1):
    """A convolution of features whose edges are mirrored, index by index."""
    edge = (weight.shape[-1] - 1) // 2
    rows, columns = (mirrored_indices(size, edge) for size in features.shape[2:])
    return functional.conv2d(features[:, :, rows][:, :, :, columns], weight, bias, stride)


def mirrored_indices(size, edge):
    return [min(abs(place), 2 * (size - 1) - abs(place)) for place in range(-edge, size + edge)]
