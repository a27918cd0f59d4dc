"""What is refused, what may be left, and what the two lines say of it."""

import pytest
import torch

from pipeline.models.backbone import create_backbone
from pipeline.models.weights import digest
from tests.models.weights.files import load, model, save

SIZE = {"height": 64, "width": 32, "last_stride": 1}


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ("resnet18", "test_resnet"),
        ("resnet18", "resnet34"),
        ("resnet34", "resnet18"),
        ("convnext_atto", "convnext_pico"),
        ("test_efficientnet", "test_vit"),
    ],
)
def test_a_file_of_another_model_is_refused_and_nothing_is_taken(tmp_path, other, own):
    backbone = model(own)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    path = save(model(other).state_dict(), tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"weights: other.pth is not for this backbone: expected 90% or more"
    ) as caught:
        load(backbone, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


def test_a_larger_network_is_said_to_be_one(tmp_path):
    with pytest.raises(ValueError, match=r"found 100 of them .* and 80 others in its modules \(layer1.2.conv1.weight"):
        load(model("resnet18"), save(model("resnet34").state_dict(), tmp_path / "other.pth"))


def counted(state):
    return [key for key in state if not key.endswith("num_batches_tracked")]


@pytest.mark.parametrize("wrong", ["missing", "of another shape"])
def test_nine_of_ten_tensors_have_to_be_there(tmp_path, wrong):
    state = {f"net.{name}": tensor for name, tensor in model().state_dict().items()}
    names = counted(state)
    few = len(names) // 10
    for name in names[:few]:
        state[name] = torch.zeros(3, 1, 2)
        if wrong == "missing":
            del state[name]
    taken = load(model(), save(state, tmp_path / "weights.pth"))
    assert [f"net.{name}" for name in taken.left] == names[:few]
    state.pop(names[few])
    with pytest.raises(ValueError) as caught:
        load(model(), save(state, tmp_path / "weights.pth"))
    found = f"found {len(names) - few - 1} of them by name and shape behind the prefix net."
    assert f"of the {len(names)} tensors of test_resnet" in str(caught.value) and found in str(caught.value)
    assert "the backbone has conv1.0.weight, " in str(caught.value) and "\n" not in str(caught.value)


def test_the_lines_say_what_was_taken_and_what_was_left(tmp_path):
    state = model(classes=5).state_dict()
    total = len(counted(state)) - 2
    del state["bn1.weight"], state["bn1.bias"]
    content = {f"module.encoder_q.{name}": tensor for name, tensor in state.items()}
    content |= {f"module.encoder_k.{name}": tensor for name, tensor in state.items()} | {"queue": torch.zeros(3, 3)}
    lines = load(model(), save({"state_dict": content}, tmp_path / "moco.pth")).lines()
    assert lines == (
        f"moco.pth (prefix state_dict.module.encoder_q.): {total - 2} of the {total} tensors of test_resnet taken",
        "left: of the backbone 2, which stay random (bn1.weight, bn1.bias); of the file "
        f"{total + 3} (state_dict.module.encoder_q.fc. 2: a classifier, state_dict.module.encoder_k. {total}, "
        "state_dict.queue)",
    )


def test_a_bare_backbone_leaves_nothing(tmp_path):
    lines = load(model(), save(model().state_dict(), tmp_path / "bare.pth")).lines()
    assert lines[1] == "left: of the backbone none; of the file none"


def test_what_stays_random_is_not_in_the_digest(tmp_path):
    """Trainings of other seeds from one file start from the same weights."""
    state = model("resnet10t").state_dict()
    whole = save(state, tmp_path / "whole.pth")
    few = save({name: tensor for name, tensor in state.items() if name != "bn1.weight"}, tmp_path / "few.pth")
    origins = {}
    for seed in (0, 1):
        torch.manual_seed(seed)
        for file in (whole, few):
            made = create_backbone("resnet10t", weights=file, pretrained=True, **SIZE)
            made.bn1.weight.data.fill_(seed)  # as if it were initialized at random
            origins.setdefault(file, set()).add(made.origin)
    assert all(len(found) == 1 for found in origins.values()) and origins[whole] != origins[few]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_same_weights_have_one_digest_however_they_are_kept(tmp_path, suffix):
    source = model("resnet10t", classes=5)
    file = save(source.state_dict(), tmp_path / f"weights{suffix}")
    made = create_backbone("resnet10t", weights=file, pretrained=True, **SIZE)
    assert made.origin == f"file {digest(source)[:16]}" and not made.taken.left
    random = create_backbone("resnet10t", weights=None, pretrained=False, **SIZE)
    assert random.origin == "random" and random.taken is None
