"""Every setting there is: its name, type, default and meaning. The defaults are the paper's recipe.

`python -m pipeline.config [CONFIG ...]` prints them with their values in a configuration.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from pipeline import parts
from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.settings_key import key


def options_of(table: parts.PartTable, value: Any, key_: str, name: str = "") -> parts.PartOptions:
    """Returns the typed options of a part, as `PartTable.options_of`; errors name the full key."""
    try:
        return table.options_of(value, name)
    except ValueError as error:
        raise parts.located(key_, error) from None


DEFAULT_NAME = "base_derivative"  # of a method that isn't named
DEFAULT_METHOD = {"type": "one_objective"}  # of a file that names a method
PAPERS_METHOD = DEFAULT_METHOD | {"source": "paper"}
DEFAULT_HEADS = {"global": {"type": "bnneck"}}
# What is spelled out here alone: modules take the names from these.
Precision = Literal["fp32", "bf16", "fp16"]
Sharing = Literal["source", "modality", "shared"]
StemDepth = Literal["convolution", "stem", "stage1", "stage2", "stage3", "stage4"]
PoolingKind = Literal["auto", "gem", "average", "token"]
LearnedDerivation = Literal["x_modality", "middle"]
Interpolation = Literal["bilinear", "bicubic"]
GalleryRule = Literal["auto", "official", "random_seed"]
ProtocolVariant = Literal["paper", "repository"]
Selection = Literal["last", "best"]
DIRECTIONS = ("visible_to_infrared", "infrared_to_visible")


@dataclass(frozen=True)
class DataSettings:
    dataset: str = key("sysu", "layout of the folder `root`: a name in pipeline.datasets")
    root: str = key("data/sysu", "folder of the data set, or of its packs (python -m pipeline.prepare --pack)")
    trial: int = key(1, "RegDB: which of its ten splits (1-10) is trained on and tested on", min=1, max=10)
    train_splits: list[str] = key(
        ["train", "val"], "splits trained on, those that exist (SYSU-MM01: also [train])", choices=("train", "val")
    )
    test_split: Literal["test", "val", "validation"] = key(
        "test", "split evaluated on; val where there is one, validation: the identities held out of the training"
    )
    test_fraction: float = key(0.5, "folder: share of the identities kept for testing, 0-1", min=0, max=1)
    split_seed: int = key(0, "folder: seed of that division", min=0)
    split_file: str | None = key(
        None, "folder: CSV with the columns identity,split, e.g. a run's split.csv; null: the manifest's, or sampled"
    )


@dataclass(frozen=True)
class BatchSettings:
    ids_per_batch: int = key(8, "identities in a global batch, P of PK sampling (all ranks together)", min=2)
    images_per_modality: int = key(4, "captured images of an identity in a batch, per captured modality (K)", min=1)
    modalities: list[str] = key(
        list(MODALITY_NAMES), "modalities trained on, captured and derived", choices=MODALITY_NAMES
    )
    repeat_images: bool = key(True, "sample an image twice where an identity has too few (false: an error)")

    @property
    def rows(self) -> int:
        """Rows of a global batch: images of all modalities, the derived ones included."""
        return self.ids_per_batch * self.images_per_modality * len(self.modalities)


def check_area(group: str, area: tuple[float, float] | None) -> None:
    """Raises ValueError naming the key where the smallest share isn't the first."""
    if area is not None and area[0] > area[1]:
        raise ValueError(f"{group}.random_erasing_area: expected the smallest share first; found {list(area)}")


@dataclass(frozen=True)
class ModalityAugmentSettings:
    """What one modality has of its own; null: as all."""

    hflip_prob: float | None = key(None, "as augment.hflip_prob", min=0, max=1)
    random_erasing_prob: float | None = key(None, "as augment.random_erasing_prob", min=0, max=1)
    random_erasing_area: tuple[float, float] | None = key(None, "as augment.random_erasing_area", min=0, max=1)
    random_erasing_aspect: float | None = key(None, "as augment.random_erasing_aspect", min=0.01, max=1)
    random_erasing_fill: tuple[float, float, float] | None = key(None, "as augment.random_erasing_fill")


@dataclass(frozen=True)
class AugmentSettings:
    height: int = key(288, "pixels, of the network's input", min=16)
    width: int = key(144, "pixels, of the network's input", min=16)
    pad: int = key(10, "pixels added on each side before the random crop", min=0)
    pad_fill: int = key(0, "level of these pixels, 0 (black) to 255", min=0, max=255)
    hflip_prob: float = key(0.5, "probability of a horizontal flip", min=0, max=1)
    random_erasing_prob: float = key(0.0, "probability of random erasing (Zhong et al., AAAI 2020)", min=0, max=1)
    random_erasing_area: tuple[float, float] = key(
        (0.02, 0.4), "erased share of the image, smallest and largest", min=0, max=1
    )
    random_erasing_aspect: float = key(
        0.3, "smallest height / width of the erased box; the largest is its inverse", min=0.01, max=1
    )
    random_erasing_fill: tuple[float, float, float] = key(
        (0.0, 0.0, 0.0), "of the erased box in each channel, after normalization; to half a level of 256"
    )
    visible: list[str] = key(
        [],
        "what captured visible images go through in training, in the words of derive.visible: [gray:0.5]; their "
        "derivative is made of the image itself",
    )
    infrared: list[str] = key([], "what captured infrared images go through, likewise")
    modalities: dict[str, ModalityAugmentSettings] = key(
        {}, "flip and erasing of single modalities, where they differ: {infrared: {random_erasing_prob: 0.5}}"
    )
    interpolation: Interpolation = key(
        "bilinear", "of resized images; timm's evaluation of many weights uses bicubic, which changes little here"
    )
    mean: tuple[float, float, float] | None = key(
        None,
        "of red, green and blue, 0-1, for normalization; null: what timm names for the backbone's tag, or that of the "
        "run whose weights it starts from",
        min=0,
        max=1,
    )
    std: tuple[float, float, float] | None = key(None, "standard deviation, likewise", min=0.001)
    derivative_geometry: Literal["own", "shared"] = key(
        "own", "whether a derivative samples its own crop, flip and erasing or shares its base image's"
    )

    def __post_init__(self) -> None:
        for name, own in self.modalities.items():
            if name not in MODALITY_NAMES:
                raise ValueError(f"augment.modalities: expected some of {', '.join(MODALITY_NAMES)}; found {name!r}")
            given = any(value is not None for value in vars(own).values())
            if given and self.derivative_geometry == "shared" and Modality.from_name(name).is_derived:
                base = Modality.from_name(name).base.key
                raise ValueError(
                    f"augment.modalities: with derivative_geometry=shared {name} is as {base}; set {base} instead"
                )
            check_area(f"augment.modalities.{name}", own.random_erasing_area)
        check_area("augment", self.random_erasing_area)

    def whole(self) -> AugmentSettings:
        """Returns what leaves images whole and their colors true: flips alone."""
        return dataclasses.replace(self, pad=0, random_erasing_prob=0.0, visible=[], infrared=[], modalities={})

    def of(self, modality: Modality) -> AugmentSettings:
        """Returns what holds for the images of one modality; a derivative that shares a geometry has its base's."""
        source = modality.base if self.derivative_geometry == "shared" else modality
        own = self.modalities.get(source.key)
        given = {} if own is None else {name: value for name, value in vars(own).items() if value is not None}
        return dataclasses.replace(self, **given)


@dataclass(frozen=True)
class DeriveSettings:
    visible: list[str] = key(
        ["gray"],
        "how visible_derived is made: derivations of docs/derivations.md one after the other, each with a probability "
        "if you like ([weighted_gray, gamma:0.5]), or learned; what stands behind the word normalize acts on the "
        "normalized image, after crop, flip and erasing ([normalize, random_channel])",
    )
    infrared: list[str] = key(["spectrum"], "how infrared_derived is made, likewise")
    learned: LearnedDerivation = key(
        "x_modality", "what learned makes: XIV's X modality, or MMN's middle ones, which share a decoder"
    )
    mixing: Literal["none", "cutmix", "patches"] = key(
        "none", "let a box (cutmix) or squares (patches) of the captured image show through in its derivative"
    )
    mixing_probability: float = key(0.5, "of the derived images that are mixed", min=0, max=1)


@dataclass(frozen=True)
class LoaderSettings:
    device: Literal["auto", "cpu"] = key("auto", "where images are augmented: on the GPU that trains, or on the CPU")
    decode: Literal["auto", "cpu", "mixed"] = key(
        "auto",
        "auto: on the CPU (cpu), which gives the same pixels next to every GPU and rejects truncated images; "
        "mixed: JPEGs on the GPU, where neither is sure, for ranks with one or two cores",
    )
    image_type: Literal["float32", "float16", "bfloat16"] = key(
        "float32", "of the images handed out; the shorter ones halve their memory and are for GPUs"
    )
    threads: int | None = key(None, "CPU threads of a rank's loader; null: the cores it may use", min=1)
    prefetch: int = key(3, "batches prepared ahead, by each core that augments images", min=1)
    on_corrupt_image: Literal["error", "replace"] = key(
        "error",
        "a training image that can't be decoded stops the run (error), or another of the same identity and modality "
        "takes its place and is counted (replace)",
    )


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


@dataclass(frozen=True)
class EvaluationSettings:
    extractor: Literal["network", "pixels"] = key("network", "pixels: the gray image itself, a baseline")
    feature: Literal["embedding", "pooled", "both"] = key(
        "embedding", "after or before the BN neck; both: side by side, each of unit length"
    )
    similarity: Literal["whole", "summed"] = key(
        "whole",
        "of all features of a network (heads, stripes) side by side; summed: the sum of those of each one, all of unit "
        "length",
    )
    metric: Literal["cosine", "euclidean", "dot"] = key(
        "cosine", "distance between features; dot: their negative inner product, so that their lengths count"
    )
    flip: bool = key(
        False,
        "average the features of an image and its mirror image; with similarity=summed each of unit length before, so "
        "that metric=dot sums the similarities of all their pairs",
    )
    stems: Literal["own", "mean"] = key(
        "own",
        "stems that an image goes through: that of its modality, or with model.stems=modality the mean of that and of "
        "its derivative's",
    )
    fusion: Literal["none", "mean", "concatenate"] = key(
        "none", "join the features of an image and of its derivative, each of unit length"
    )
    projection: Literal["none", "hcml"] = key(
        "none",
        "hcml: features go through matrices, one per modality, learned from the features of the training images after "
        "the training (Ye et al., AAAI 2018)",
    )
    re_ranking: Literal["none", "k_reciprocal", "aim"] = key(
        "none",
        "k_reciprocal: distances by common nearest neighbours (Zhong et al., CVPR 2017); aim: with the similarity of "
        "similarities to the gallery (Fang et al., ICCV 2023)",
    )
    re_ranking_k1: int = key(20, "k_reciprocal: nearest neighbours that must be mutual", min=1)
    re_ranking_k2: int = key(6, "k_reciprocal: nearest neighbours averaged over; 1: none", min=1)
    re_ranking_weight: float = key(
        0.3, "k_reciprocal: share of the original distance (lambda), 0-1; 1: it alone", min=0, max=1
    )
    aim_k1: int = key(4, "aim: gallery images of which an image's similarities count", min=1)
    aim_k2: int = key(1, "aim: of these, those whose similarities a gallery image's own are averaged over", min=1)
    corruption: str = key(
        "none",
        "of the test images (Chen et al., NeurIPS 2021): one of 20 kinds, e.g. fog (docs/evaluation.md); random: drawn "
        "for each image; all: none, random and every kind, one after the other",
    )
    corruption_level: int | None = key(None, "from 1 to 5; null: drawn for each image", min=1, max=5)
    corrupted: list[str] = key(
        ["visible"], "modalities whose test images are corrupted", choices=("visible", "infrared")
    )
    batch: int = key(128, "images of a rank at a time", min=1)
    trials: int = key(10, "random galleries (SYSU-MM01, LLCM)", min=1, max=10)
    modes: list[str] = key(["all", "indoor"], "SYSU-MM01: all and/or indoor search", choices=("all", "indoor"))
    shots: list[str] = key(["single"], "SYSU-MM01: single and/or multi", choices=("single", "multi"))
    gallery_rule: GalleryRule = key(
        "auto", "SYSU-MM01: official rand_perm_cam.mat or Python's random.seed(trial); auto: official where it is there"
    )
    directions: list[str] = key(list(DIRECTIONS), "query to gallery, for RegDB, LLCM and folder", choices=DIRECTIONS)
    protocol_variant: ProtocolVariant = key("paper", "LLCM: which of its two protocols visible -> infrared")


@dataclass(frozen=True)
class Settings:
    """Everything. Parts (`pipeline.parts`) are given as mappings and kept as the typed options of each; one that is
    None is left out. Raises ValueError naming the key where a mapping isn't one of a part."""

    name: str | None = key(None, "name of the run; null: from the configuration files, RegDB's trial and the seed")
    output: str = key("runs", "folder of the run folders")
    seed: int = key(0, "of the batches, the augmentation and the initial weights; 0 or more", min=0)
    method: Any = key(PAPERS_METHOD, "what is trained and how its parts work together", part="METHODS")
    data: DataSettings = key(DataSettings, "the data set")
    batch: BatchSettings = key(BatchSettings, "what a global batch holds")
    augment: AugmentSettings = key(AugmentSettings, "pixels")
    derive: DeriveSettings = key(DeriveSettings, "the derivative modalities")
    loader: LoaderSettings = key(LoaderSettings, "speed and place of the loading")
    model: ModelSettings = key(ModelSettings, "the network")
    inserts: dict[str, Any] = key({}, "modules put into the backbone, by name", parts="INSERTS")
    heads: dict[str, Any] = key(DEFAULT_HEADS, "from the backbone's map to features, by name", parts="HEADS")
    losses: dict[str, Any] = key(
        {"identity": {}, "intra": {}, "cross": {}},
        "terms of the loss, by name; the type is the name unless it is given",
        parts="LOSSES",
    )
    optimizer: OptimizerSettings = key(OptimizerSettings, "minimization of the loss")
    train: TrainSettings = key(TrainSettings, "the course of the training")
    validation: ValidationSettings = key(ValidationSettings, "tests on held-out identities during the training")
    evaluation: EvaluationSettings = key(EvaluationSettings, "the test")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata["parts"]:
                table, found = getattr(parts, field.metadata["parts"]), value.items()
                named = {name: part for name, part in found if part is not None}
                typed = {name: options_of(table, part, f"{field.name}.{name}", name) for name, part in named.items()}
                object.__setattr__(self, field.name, typed)
            elif field.metadata["part"]:
                options = options_of(getattr(parts, field.metadata["part"]), value, field.name)
                object.__setattr__(self, field.name, options)
