import pytest
import torch
from torch.nn import functional

from pipeline.models.image.translator import Translator
from tests.models.image.images import images
from tests.models.image.reference import exactly, tracked


@pytest.mark.parametrize("size", [(64, 32), (48, 32), (8, 16)])
def test_a_translation_has_the_size_of_the_image(size):
    translated = Translator(4, 1)(images(*size))
    assert translated.shape == (2, 3, *size)
    assert 0 < translated.abs().max() <= 1


def test_a_translator_uses_the_image_in_training_and_its_statistics_in_evaluation():
    translator, batch = Translator(4, 1), images()
    of_one = translator(batch)[:1]
    torch.testing.assert_close(of_one, translator(batch[:1]))  # each image by its own statistics
    other = images(rows=4)[2:]
    translator.eval()
    before = translator(other)
    translator.train()(batch)
    assert not torch.equal(translator.eval()(other), before)  # the running statistics moved
    assert torch.equal(translator(other), translator(other))


def test_it_equals_its_formula_in_training():
    network, batch = Translator(2, 1).double(), images(16, 8).double()
    parameters = iter(network.parameters())
    found = batch
    for stride, padding in ((1, 3), (2, 1), (2, 1)):
        found = functional.conv2d(found, next(parameters), stride=stride, padding=padding)
        found = tracked(found, next(parameters), next(parameters)).relu()
    hidden = functional.conv2d(found, next(parameters), padding=1)
    hidden = tracked(hidden, next(parameters), next(parameters)).relu()
    hidden = functional.conv2d(hidden, next(parameters), padding=1)
    found = found + tracked(hidden, next(parameters), next(parameters))
    for _ in range(2):
        found = functional.conv_transpose2d(found, next(parameters), stride=2, padding=1)
        found = tracked(found, next(parameters), next(parameters)).relu()
    exactly(network(batch), functional.conv2d(found, next(parameters), padding=3).tanh())
