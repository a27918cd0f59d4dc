from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from pipeline.batch import Modality
from pipeline.build import build_index
from pipeline.config import load_config
from pipeline.evaluation.features import Extractor, extract_features, network_extractor, pixel_features
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.images import FolderImages
from pipeline.methods.network import build_network


@pytest.fixture(scope="module")
def settings(people, tiny):
    return load_config([*tiny, f"data.root={people}", "evaluation.batch=5"])


@pytest.fixture(scope="module")
def index(settings):
    return build_index(settings.data)


@pytest.fixture(scope="module")
def network(settings):
    torch.manual_seed(0)
    return build_network(settings, identities=6)


@pytest.mark.parametrize("feature", ["embedding", "pooled"])
@pytest.mark.parametrize("flip", [False, True])
def test_a_row_of_the_table_is_the_feature_of_that_image_alone(index, settings, network, feature, flip):
    settings = replace(settings, evaluation=replace(settings.evaluation, feature=feature, flip=flip))
    rows = np.random.default_rng(0).permutation(len(index))[:17]
    accelerator = Accelerator(cpu=True)
    table = extract_features(network_extractor(network, settings, accelerator), index, rows, settings, accelerator)
    assert table.shape[0] == len(rows)
    network.eval()
    image_source = FolderImages(index)
    for place, row in enumerate(rows[:5]):
        modality = Modality(index["modality"][row])
        image = next(evaluation_batches(image_source, np.array([row]), modality, settings, torch.device("cpu")))
        with torch.inference_mode():
            expected = getattr(network(image, [modality]), feature)[0]
            if flip:
                expected = (expected + getattr(network(image.flip(-1), [modality]), feature)[0]) / 2
        torch.testing.assert_close(table[place], expected, rtol=1e-4, atol=1e-4)
    assert (table.abs().sum(1) > 0).all()


def test_pixels_see_the_image_but_neither_brightness_nor_contrast():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((3, 3, 64, 32), generator=generator)
    features = pixel_features(images, Modality.VISIBLE)
    torch.testing.assert_close(pixel_features(images * 2 + 1, Modality.VISIBLE), features, rtol=1e-3, atol=1e-3)
    assert (features[0] - features[1]).abs().mean() > 0.1


def test_nothing_is_rounded_or_compiled_for_a_test_and_all_is_as_before_afterwards(index, settings, network):
    compiled, seen = [], []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    network.eval().compile(backend=backend)
    inner = network_extractor(network, settings, Accelerator(cpu=True))

    def extract(images, modality):
        flags = torch.backends.cudnn
        seen.append((flags.allow_tf32, flags.benchmark, torch.backends.cuda.matmul.allow_tf32))
        return inner(images, modality)

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        rows = np.array([0, len(index) - 1])
        extract_features(Extractor(extract), index, rows, settings, Accelerator(cpu=True))
        after = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32)
    finally:
        torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = before, False
    assert seen == [(False, False, False)] * 2 and after == (True, True, True)
    assert compiled == []
    network(torch.zeros(1, 3, settings.augment.height, settings.augment.width), [0])
    assert compiled, "it would have been"
