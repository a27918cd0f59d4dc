import pytest
import torch

from pipeline.models.image.translator import Translator
from tests.models.image.images import images


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
