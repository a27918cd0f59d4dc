"""Settings of the network and of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.settings_key import key

Precision = Literal["fp32", "bf16", "fp16"]
Sharing = Literal["source", "modality", "shared"]
StemDepth = Literal["convolution", "stem", "stage1", "stage2", "stage3", "stage4"]
PoolingKind = Literal["auto", "gem", "average", "token"]
Selection = Literal["last", "best"]


@dataclass(frozen=True)
class ModelSettings:
    backbone: str = key("resnet50.tv_in1k", "any timm model; the tag behind the dot names its weights")
    pretrained: bool = key(True, "start from timm's ImageNet weights (downloaded once by timm)")
    weights: str | None = key(None, "start from this file of weights, or the folder of a finished run, instead")
    stems: Sharing = key(
        "source", "first layers: one per captured modality and its derivative, one per modality, or one for all"
    )
    stem_depth: StemDepth = key(
        "stem",
        "what of the backbone separate first layers are: its first convolution alone, without its norm; its stem; or "
        "also its stages up to that one (stage4 of a ResNet: a whole trunk for each)",
    )
    input: Literal["color", "gray"] = key(
        "color", "gray: the network sees one channel, 0.299 R + 0.587 G + 0.114 B of the normalized image"
    )
    last_stride: int = key(1, "stride of the last stage, 1 or 2 (docs/training.md: of which families)", min=1, max=2)
    last_stage: int | None = key(
        None, "number of the last stage of a ResNet or RegNet that is kept, 1-4; null: of all its stages", min=1, max=4
    )
    patch_stride: int | None = key(
        None, "pixels from a plain transformer's patch to the next, fewer if they overlap; null: a patch's side", min=1
    )
    ibn: Literal["none", "a"] = key("none", "a: instance norm in half of the first norms of a ResNet's stages 1 to 3")
    drop_path: float = key(0.0, "probability that a block is skipped in training (stochastic depth)", min=0, max=0.99)
    kwargs: dict[str, Any] = key({}, "further keyword arguments of timm.create_model, such as {depths: [2, 2, 6, 2]}")
    grad_checkpointing: bool = key(False, "compute activations again in the backward pass: less memory, same weights")
    pooling: PoolingKind = key(
        "auto",
        "over the image: gem (generalized mean), average, or the class token; auto: gem behind a ReLU, else the class "
        "token where timm's model pools by it, else average",
    )
    pool_power: float = key(3.0, "power of the generalized mean, or where it starts", min=0.1)
    pool_power_trained: bool = key(False, "learn that power")


@dataclass(frozen=True)
class OptimizerSettings:
    name: str = key(
        "sgd", "sgd (with Nesterov momentum), adam, adamw, or any other name in timm.optim.list_optimizers()"
    )
    lr: float = key(0.1, "learning rate of the BN neck and the classifier", min=0)
    backbone_lr_mult: float = key(0.1, "learning rate of all the rest, as a factor of lr", min=0)
    heads_lr_mult: float = key(1.0, "learning rate of the BN neck and the classifier, as a factor of lr", min=0)
    derivation_lr_mult: float | None = key(
        None,
        "learning rate of learned derivations, as a factor of lr, without weight decay; null: as the backbone",
        min=0,
    )
    layer_decay: float = key(
        1.0,
        "learning rate of each layer of the backbone, as a factor of the next one's (BEiT); 1: all learn alike",
        min=0.01,
        max=1,
    )
    momentum: float = key(0.9, "of SGD, and of others that have one", min=0, max=1)
    weight_decay: float = key(5e-4, "L2 for sgd and adam, decoupled for adamw", min=0)
    decay_norm_bias: bool = key(
        True, "decay norm scales, biases and other one-dimensional parameters, position embeddings and class tokens too"
    )
    kwargs: dict[str, Any] = key(
        {}, "further arguments of the optimizer, by name: {betas: [0.9, 0.99]}; a file that gives `name` starts without"
    )
    schedule: Literal["step", "cosine"] = key("step", "after the warm-up")
    schedule_unit: Literal["epochs", "share"] = key(
        "epochs", "of warmup and milestones: epochs, or shares of train.epochs, 0-1"
    )
    warmup: float = key(10.0, "length of the linear warm-up", min=0)
    warmup_start: float = key(0.1, "share of the learning rate that the warm-up begins with", min=0, max=1)
    milestones: list[float] = key([20.0, 50.0], "step: where the rate is multiplied by lr_decay", min=0)
    lr_decay: float = key(
        0.1, "step: factor at each milestone; cosine: last rate as a factor of the first, 0-1", min=0, max=1
    )
    clip_grad_norm: float | None = key(None, "largest norm of the gradient; null: no clipping", min=0)


@dataclass(frozen=True)
class TrainSettings:
    epochs: int = key(80, "length of the training", min=1)
    steps_per_epoch: int | None = key(None, "optimizer steps; null: until the larger modality was sampled once", min=1)
    grad_accum_steps: int = key(1, "global batches per optimizer step", min=1)
    precision: Precision | None = key(None, "null: what `accelerate launch` says, else fp32")
    norm: Literal["auto", "local", "frozen"] = key(
        "auto",
        "batch norm statistics: of the rows of all ranks (auto), of each rank's own (local: another method on every "
        "number of ranks), or the backbone keeps its initial ones (frozen)",
    )
    freeze_backbone_epochs: float = key(
        0.0, "first epochs in which the backbone and the stems stand still and only new layers learn", min=0
    )
    tf32: bool = key(True, "fp32 on GPUs: convolutions round to TF32's 10 bits, as PyTorch's do (tests never round)")
    ema: float = key(
        0.0, "decay of a moving average of the weights, which is then the tested model; 0: off", min=0, max=1
    )
    channels_last: bool = key(True, "memory layout of images and weights")
    compile: bool = key(False, "torch.compile the network")
    resume: Literal["auto", "never"] = key("auto", "auto: resume from the newest checkpoint of the run folder")
    checkpoint_steps: int | None = key(None, "optimizer steps between checkpoints; null: an epoch", min=1)
    keep_checkpoints: int = key(2, "newest checkpoints kept", min=1)
    log_steps: int = key(50, "optimizer steps between rows of metrics.csv", min=1)
    image_steps: int | None = key(
        None,
        "optimizer steps between sheets of the images that a method makes, in images/ of the run; null: a twentieth of "
        "the training",
        min=1,
    )
    trackers: list[str] = key(
        [], "also log to: tensorboard, wandb (Accelerate's trackers)", choices=("tensorboard", "wandb")
    )
    wandb_project: str = key("vireid", "project of Weights & Biases that runs are put into")


@dataclass(frozen=True)
class ValidationSettings:
    every_epochs: int | None = key(None, "epochs between validations; the last step is followed by one, too", min=1)
    identities: float = key(
        0.0,
        "share of the training identities that are held out for it, 0-1; 0: those of a split file's or manifest's "
        "split validation, else the data set's own split val, which data.train_splits must then leave out",
        min=0,
        max=1,
    )
    seed: int = key(0, "of the choice of these identities", min=0)
    selection: Selection = key("last", "weights that are tested: of the last step, or of the best validation")
    patience: int | None = key(None, "validations without improvement that end the training; null: none do", min=1)
    metric: Literal["mAP", "rank_1", "mINP"] = key("mAP", "what is better: the mean over the trials of a validation")
