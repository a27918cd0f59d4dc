"""Where in an image the network's last features are large: the norm of the map that is pooled, laid over the image.

It doesn't explain a decision: it shows which places contribute much, not to what.
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
from pipeline.figures.sheet import decode_image
from pipeline.figures.t_sne import choose_identities
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.images import ImageSource, open_images
from pipeline.models.reid import ReIDNetwork

SHOWN = (Modality.VISIBLE, Modality.INFRARED)
PEOPLE = 4  # in a row
OPACITY = 0.55

# Millimetres.
LEFT, HEAD, FOOT = 4.0, 3.6, 4.0
WIDTH, HEIGHT, GAP = 9.5, 19.0, 1.4
COLORS = colormaps["viridis"]


def activation_norm(
    features: torch.Tensor,
    size: tuple[int, int],
    *,
    channels_last: bool = False,
    prefix_tokens: int = 0,
    grid: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Returns (B, h, w) float32: the length of the features at each place, of images of `size` (height, width).

    `features` as for `Pooling`: (B, C, h, w), (B, h, w, C) or tokens (B, N, C), of `grid` or the image's proportions.
    Raises LeftOut where they have no places.
    """
    if features.ndim == 4:
        norm = features.float().norm(dim=3 if channels_last else 1)
    elif features.ndim == 3:
        norm = features[:, prefix_tokens:].float().norm(dim=2)
        norm = norm.reshape(len(norm), *token_grid(norm.shape[1], size, grid))
    else:
        raise LeftOut(f"the backbone gives features of shape {tuple(features.shape)}, which have no places")
    if norm.shape[1] * norm.shape[2] == 1:
        raise LeftOut("the backbone's last map is one place only")
    return norm


def token_grid(tokens: int, size: tuple[int, int], known: tuple[int, int] | None = None) -> tuple[int, int]:
    """Returns (rows, columns) of so many patches: those `known` if they fit, or squares that cover an image of `size`
    (height, width)."""
    if known and known[0] * known[1] == tokens:
        return known
    height = round((tokens * size[0] / size[1]) ** 0.5)
    if height < 1 or tokens % height or height * size[1] != tokens // height * size[0]:
        raise LeftOut(f"the backbone gives {tokens} tokens, which are no grid over {size[0]} x {size[1]} pixels")
    return height, tokens // height


def last_activation(network: ReIDNetwork, images: torch.Tensor, modality: Modality) -> torch.Tensor:
    """Returns (B, h, w) float32 of images (B, 3, H, W): `activation_norm` of the map that the network's heads are
    given, of an image's first version where it makes several."""
    maps: list[torch.Tensor] = []
    head = next(iter(network.heads.values()))
    listening = head.register_forward_pre_hook(lambda module, inputs: maps.append(inputs[0]))
    try:
        with torch.inference_mode():
            network(images, (int(modality),) * len(images))
    finally:
        listening.remove()
    pooling = network.pooling
    height, width = images.shape[2:]
    return activation_norm(
        maps[0][: len(images)],
        (height, width),
        channels_last=pooling.channels_last,
        prefix_tokens=pooling.prefix_tokens,
        grid=network.backbone.token_grid,
    )


def enlarge(norm: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Returns (B, h, w) as (B, *size) float32, in each image from 0 (smallest) to 1 (largest); 0 if all are equal."""
    large = torch.nn.functional.interpolate(norm[:, None], size, mode="bilinear")[:, 0]
    low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    return ((large - low) / (high - low).clamp_min(1e-12)).cpu().numpy()


def choose_rows(identity: np.ndarray, modality: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns (2, at most `count`) places of sampled images: a row for each modality of SHOWN, a column a person."""
    people, generator = choose_identities(identity, modality, count, seed), np.random.default_rng(seed)
    return np.array(
        [
            [generator.choice(np.flatnonzero((identity == person) & (modality == int(wanted)))) for person in people]
            for wanted in SHOWN
        ],
        dtype=np.int64,
    )


def overlay(image: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Returns (H, W, 3) uint8 of an image (H, W, 3) uint8 and (H, W) in [0, 1]: in gray under the map in colors."""
    gray = image.mean(axis=2, keepdims=True)
    colors = 255 * COLORS(activation)[..., :3]
    return np.rint((1 - OPACITY) * gray + OPACITY * colors).astype(np.uint8)


def draw_attention(rows: np.ndarray, activations: np.ndarray, run: EvaluatedRun, image_source: ImageSource) -> Figure:
    """Draws next to each image the map over it: rows (2, n) of the index, activations (2, n, H, W) in [0, 1]."""
    figure = style.new_figure(HEAD + 2 * (HEIGHT + GAP) + FOOT, layout=None)
    names, identity = person_labels(run.index), run.index["identity"].to_numpy()
    for line, modality in enumerate(SHOWN):
        top = HEAD + line * (HEIGHT + GAP)
        style.write(figure, 0.5, top + HEIGHT / 2, modality_label(modality), rotation=90, va="center")
        for column, row in enumerate(rows[line]):
            left = LEFT + column * (2 * WIDTH + GAP)
            image = np.asarray(shrink(decode_image(image_source, int(row))))
            for shift, shown in enumerate((image, overlay(image, activations[line, column]))):
                axes = style.box(figure, left + shift * WIDTH, top, WIDTH, HEIGHT)
                axes.imshow(shown, aspect="auto", interpolation="none")
            if line == 0:
                style.write(figure, left, 0.5, fit(names[int(identity[row])], 2 * WIDTH))
    draw_scale(figure, HEAD + 2 * (HEIGHT + GAP))
    return figure


def draw_scale(figure: Figure, top: float) -> None:
    """Draws what the colors mean: the map is scaled to each image."""
    left, width = LEFT + 2 * WIDTH + GAP, 4 * WIDTH + GAP
    scale = style.box(figure, left, top + 0.3, width, 2)
    scale.imshow(COLORS(np.linspace(0, 1, 256))[None], aspect="auto")
    style.write(figure, left - 1, top, "least", ha="right")
    style.write(figure, left + width + 1, top, "most activation")


def attention(runs: list[EvaluatedRun], seed: int) -> dict[str, Figure]:
    """Returns the maps of the same people's test images in both modalities, by the first run's network."""
    run = runs[0]
    if run.network is None:
        raise LeftOut("the pixels are compared, without a network")
    if not isinstance(run.network, ReIDNetwork):
        raise LeftOut("it isn't drawn for the network of this method")
    identity, modality = (run.index[name].to_numpy()[run.rows] for name in ("identity", "modality"))
    rows = run.rows[choose_rows(identity, modality, PEOPLE, seed)]
    if not rows.size:
        raise LeftOut("no test person has images of both modalities")
    image_source = open_images(run.settings.data.root, run.index)
    activations = []
    for wanted, own in zip(SHOWN, rows, strict=True):
        batches = evaluation_batches(image_source, own, wanted, run.settings, run.accelerator.device)
        with run.accelerator.autocast():
            norms = [last_activation(run.network, images, wanted) for images in batches]
        activations.append(enlarge(torch.cat(norms), PIXELS[::-1]))
    return {"attention": draw_attention(rows, np.stack(activations), run, image_source)}
