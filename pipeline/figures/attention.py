"""Where in a picture the network's last features are large: the norm of the map that is pooled, laid over the picture.

Not an explanation of a decision: it says which places contribute much, not what to.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from pipeline.batch import Modality
from pipeline.figures import style
from pipeline.figures.evaluated_run import EvaluatedRun, LeftOut
from pipeline.figures.labels import fit, modality_label, person_labels
from pipeline.figures.ranked_lists import PIXELS, shrink
from pipeline.figures.sheet import decode_picture
from pipeline.figures.t_sne import choose_identities
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.pictures import Pictures, open_pictures
from pipeline.models.reid import ReIDNetwork

SHOWN = (Modality.VISIBLE, Modality.INFRARED)
PEOPLE = 4  # in a row
OPACITY = 0.55

# Millimetres.
LEFT, HEAD, FOOT = 4.0, 3.6, 4.0
WIDTH, HEIGHT, GAP = 9.5, 19.0, 1.4
COLOURS = colormaps["viridis"]


def activation_norm(
    features: torch.Tensor, size: tuple[int, int], *, channels_last: bool = False, prefix_tokens: int = 0
) -> torch.Tensor:
    """(B, h, w) float32: the length of the features at each place, of images of `size` (height, width).

    `features` as for `Pooling`: (B, C, h, w), (B, h, w, C) or tokens (B, N, C), whose grid has the image's proportions.
    LeftOut where they have no places.
    """
    if features.ndim == 4:
        norm = features.float().norm(dim=3 if channels_last else 1)
    elif features.ndim == 3:
        norm = features[:, prefix_tokens:].float().norm(dim=2)
        norm = norm.reshape(len(norm), *token_grid(norm.shape[1], size))
    else:
        raise LeftOut(f"the backbone gives features of shape {tuple(features.shape)}, which have no places")
    if norm.shape[1] * norm.shape[2] == 1:
        raise LeftOut("the backbone's last map is one place only")
    return norm


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of square patches that cover an image of `size` (height, width)."""
    height = round((tokens * size[0] / size[1]) ** 0.5)
    if height < 1 or tokens % height or height * size[1] != tokens // height * size[0]:
        raise LeftOut(f"the backbone gives {tokens} tokens, which are no grid over {size[0]} x {size[1]} pixels")
    return height, tokens // height


def last_activation(network: ReIDNetwork, images: torch.Tensor, modality: Modality) -> torch.Tensor:
    """(B, h, w) float32 of images (B, 3, H, W): `activation_norm` of what the network pools."""
    pooled = []
    listening = network.pooling.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0]))
    try:
        with torch.inference_mode():
            network(images, (int(modality),) * len(images))
    finally:
        listening.remove()
    pooling = network.pooling
    return activation_norm(
        pooled[0], images.shape[2:], channels_last=pooling.channels_last, prefix_tokens=pooling.prefix_tokens
    )


def enlarge(norm: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """(B, h, w) -> (B, *size) float32, in each picture from 0 (least) to 1 (most); 0 where all places are equal."""
    large = torch.nn.functional.interpolate(norm[:, None], size, mode="bilinear")[:, 0]
    low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    return ((large - low) / (high - low).clamp_min(1e-12)).cpu().numpy()


def choose_rows(identity: np.ndarray, modality: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(2, at most `count`) places of images, drawn: a row for each modality of SHOWN, a column for each person."""
    people, generator = choose_identities(identity, modality, count, seed), np.random.default_rng(seed)
    return np.array(
        [
            [generator.choice(np.flatnonzero((identity == person) & (modality == int(wanted)))) for person in people]
            for wanted in SHOWN
        ],
        dtype=np.int64,
    )


def overlay(picture: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 and (H, W) in [0, 1] -> (H, W, 3) uint8: the picture in grey under the map in colours."""
    grey = picture.mean(axis=2, keepdims=True)
    colours = 255 * COLOURS(activation)[..., :3]
    return np.rint((1 - OPACITY) * grey + OPACITY * colours).astype(np.uint8)


def draw_attention(rows: np.ndarray, activations: np.ndarray, run: EvaluatedRun, pictures: Pictures) -> Figure:
    """rows (2, n) of the index, activations (2, n, H, W) in [0, 1]: beside each picture the map over it."""
    figure = style.new_figure(HEAD + 2 * (HEIGHT + GAP) + FOOT, layout=None)
    names, identity = person_labels(run.index), run.index["identity"].to_numpy()
    for line, modality in enumerate(SHOWN):
        top = HEAD + line * (HEIGHT + GAP)
        style.write(figure, 0.5, top + HEIGHT / 2, modality_label(modality), rotation=90, va="center")
        for column, row in enumerate(rows[line]):
            left = LEFT + column * (2 * WIDTH + GAP)
            picture = np.asarray(shrink(decode_picture(pictures, int(row))))
            for shift, shown in enumerate((picture, overlay(picture, activations[line, column]))):
                axes = style.box(figure, left + shift * WIDTH, top, WIDTH, HEIGHT)
                axes.imshow(shown, aspect="auto", interpolation="none")
            if line == 0:
                style.write(figure, left, 0.5, fit(names[int(identity[row])], 2 * WIDTH))
    draw_scale(figure, HEAD + 2 * (HEIGHT + GAP))
    return figure


def draw_scale(figure: Figure, top: float) -> None:
    """What the colours mean: the map is scaled to each picture."""
    left, width = LEFT + 2 * WIDTH + GAP, 4 * WIDTH + GAP
    scale = style.box(figure, left, top + 0.3, width, 2)
    scale.imshow(COLOURS(np.linspace(0, 1, 256))[None], aspect="auto")
    style.write(figure, left - 1, top, "least", ha="right")
    style.write(figure, left + width + 1, top, "most activation")


def attention(runs: list[EvaluatedRun], seed: int) -> dict[str, Figure]:
    """Of the same people's test images in both modalities, by the first run's network."""
    run = runs[0]
    if run.network is None:
        raise LeftOut("the pixels are compared, without a network")
    identity, modality = (run.index[name].to_numpy()[run.rows] for name in ("identity", "modality"))
    rows = run.rows[choose_rows(identity, modality, PEOPLE, seed)]
    if not rows.size:
        raise LeftOut("no test person has images of both modalities")
    pictures = open_pictures(run.settings.data.root, run.index)
    activations = []
    for wanted, own in zip(SHOWN, rows, strict=True):
        batches = evaluation_batches(pictures, own, wanted, run.settings, run.accelerator.device)
        with run.accelerator.autocast():
            norms = [last_activation(run.network, images, wanted) for images in batches]
        activations.append(enlarge(torch.cat(norms), PIXELS[::-1]))
    return {"attention": draw_attention(rows, np.stack(activations), run, pictures)}
