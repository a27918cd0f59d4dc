"""What a network takes of a finished run's: all that fits but classifiers, stems by name."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from torch.nn.functional import conv2d

from pipeline.config import load_config, to_yaml
from pipeline.methods import network
from pipeline.methods.network import build_network
from pipeline.models.weights import find_weights
from pipeline.run.checkpoint import save_weights
from tests.models.weights.files import model, save, shuffled

SMALL = ["model.backbone=test_resnet", "model.pretrained=false", "augment.height=32", "augment.width=16"]
FACTS = {"config": "abc", "epoch": "1", "replaced_images": "0", "identities": "5"}
INSERT = "inserts.non_local={at: [layer2.0, conv1.0], channels: 8}"
VIT = ["model.backbone=test_vit", "model.last_stride=2", "model.pooling=average"]


def network_of(*overrides, identities=7, seed=0):
    torch.manual_seed(seed)
    return build_network(load_config([*SMALL, *overrides]), identities)


@pytest.fixture
def run_of(tmp_path):
    """Makes a run's folder with a network of random tensors, all different, of 5 identities."""

    def make(*overrides, name="base", rename=lambda name: name):
        network, folder = shuffled(network_of(*overrides, identities=5), seed=len(name)), tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(to_yaml(load_config([*SMALL, *overrides])))
        save_weights(network, folder / "model.safetensors", FACTS)
        tensors = load_file(folder / "model.safetensors")
        save_file({rename(key): tensor for key, tensor in tensors.items()}, folder / "model.safetensors", FACTS)
        return folder, tensors

    return make


def floats(network):
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def test_all_but_the_classifier_is_taken_and_the_rest_is_as_random_as_without(run_of):
    folder, tensors = run_of()
    made, without = floats(network_of(f"model.weights={folder}")), floats(network_of())
    (classifier,) = (name for name in made if "classifier" in name)
    assert torch.equal(made.pop(classifier), without[classifier])
    for name, tensor in made.items():
        assert torch.equal(tensor, tensors[name]), name


def test_the_file_in_the_folder_stands_for_the_run(run_of):
    folder, _ = run_of()
    by_folder, by_file = (network_of(f"model.weights={path}") for path in (folder, folder / "model.safetensors"))
    assert by_folder.origin == by_file.origin and by_folder.origin.startswith("run base ")


STEMS = {  # of the run, of the network -> stem of the network: where its tensors come from
    ("source", "shared"): {"backbone.": "stems.visible."},
    ("modality", "shared"): {"backbone.": "stems.visible."},
    ("shared", "source"): {"stems.visible.": "backbone.", "stems.infrared.": "backbone."},
    ("source", "modality"): {
        "stems.visible.": "stems.visible.",
        "stems.visible_derived.": "stems.visible.",
        "stems.infrared.": "stems.infrared.",
        "stems.infrared_derived.": "stems.infrared.",
    },
    ("modality", "source"): {"stems.visible.": "stems.visible.", "stems.infrared.": "stems.infrared."},
    ("shared", "shared"): {"backbone.": "backbone."},
}


@pytest.mark.parametrize(("before", "now"), STEMS)
def test_stems_are_mapped_by_name(before, now, run_of):
    folder, tensors = run_of(f"model.stems={before}")
    made = network_of(f"model.stems={now}", f"model.weights={folder}").state_dict()
    for ours, theirs in STEMS[before, now].items():
        for rest in ("conv1.0.weight", "bn1.running_var"):
            assert torch.equal(made[f"{ours}{rest}"], tensors[f"{theirs}{rest}"])
    assert torch.equal(made["backbone.layer1.0.conv1.weight"], tensors["backbone.layer1.0.conv1.weight"])


@pytest.mark.parametrize(("before", "now"), [("color", "gray"), ("gray", "color"), ("gray", "gray")])
def test_gray_images_give_the_same_in_a_network_of_another_input(before, now, run_of):
    folder, tensors = run_of(f"model.input={before}")
    tensors["stems.infrared.conv1.0.weight"].normal_()
    save_file(tensors, folder / "model.safetensors", FACTS)
    made = network_of(f"model.input={now}", f"model.weights={folder}").state_dict()
    gray = torch.randn(1, 1, 32, 32)
    for stem in ("visible", "infrared"):
        first, second = (all_[f"stems.{stem}.conv1.0.weight"] for all_ in (tensors, made))
        images = [gray.expand(-1, kernel.shape[1], -1, -1) for kernel in (first, second)]
        torch.testing.assert_close(conv2d(images[0], first), conv2d(images[1], second), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("before", "now"),
    [([INSERT], []), ([], [INSERT]), ([INSERT], [INSERT]), ([INSERT], [INSERT, "model.stems=shared"])],
)
def test_inserts_leave_the_backbones_names(before, now, run_of):
    folder, tensors = run_of("model.stems=shared", *before)
    made = floats(network_of("model.stems=shared", *now, f"model.weights={folder}"))
    bare = {name.replace(".module.", "."): tensor for name, tensor in tensors.items()}
    for name, tensor in made.items():
        if "classifier" not in name and (".insert." not in name or before):
            assert torch.equal(tensor, bare[name.replace(".module.", ".")]), name


def test_two_inserts_at_one_place(run_of):
    two = [INSERT, "inserts.second={type: non_local, at: [layer2.0], channels: 8}"]
    folder, tensors = run_of(*two)
    made = floats(network_of(*two, f"model.weights={folder}"))
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in made.items() if "classifier" not in name)
    bare = network_of(f"model.weights={folder}").state_dict()
    assert torch.equal(bare["backbone.layer2.0.conv1.weight"], tensors["backbone.layer2.0.module.module.conv1.weight"])


def test_learned_derivations_are_taken(run_of):
    folder, tensors = run_of("derive.visible=[learned]")
    made = floats(network_of("derive.visible=[learned]", f"model.weights={folder}"))
    generators = [name for name in made if name.startswith("generators.")]
    assert generators and all(torch.equal(made[name], tensors[name]) for name in generators)


def test_heads_that_fit_are_taken(run_of, monkeypatch):
    folder, tensors = run_of("heads.parts={type: stripes, count: 2, width: 8}")
    head = "heads.parts={type: stripes, count: 2, width: 6}"
    logged = []
    monkeypatch.setattr(network.log, "info", logged.append)
    made = network_of(head, f"model.weights={folder}")
    assert torch.equal(made.state_dict()["heads.global.neck.weight"], tensors["heads.global.neck.weight"])
    assert made.state_dict()["heads.parts.necks.parts_0.neck.weight"].shape == (6,)
    total = sum("classifier" not in name for name in floats(made))
    first, second = logged
    assert first == f"model.weights: run base: {total - 12} of the {total} tensors of the network taken"
    assert second.startswith("left: of the network 12, which stay random (heads.parts.reductions.parts_0.weight, ")
    assert second.endswith("; of the run 15 (heads. 15: a classifier)")


def rename(name):
    """As the first version called tensors."""
    return name.replace("heads.global.", "")


def test_tensors_of_older_runs_have_other_names(run_of):
    folder, tensors = run_of(rename=rename)
    made = floats(network_of(f"model.weights={folder}"))
    assert torch.equal(made["heads.global.neck.running_mean"], tensors["heads.global.neck.running_mean"])


@pytest.mark.parametrize("stems", ["source", "shared"])
def test_position_embeddings_are_resampled_for_another_size(stems, run_of):
    folder, tensors = run_of(*VIT, f"model.stems={stems}")
    wide = network_of(*VIT, f"model.stems={stems}", "augment.width=32", f"model.weights={folder}")
    same = network_of(*VIT, f"model.stems={stems}", f"model.weights={folder}")
    before, made = tensors["backbone.pos_embed"], wide.state_dict()["backbone.pos_embed"]
    assert torch.equal(same.state_dict()["backbone.pos_embed"], before)
    # 32 x 16 pixels are 2 x 1 patches, 32 x 32 are 2 x 2
    assert torch.equal(made, resample_abs_pos_embed(before, [2, 2], [2, 1], num_prefix_tokens=1))
    assert wide.origin.partition(" ")[0] == "run" and wide.origin == same.origin  # the same weights


def test_the_origin_is_of_what_was_taken(run_of):
    first, second = run_of()[0], run_of(name="other")[0]
    origins = [network_of(f"model.weights={first}", seed=seed).origin for seed in (0, 1)]
    assert origins[0] == origins[1] and origins[0].startswith("run base ")
    assert network_of(f"model.weights={second}").origin.split()[2] != origins[0].split()[2]


# ---------------------------------------------------------------- what is refused


def test_a_run_of_another_backbone_is_refused(run_of):
    folder, _ = run_of("model.backbone=resnet10t")
    with pytest.raises(
        ValueError, match=r"^model\.weights: run base is not for this backbone: .* of test_resnet"
    ) as one:
        network_of(f"model.weights={folder}")
    assert "\n" not in str(one.value)


REFUSED = {
    "no weights": (["model.safetensors"], "base", r"the run isn't trained to its end: there is no model\.safetensors"),
    "no settings": (["config.yaml"], "base", r"expected a file or the folder of a finished run; found .*config\.yaml"),
    "a lone file": (["config.yaml"], "base/model.safetensors", r"is the network of a run: give the run's folder"),
    "nothing": ([], "absent", "no such file: .*absent"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_a_finished_run_is_one_line(case, run_of, tmp_path):
    gone, place, message = REFUSED[case]
    folder, _ = run_of()
    for name in gone:
        (folder / name).unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=rf"^model\.weights: .*{message}") as caught:
        network_of(f"model.weights={tmp_path / place}")
    assert "\n" not in str(caught.value)


def test_a_damaged_network_of_a_run_is_one_line(run_of):
    folder, _ = run_of()
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"^model\.weights: .*not the weights of a trained network") as caught:
        network_of(f"model.weights={folder}")
    assert "\n" not in str(caught.value)


def test_a_file_beside_a_configuration_is_a_file(tmp_path):
    (tmp_path / "config.yaml").touch()
    path = save(model().state_dict(), tmp_path / "weights.safetensors")
    assert find_weights(path).run is None
    assert network_of(f"model.weights={path}").origin.startswith("file ")
