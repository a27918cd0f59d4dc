"""Files whose tensors are called as the backbone's, behind any prefix, or as timm can convert them."""

import pytest
import timm
import torch

from tests.models.weights.files import assert_equal_weights, load, model, save, shuffled


@pytest.fixture(scope="module")
def source():
    return shuffled(model(classes=5))


@pytest.fixture(scope="module")
def state(source):
    return source.state_dict()


def behind(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def other(state):
    return {name: tensor + 1 for name, tensor in state.items()}


def without_head(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


HEAD = {"heads.weight": torch.zeros(3, 2), "heads.bottleneck.weight": torch.zeros(2)}
# How projects wrap a backbone, and the prefix that is found
WRAPPED = {
    "timm": (lambda state: state, ""),
    "DataParallel": (lambda state: {"epoch": 3, "state_dict": behind("module.", state)}, "state_dict.module."),
    "MoCo": (
        lambda state: {
            "arch": "resnet50",
            "state_dict": behind("module.encoder_q.", state)
            | behind("module.encoder_k.", other(state))
            | {"module.queue": torch.zeros(4, 8)},
        },
        "state_dict.module.encoder_q.",
    ),
    "DINO": (
        lambda state: {
            "student": behind("module.backbone.", other(state)) | {"module.head.mlp.0.weight": torch.zeros(2, 2)},
            "teacher": behind("backbone.", state) | {"head.mlp.0.weight": torch.zeros(2, 2)},
        },
        "teacher.backbone.",
    ),
    "timm with an average": (
        lambda state: {"state_dict": other(state), "state_dict_ema": state, "optimizer": {"state": {}}},
        "state_dict_ema.",
    ),
    "compiled": (lambda state: {"model": behind("_orig_mod.", state)}, "model._orig_mod."),
    "fast-reid": (lambda state: {"model": behind("backbone.", without_head(state)) | HEAD}, "model.backbone."),
    "Bag of Tricks": (lambda state: behind("base.", state) | {"bottleneck.weight": torch.zeros(3)}, "base."),
    "Lightning": (
        lambda state: {"state_dict": behind("model.encoder.", state), "hyper_parameters": {"lr": 0.1}, "loops": {}},
        "state_dict.model.encoder.",
    ),
    "net and optimizer": (
        lambda state: {
            "net": state,
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        },
        "net.",
    ),
    "three mappings deep": (
        lambda state: {"checkpoint": {"model_state": {"backbone": state}}},
        "checkpoint.model_state.backbone.",
    ),
}


@pytest.mark.parametrize("project", WRAPPED)
def test_the_prefix_of_a_project_is_found(project, source, state, tmp_path):
    wrap, prefix = WRAPPED[project]
    backbone = model()
    taken = load(backbone, save(wrap(state), tmp_path / "weights.pth.tar"))
    assert_equal_weights(backbone, source)
    assert taken.prefix == prefix and not taken.left and not taken.by_order


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_round_trip_of_a_classifier(tmp_path, name, suffix):
    source, backbone = shuffled(model(name, classes=5)), model(name)
    load(backbone, save(source.state_dict(), tmp_path / f"weights{suffix}"))
    assert_equal_weights(backbone, source)


def test_batch_norm_counters_may_be_missing(tmp_path, source, state):
    few = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    backbone = model()
    load(backbone, save(few, tmp_path / "weights.safetensors"))
    assert_equal_weights(backbone, source)


def test_half_precision_is_taken_as_float32(tmp_path, state):
    backbone = model()
    load(backbone, save({name: tensor.half() for name, tensor in state.items()}, tmp_path / "weights.safetensors"))
    assert backbone.conv1[0].weight.dtype == torch.float32
    assert torch.equal(backbone.conv1[0].weight, state["conv1.0.weight"].half().float())


# ---------------------------------------------------------------- names that timm converts


def test_names_of_convnexts_authors_are_converted(tmp_path):
    source, backbone = shuffled(model("test_convnext", classes=5)), model("test_convnext")
    state = {}
    for key, tensor in source.state_dict().items():
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        key = key.replace("stem.", "downsample_layers.0.").replace("head.norm", "norm").replace("head.fc", "head")
        for stage in (1, 2, 3):
            key = key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        state[key] = tensor
    load(backbone, save({"model": state}, tmp_path / "weights.pth"))
    assert_equal_weights(backbone, source)


CLIP = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}
CLIP_NAMES = {
    "patch_embed.proj": "conv1",
    "pos_embed": "positional_embedding",
    "cls_token": "class_embedding",
    "norm_pre": "ln_pre",
    ".norm1": ".ln_1",
    ".norm2": ".ln_2",
    "attn.qkv.": "attn.in_proj_",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "blocks.": "transformer.resblocks.",
}


@pytest.mark.parametrize("encoder", ["visual.", "module.visual.", "image_encoder."])
def test_clips_image_encoder_is_converted_and_its_text_encoder_is_left(tmp_path, encoder):
    source = shuffled(model("vit_base_patch16_clip_quickgelu_224", **CLIP))
    state = {"token_embedding.weight": torch.zeros(7, 3), "logit_scale": torch.zeros(())}
    for name, tensor in source.state_dict().items():
        for ours, theirs in CLIP_NAMES.items():
            name = name.replace(ours, theirs)
        name = name.replace("norm.", "ln_post.") if name.startswith("norm.") else name
        name = f"{encoder}{name}"
        state[name] = tensor[0, 0] if "class_emb" in name else tensor[0] if "positional" in name else tensor
    backbone = model("vit_base_patch16_clip_quickgelu_224", **CLIP)
    taken = load(backbone, save({"state_dict": state}, tmp_path / "clip.pt"))
    assert_equal_weights(backbone, source)
    assert sorted(taken.left_behind) == ["state_dict.logit_scale", "state_dict.token_embedding.weight"]


def test_registers_of_dinov2_are_converted(tmp_path):
    """The authors' file has a place for the class token, which timm adds to the token; both have the same names."""
    small = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 28}
    source, backbone = (model("vit_small_patch14_reg4_dinov2", **small) for _ in range(2))
    state = shuffled(source).state_dict()
    place = torch.rand(1, 1, 32)
    names = {"reg_token": "register_tokens"}
    given = {names.get(name, name): tensor for name, tensor in state.items()}
    given |= {"pos_embed": torch.cat([place, state["pos_embed"]], 1), "mask_token": torch.zeros(1, 32)}
    load(backbone, save({"teacher": behind("backbone.", given)}, tmp_path / "dinov2.pth"))
    assert_equal_weights(backbone, source, skip=["cls_token"])
    assert torch.equal(backbone.cls_token, state["cls_token"] + place)


def test_position_embedding_is_resized(tmp_path):
    source, backbone = model("test_vit", img_size=(64, 64)), model("test_vit", img_size=(64, 32))
    assert source.pos_embed.shape != backbone.pos_embed.shape
    taken = load(backbone, save(source.state_dict(), tmp_path / "weights.pth"))
    assert_equal_weights(backbone, source, skip=["pos_embed"])
    prefix = backbone.num_prefix_tokens if not backbone.no_embed_class else 0
    assert torch.equal(backbone.pos_embed[:, :prefix], source.pos_embed[:, :prefix])
    assert not taken.left and not taken.left_behind


def test_a_last_norm_behind_timms_pooling_is_the_one_before_ours(tmp_path):
    """EVA-02's and BEiT's, as timm keeps them."""
    whole = shuffled(timm.create_model("eva02_tiny_patch14_224", depth=1, num_classes=0))
    assert "fc_norm.weight" in whole.state_dict()
    torch.save(whole.state_dict(), tmp_path / "eva.pth")
    own = model("eva02_tiny_patch14_224", depth=1)
    taken = load(own, tmp_path / "eva.pth")
    assert taken.left == [] and torch.equal(own.norm.weight, whole.fc_norm.weight)
