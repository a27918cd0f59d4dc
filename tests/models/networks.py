"""Small networks from random weights."""

import torch

from pipeline.batch import Modality
from pipeline.models.backbone import create_backbone
from pipeline.models.inserts import put_inserts
from pipeline.models.pooling import pooling_for
from pipeline.models.reid import ReIDNetwork
from pipeline.parts import HEADS, INSERTS


def make_network(
    backbone="resnet10t",
    height=64,
    width=32,
    last_stride=2,
    pooling="auto",
    heads=None,
    inserts=None,
    asked=None,
    **changes,
):
    """A ReIDNetwork of all modalities and 6 identities, with one head unless `heads`, mappings by name, say more, as do
    `inserts`.

    asked: more arguments of `create_backbone`.
    """
    torch.manual_seed(0)
    made = create_backbone(
        backbone, height=height, width=width, pretrained=False, weights=None, last_stride=last_stride, **asked or {}
    )
    named = {name: INSERTS.options_of(insert, name) for name, insert in (inserts or {}).items()}
    put_inserts(made, named, height, width)
    keywords = {
        "modalities": tuple(Modality),
        "stems": "source",
        "identities": 6,
        "heads": {name: HEADS.options_of(head) for name, head in (heads or {"global": {"type": "bnneck"}}).items()},
        "pooling": pooling_for(made, pooling, 3.0),
    }
    return ReIDNetwork(backbone=made, **keywords | changes)
