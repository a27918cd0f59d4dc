"""What tests of games share: small settings, and batches made by hand."""

from pathlib import Path

import torch

from pipeline.batch import Batch
from pipeline.config import load_config
from pipeline.methods.game import Game
from pipeline.methods.method import Share, method_of
from pipeline.methods.players import Players

IDENTITIES = 6
FILES = sorted(Path("configs/methods").glob("*.yaml"))
# name of a shipped game -> what makes it small, behind configs/small.yaml
SIZES = {
    "aligngan": [
        *("method.width=4", "method.blocks=1", "method.depth=4"),
        *(f"method.{key}=null" for key in ("image_batch.height", "image_batch.width", "reid_height", "reid_width")),
    ],
    "hicmd": [
        *("batch.ids_per_batch=6", "batch.images_per_modality=1", "method.dilations=[1,2,3]", "method.width=4"),
        *("method.blocks=1", "method.embedding=16", "method.triplet_width=16"),
    ],
    "d2rl": ["method.width=4", "method.blocks=1", "method.scales=2"],
    "jsia": [
        *("method.image_batch.height=64", "method.image_batch.width=32", "method.image_batch.ids_per_batch=4"),
        *(f"method.generator.{size}" for size in ("ups=2", "width=8", "style=16", "hidden=32", "blocks=1")),
        *("method.discriminator.width=8", "method.discriminator.depth=3"),
    ],
}
# name of another shipped method -> what of it has no place in the map of an image of 64x32
SMALLER = {
    "hct": ["heads.parts.count=4", "losses.identity.weight=4", "losses.stripes.weight=4"],
}
# what of it draws random numbers, which differ between ranks
WITHOUT_CHANCE = {
    "aligngan": ["method.dropout=0"],
    "hicmd": ["method.dropout=0", "augment.random_erasing_prob=0"],
    "d2rl": ["method.noise=0"],
    "jsia": [],
}
SMALL = ["model.backbone=resnet10t", "model.pretrained=false", "augment.height=64", "augment.width=32"]


def files_of_one_objective():
    """Returns the shipped methods' files without those of games."""
    return [file for file in FILES if not issubclass(method_of(load_config([str(file)])), Game)]


def stages_of(name):
    """Returns the number of stages of a shipped game."""
    return len(load_config([f"configs/methods/{name}.yaml"]).method.stages)


def short_training(name, people, output, steps=2):
    """Returns the arguments of a training of a shipped game with so many steps of each stage."""
    files, stages = ["configs/folder.yaml", f"configs/methods/{name}.yaml", "configs/small.yaml"], stages_of(name)
    return [
        *(*files, f"method.stages={[1.0] * stages}", f"data.root={people}", f"output={output}", "loader.threads=1"),
        *("batch.ids_per_batch=4", "batch.images_per_modality=2", "optimizer.warmup=0", "optimizer.lr=0.001"),
        *("train.epochs=1", f"train.steps_per_epoch={steps * stages}", "train.log_steps=1", *SIZES[name]),
    ]


def small_settings(name, *overrides):
    settings = load_config([f"configs/methods/{name}.yaml", *SMALL, *overrides])
    return method_of(settings).resolved(settings)


def new_game(settings, seed=0) -> Game:
    """Returns the untrained game in float64, in training mode."""
    torch.manual_seed(seed)
    ids = settings.batch.ids_per_batch
    return method_of(settings).build(settings, IDENTITIES, Share(0, (ids,)), weights=False).double().train()


def players_of(game, settings):
    players = Players(game.players(settings), settings.optimizer.clip_grad_norm)
    players.begin()
    return players


def random_batch(seed, identities=3, images=2, size=(64, 32)) -> Batch:
    """Returns a batch of both modalities, whose rows are aligned by identity; infrared images are gray."""
    torch.manual_seed(seed)
    count = identities * images
    labels = torch.randperm(IDENTITIES)[:identities].repeat_interleave(images)
    visible = torch.randn(count, 3, *size)
    infrared = torch.randn(count, 1, *size).expand(-1, 3, -1, -1)
    twice = labels.repeat(2)
    return Batch(torch.cat([visible, infrared]), twice, twice, twice, (0,) * count + (1,) * count, twice)


def play(game, name, batches, settings):
    """Plays one step of the stage of that name; returns what it reports."""
    players = players_of(game, settings)
    (stage,) = [stage for stage in game.stages() if stage.name == name]
    parts = stage.play({stream: batches[stream] for stream in stage.streams}, players)
    players.end()
    return parts


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    """Returns the first words of the names of what isn't equal, to the bit, to the weights before; buffers aside."""
    trained = {name for name, _ in module.named_parameters()}
    return {
        name.split(".")[0]
        for name, value in module.state_dict().items()
        if name in trained and not torch.equal(value, before[name])
    }
