import math

import pytest
import torch

from pipeline.batch import Modality
from pipeline.models.backbone import create_backbone
from pipeline.models.reid import ReIDNetwork
from pipeline.settings import OptimizerSettings
from pipeline.training.optimization import create_optimizer, learning_rate_factor, set_learning_rate


@pytest.fixture(scope="module")
def network():
    backbone = create_backbone("resnet10t", height=32, width=16, pretrained=False, weights=None, last_stride=1)
    return ReIDNetwork(
        backbone=backbone,
        modalities=[Modality.VISIBLE, Modality.INFRARED],
        stems="source",
        identities=5,
        pooling="gem",
        pool_power=3.0,
    )


def test_the_papers_recipe_warms_up_and_decays_at_20_and_50():
    recipe = OptimizerSettings()
    factors = {epoch: learning_rate_factor(epoch, 80, recipe) for epoch in (0, 5, 10, 19.99, 20, 49.99, 50, 79.99)}
    assert factors == pytest.approx(
        {0: 0.1, 5: 0.55, 10: 1, 19.99: 1, 20: 0.1, 49.99: 0.1, 50: 0.01, 79.99: 0.01}, rel=1e-12
    )


def test_cosine_goes_from_one_to_its_last_factor_and_stays_there():
    settings = OptimizerSettings(schedule="cosine", warmup_epochs=2, decay=0.2)
    assert learning_rate_factor(2, 10, settings) == 1
    assert learning_rate_factor(6, 10, settings) == pytest.approx(0.6)
    assert learning_rate_factor(10, 10, settings) == pytest.approx(0.2)
    assert learning_rate_factor(11, 10, settings) == pytest.approx(0.2)
    expected = 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2
    assert learning_rate_factor(4, 10, settings) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_every_trained_parameter_is_in_one_group_and_the_head_learns_faster(network, name):
    optimizer = create_optimizer(network, OptimizerSettings(name=name, lr=0.1, backbone_factor=0.1))
    rest, head = optimizer.param_groups
    assert {id(p) for p in head["params"]} == {id(network.neck.weight), id(network.classifier.weight)}
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    set_learning_rate(optimizer, 0.5)
    assert (rest["lr"], head["lr"]) == pytest.approx((0.005, 0.05))
    set_learning_rate(optimizer, 0.5)
    assert head["lr"] == pytest.approx(0.05)  # a factor of the initial rate, not of the last


def test_sgd_is_nesterovs_with_the_recipes_decay(network):
    optimizer = create_optimizer(network, OptimizerSettings())
    assert isinstance(optimizer, torch.optim.SGD)
    assert all(group["nesterov"] and group["weight_decay"] == 5e-4 for group in optimizer.param_groups)
