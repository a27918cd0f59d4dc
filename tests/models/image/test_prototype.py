import pytest
import torch

from pipeline.models.image.prototype import PrototypeEncoder, Pyramid
from tests.models.image.images import images
from tests.models.image.reference import exactly, instance, leaky, mirrored_indices, reflected


@pytest.mark.parametrize(("size", "dilations"), [((64, 32), (1, 2, 7)), ((32, 48), (3, 6)), ((16, 8), ())])
def test_a_prototype_has_a_quarter_of_the_sides(size, dilations):
    made = PrototypeEncoder(4, 12, 1, dilations)(images(*size))
    assert made.shape == (2, 12, size[0] // 4, size[1] // 4)


def test_images_that_cannot_be_shrunk_are_refused():
    with pytest.raises(ValueError, match="^images: expected sides that are multiples of 4, from 8 up; found 34 x 32$"):
        PrototypeEncoder(4, 8, 1, (1,))(images(34, 32))


def test_the_encoder_equals_its_formula():
    network, batch = PrototypeEncoder(3, 6, 1, (1, 2)).double(), images(32, 16).double()
    parameters = iter(network.parameters())
    found = batch
    for stride in (2, 1, 1, 2):
        found = leaky(instance(reflected(found, next(parameters), next(parameters), stride)), 0.3)
    hidden = leaky(instance(reflected(found, next(parameters), next(parameters))), 0.3)
    found = found + instance(reflected(hidden, next(parameters), next(parameters)))
    exactly(network(batch), pyramid(found, list(parameters)))


def pyramid(features, parameters):
    """Branches of conv1, of conv1 and conv3, and of conv1 and a conv3 that sees every second place."""
    plain, first, first_wide, second, second_wide, joined = zip(parameters[::2], parameters[1::2], strict=True)
    branches = [instance(reflected(features, *plain))]
    for narrow, conv3, dilation in ((first, first_wide, 1), (second, second_wide, 2)):
        hidden = leaky(instance(reflected(features, *narrow)), 0.3)
        branches.append(instance(dilated(hidden, *conv3, dilation)))
    return instance(reflected(torch.cat(branches, dim=1), *joined))


def dilated(features, weight, bias, dilation):
    """A conv3 whose places are `dilation` apart, offset by offset."""
    height, width = features.shape[2:]
    rows, columns = (mirrored_indices(size, dilation) for size in (height, width))
    wider = features[:, :, rows][:, :, :, columns]
    result = bias[None, :, None, None].expand(len(features), -1, height, width).clone()
    for i in range(3):
        for j in range(3):
            seen = wider[:, :, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            result += torch.einsum("oc,nchw->nohw", weight[:, :, i, j], seen)
    return result


def test_a_dilation_reaches_places_that_far_away():
    features, network = torch.zeros(1, 1, 9, 9), Pyramid(1, 2, (3,))
    spread = network.branches[1][1][0]
    features[0, 0, 4, 4] = 1
    reached = (spread(features) - spread(torch.zeros_like(features))).detach()[0, 0].nonzero().tolist()
    assert reached == [[i, j] for i in (1, 4, 7) for j in (1, 4, 7)]
