"""Every derivation on the same two people, and the page that explains them: docs/derivations.md."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from dali_ops import parameters as layout
from dali_ops.decode import CHANNELS
from dali_ops.derive import DERIVATIONS
from dali_ops.mixing import MIXINGS
from dali_ops.train_graph import training_pipeline
from dali_ops.views import View
from pipeline.batch import Modality
from pipeline.build import build_index
from pipeline.cli.figures import read_derivations
from pipeline.config import load_config
from pipeline.figures.labels import pen_font
from pipeline.figures.sheet import INK, MARGIN, PAPER, save_sheet
from pipeline.files import write_atomically
from pipeline.loading.derivations import parse_stages
from pipeline.loading.images import check_size, open_images
from pipeline.loading.sampling import Random, sample_derivation
from pipeline.settings import Settings

PEOPLE, DRAWS = 2, 3
LABEL_WIDTH, TITLE_HEIGHT = 150, 22  # pixels
COMPOSED = {"visible": ["weighted_gray", "gamma:0.5"], "infrared": ["clahe", "spectrum"]}
MIXED = {"visible": ["gray"], "infrared": ["spectrum"]}


def shown_views(base: str) -> dict[str, View]:
    """Returns views by their label: the captured image, each derivation alone, a composition, both ways of mixing."""
    channels = CHANNELS[base]
    chains = [[name] for name, it in DERIVATIONS.items() if it.takes in (None, channels) and name != "identity"]
    views = {"captured": View(base)}
    for texts in [*chains, COMPOSED[base]]:
        views[", ".join(texts)] = View(base, parse_stages(texts, channels))
    for mixing in MIXINGS:
        views[f"{', '.join(MIXED[base])}; {mixing}"] = View(base, parse_stages(MIXED[base], channels), mixing)
    return views


def two_people(index: pd.DataFrame) -> pd.DataFrame:
    """Returns the first image in each modality, columns 0 visible and 1 infrared, of the first with both."""
    first = index.reset_index().pivot_table(index="identity", columns="modality", values="index", aggfunc="first")
    both = first.dropna().astype(int)
    if len(both) < PEOPLE:
        raise ValueError(f"expected {PEOPLE} identities with images of both modalities; found {len(both)}")
    return both.iloc[:PEOPLE]


def derived_images(settings: Settings, index: pd.DataFrame, rows: np.ndarray, views: dict[str, View]) -> np.ndarray:
    """Returns (views, people, draws, height, width, 3) uint8 by the training graph without crop and flip."""
    augment, image_source = settings.augment, open_images(settings.data.root, index)
    check_size(image_source, augment)
    repeated = np.repeat(rows, DRAWS)
    columns = layout.width(max(len(view.stages) for view in views.values()))
    parameters = np.zeros((len(repeated), len(views), columns), np.float32)
    for place, view in enumerate(views.values()):
        sample_derivation(parameters[:, place], Modality.VISIBLE, view, augment, Random(seed=0, number=0))
    pipeline = training_pipeline(
        lambda _: (image_source.feed(repeated), parameters),
        batch_size=len(repeated),
        form=image_source.form,
        views=[*views.values()],
        height=augment.height,
        width=augment.width,
        interpolation=augment.interpolation,
        pad=0,
        device="cpu",
        device_id=None,
        decode="cpu",
        threads=1,
        prefetch=1,
    )
    images = np.stack([np.array(output.as_tensor()) for output in pipeline.run()])
    return images.reshape(len(views), len(rows), DRAWS, *images.shape[2:])


def draw_sheet(blocks: dict[str, tuple[list[str], np.ndarray]]) -> Image.Image:
    """Draws labels and images by their base modality: base modalities side by side, a row for each label."""
    height, width = next(iter(blocks.values()))[1].shape[3:5]
    rows = max(len(labels) for labels, _ in blocks.values())
    wide = LABEL_WIDTH + PEOPLE * (DRAWS * (width + MARGIN) + 2 * MARGIN)
    sheet = Image.new("RGB", (len(blocks) * wide, TITLE_HEIGHT + rows * (height + MARGIN)), PAPER)
    pen, font = ImageDraw.Draw(sheet), pen_font(12)
    for block, (base, (labels, images)) in enumerate(blocks.items()):
        pen.text((block * wide + LABEL_WIDTH, 3), f"from {base} images, each {DRAWS} times", INK, font)
        for row, label in enumerate(labels):
            top = TITLE_HEIGHT + row * (height + MARGIN)
            text = label.replace("; ", ";\n").replace(", ", ",\n")
            pen.text((block * wide + MARGIN, top + height // 2 - 12), text, INK, font)
            for person in range(PEOPLE):
                left = block * wide + LABEL_WIDTH + person * (DRAWS * (width + MARGIN) + 2 * MARGIN)
                for draw in range(DRAWS):
                    sheet.paste(Image.fromarray(images[row, person, draw]), (left + draw * (width + MARGIN), top))
    return sheet


def page(image: str, command: str) -> str:
    """Returns the text of docs/derivations.md, made of each derivation's docstring."""
    lines = [
        "# Derivations",
        "",
        "How a derivative modality is synthesized from a captured image: `derive.visible` and `derive.infrared` name",
        "one of these, or several that follow each other, each with a probability if you like:",
        "",
        "```",
        "derive.visible=gray",
        "derive.visible=[weighted_gray,gamma:0.5]      # gamma on every second image",
        "derive.infrared=[clahe,spectrum]",
        "derive.mixing=cutmix derive.mixing_probability=0.3",
        "derive.visible=[normalize,random_channel]     # after crop, flip, erasing and normalization",
        "augment.visible=gray:0.5                      # the captured images themselves, in training",
        "```",
        "",
        "| name | takes | gives | normalized | computes |",
        "|---|---|---|---|---|",
    ]
    channels = {None: "any", 1: "1 channel", 3: "3 channels"}
    for name, it in DERIVATIONS.items():
        gives = "the same" if it.gives is None else channels[it.gives]
        too = "too" if it.matrices else ""
        lines.append(f"| `{name}` | {channels[it.takes]} | {gives} | {too} | {first_paragraph(it.graph)} |")
    lines += [
        "| `learned` | any | 3 channels | | The network makes it: the X-modality generator (Li et al., AAAI 2020). |"
    ]
    lines += [
        "",
        "Visible images have 3 channels, infrared ones 1. Parameters are sampled anew for every image of every batch,",
        "as part of the batch's plan. `derive.mixing` lets parts of the captured image show through in its derivative:",
        "",
        *[f"- `{name}`: {first_paragraph(mixing.graph)}" for name, mixing in MIXINGS.items()],
        "",
        "`augment.derivative_geometry` says whether a derivative shares the crop, flip and erasing of its base image.",
        "So `derive.visible=identity` is a second view of the captured image, as CAJ and MSCMNet have.",
        "",
        "What stands behind the word `normalize` acts on the normalized image, as in much public code: a copied",
        "channel then has its own mean and deviation, and erased boxes are changed with the image. It costs no pass of",
        "the graph; the derivations that the table says are for normalized images `too` can stand there.",
        "`augment.visible` and `augment.infrared` are lists of the same words for what captured images go through in",
        "training; their derivative is made of the image itself. Erased boxes have the value",
        "`augment.random_erasing_fill` after normalization, of each channel (CAJ's erasing channel by channel:",
        "`[0.4914, 0.4822, 0.4465]`); `augment.pad_fill` is the level around a cropped image. `augment.modalities`",
        "gives single modalities a flip and an erasing of their own:",
        "",
        "```",
        "augment.modalities.infrared.random_erasing_prob=0.5",
        "```",
        "",
        f"![Every derivation on the same two people]({image})",
        "",
        f"*Two people of the generated data set; this page is written by `{command}`.*",
    ]
    return "\n".join(lines) + "\n"


def first_paragraph(documented: object) -> str:
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def main(argv: list[str]) -> None:
    options = read_derivations(argv)
    settings = load_config(options.arguments, name_required=True)
    index = build_index(settings.data)
    people, blocks = two_people(index), {}
    for modality in (Modality.VISIBLE, Modality.INFRARED):
        views = shown_views(modality.key)
        blocks[modality.key] = [*views], derived_images(settings, index, people[int(modality)].to_numpy(), views)
    save_sheet(draw_sheet(blocks), options.out / "derivations.png")
    command = " ".join(["python -m pipeline.figures derivations", *options.arguments, "--out", str(options.out)])
    write_atomically(options.out / "derivations.md", page("derivations.png", command))
