"""Random features of a batch, and objectives over them."""

import torch

from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.losses.objective import build_objective
from pipeline.losses.term import LossContext, Rows
from pipeline.parts import LOSSES

ROWS, CLASSES, WIDTH = 24, 3, 5


def random_rows(dtype=torch.float32, rows=ROWS):
    """Rows whose modalities are scattered; labels 0 .. CLASSES - 1."""
    generator = torch.Generator().manual_seed(0)
    pooled, embedding = (torch.randn(rows, WIDTH, dtype=dtype, generator=generator) for _ in range(2))
    logits = torch.randn(rows, CLASSES, dtype=dtype, generator=generator)
    modality = torch.randint(0, 4, (rows,), generator=generator).tolist()
    parts = {"pooled": pooled, "embedding": embedding, "logits": logits}
    return Rows(parts, torch.arange(rows) % CLASSES, modality)


def objective(losses, modalities=MODALITY_NAMES, mining="global", identities=(CLASSES,), rank=0, widths=None):
    """The objective of a configuration's `losses`, for one feature called global."""
    context = LossContext(tuple(Modality.from_name(name) for name in modalities), CLASSES, widths or {"global": WIDTH})
    return build_objective(
        {name: LOSSES.options_of(term, name) for name, term in losses.items()}, context, mining, identities, rank
    )
