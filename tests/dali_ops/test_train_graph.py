from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nvidia.dali import Pipeline, fn

from dali_ops import parameters as layout
from dali_ops import reference
from dali_ops.decode import CHANNELS, ENCODED, FORMS, PATH, RESIZED, path_bytes
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage
from dali_ops.mixing import MIXINGS
from dali_ops.normalize import Normalization
from dali_ops.train_graph import training_pipeline
from dali_ops.views import View

CPU = {"device": "cpu", "device_id": None, "decode": "cpu"}
TWO_BASES = (View("visible"), View("infrared"))


def view(base: str, *names: str, mixing: str | None = None, probability: float = 1.0) -> View:
    return View(base, tuple(Stage(DERIVATIONS[name], probability) for name in names), mixing)


SINGLE = [
    view(base, name)
    for base, channels in CHANNELS.items()
    for name, derivation in DERIVATIONS.items()
    if derivation.takes in (None, channels)
]
CHAINS = [
    view("visible", "weighted_gray", "gamma"),
    view("visible", "channel_shuffle", "gray", "sharpness", "pseudo_color"),
    view("infrared", "clahe", "spectrum", "inversion"),
    view("visible", "gray", probability=0.5),  # three channels, whether it is applied or not
    view("infrared", "gamma", "pseudo_color", "inversion", probability=0.5),
]
MIXED = [
    view(base, name, mixing=mixing)
    for mixing in MIXINGS
    for base, name in (("visible", "gray"), ("visible", "inversion"), ("infrared", "spectrum"))
]
ALL_VIEWS = (*TWO_BASES, *SINGLE, *CHAINS, *MIXED)


def sample_parameters(seed: int, count: int, views, height: int, width: int, pad: int) -> np.ndarray:
    """Crops at both ends, boxes beyond the frame and empty ones, stages left out and images not mixed included."""
    generator = np.random.default_rng(seed)
    numbers = np.zeros((count, len(views), layout.width(max(len(view.stages) for view in views))), np.float32)
    shape = numbers.shape[:2]
    numbers[..., layout.CROP_Y] = generator.choice([0, pad, 2 * pad, generator.integers(2 * pad + 1)], shape)
    numbers[..., layout.CROP_X] = generator.integers(2 * pad + 1, size=shape)
    numbers[..., layout.FLIP] = generator.integers(2, size=shape)
    numbers[..., 3] = generator.integers(height, size=shape)
    numbers[..., 4] = generator.integers(width, size=shape)
    numbers[..., 5] = generator.integers(height, size=shape) * generator.integers(2, size=shape)
    numbers[..., 6] = generator.integers(1, width + 1, size=shape)
    for place, view in enumerate(views):
        for number, stage in enumerate(view.stages):
            numbers[:, place, layout.applied(number)] = generator.random(count) < stage.probability
            numbers[:, place, layout.derivation(number)] = stage.derivation.sample(generator, count)
        if view.mixing:
            sampled = MIXINGS[view.mixing].sample(generator, count, height, width)
            numbers[:, place, layout.MIXING] = sampled * generator.integers(2, size=(count, 1))
    return numbers


class Source:
    """Batch i of all there is: other files and other parameters for each i, and nothing remembered."""

    def __init__(self, files: dict, views, size, pad: int, start: int = 0, encoded: bool = False):
        self.files, self.views, self.size, self.pad, self.start = files, views, size, pad, start
        self.encoded = encoded
        self.count = len(next(iter(files.values())))

    def paths(self, base: str, step: int) -> list:
        return [self.files[base][(row + step) % len(self.files[base])] for row in range(self.count)]

    def feed(self, path) -> np.ndarray:
        return np.frombuffer(path.read_bytes(), np.uint8) if self.encoded else path_bytes(path)

    def parameters(self, step: int) -> np.ndarray:
        return sample_parameters(step, self.count, self.views, *self.size, self.pad)

    def __call__(self, i: int) -> tuple:
        step = self.start + i
        fed = [[self.feed(path) for path in self.paths(base, step)] for base in self.files]
        return (*fed, self.parameters(step))


BY = Normalization((0.2, 0.5, 0.9), (0.3, 0.5, 0.25))
FILL = (-0.5, 0.004, 0.32)
ERASED = BY.color_of(FILL)  # 13, 128, 250


def build(source: Source, *, fill=FILL, pad_fill=0, threads=2, prefetch=2, place=CPU):
    height, width = source.size
    return training_pipeline(
        source,
        batch_size=source.count,
        form=ENCODED if source.encoded else PATH,
        views=[replace(view, fill=fill) for view in source.views],
        height=height,
        width=width,
        interpolation="bilinear",
        pad=source.pad,
        pad_fill=pad_fill,
        normalization=BY,
        threads=threads,
        prefetch=prefetch,
        **place,
    )


def to_arrays(outputs) -> list[np.ndarray]:
    return [np.array(output.as_cpu().as_tensor()) for output in outputs]


def run(pipeline, steps: int) -> list[list[np.ndarray]]:
    return [to_arrays(pipeline.run()) for _ in range(steps)]


@pytest.fixture
def files(visible_files, infrared_files):
    return {"visible": visible_files * 2, "infrared": infrared_files}


@pytest.mark.parametrize(("fill", "pad_fill"), [(None, 0), (FILL, 0), (FILL, 127)], ids=["whole", "erased", "gray"])
@pytest.mark.parametrize(("size", "pad"), [((48, 24), 10), ((31, 17), 3), ((40, 20), 0), ((6, 5), 9)])
def test_all_views_equal_twin(files, decode_and_resize, size, pad, fill, pad_fill, place, assert_same_levels):
    views = [it for it in ALL_VIEWS if all(stage.derivation.divides(*size) for stage in it.stages)]
    source = Source(files, views, size, pad)
    batches = run(build(source, fill=fill, pad_fill=pad_fill, place=place), steps=2)
    for step, batch in enumerate(batches):
        resized = {f: decode_and_resize(source.paths(f, step), f, size, place) for f in files}
        numbers = source.parameters(step)
        filled = [replace(view, fill=fill) for view in views]
        for number, (view, images) in enumerate(zip(filled, batch, strict=True)):
            assert images.shape == (source.count, *size, 3) and images.dtype == np.uint8
            expected = np.stack(
                [
                    reference.view(resized[view.base][row], view, of_row[number], pad=pad, pad_fill=pad_fill, by=BY)
                    for row, of_row in enumerate(numbers)
                ]
            )
            assert_same_levels(np.abs(images.astype(int) - expected), *(stage.derivation.name for stage in view.stages))


def test_columns_are_as_documented_and_padding_is_black(files):
    source = Source(files, TWO_BASES, (40, 20), 8)
    numbers = np.zeros((source.count, 2, 11), np.float32)
    numbers[:, :, 1] = 16  # crop_x: as far right as it goes, while crop_y = 0 is the top
    numbers[:, :, 3:7] = [30, 2, 4, 3]  # y, x, height, width of the erased box
    source.parameters = lambda step: numbers
    for images in run(build(source), 1)[0]:
        box = images[:, 30:34, 2:5].copy()
        images[:, 30:34, 2:5] = 0
        assert np.all(box == ERASED)
        assert not images[:, :8].any() and not images[:, :, 12:].any()
        assert images[:, 8:, :12].max() > 100


def test_boxes_are_erased_in_the_color_that_becomes_the_fill():
    levels = np.array(ERASED, np.float64) / 255
    np.testing.assert_allclose((levels - BY.mean) / BY.std, FILL, atol=0.5 / 255 / 0.25)
    assert BY.color_of((-9, 9, 0)) == (0, 255, round(255 * 0.9))


def test_stages_behind_normalization_leave_the_levels_as_they_are(files):
    stages = tuple(Stage(DERIVATIONS[name], 0.5) for name in ("gray", "gamma"))
    behind = (*stages, Stage(DERIVATIONS["channel_gains"], 0.5, normalized=True))
    sources = [Source({"visible": files["visible"]}, [View("visible", of)], (32, 16), 2) for of in (stages, behind)]
    sources[0].parameters = lambda step: sources[1].parameters(step)
    np.testing.assert_array_equal(*(run(build(source), 1)[0][0] for source in sources))


def test_encoded_images_give_the_same_views_as_their_paths(files, place):
    by_path = run(build(Source(files, ALL_VIEWS, (32, 16), 4), place=place), 2)
    by_content = run(build(Source(files, ALL_VIEWS, (32, 16), 4, encoded=True), place=place), 2)
    for batch, other in zip(by_path, by_content, strict=True):
        for images, others in zip(batch, other, strict=True):
            np.testing.assert_array_equal(images, others)


def test_views_of_one_base_have_parameters_of_their_own(visible_files):
    views = (View("visible"), View("visible"))
    source = Source({"visible": visible_files}, views, (40, 20), 8)
    first, second = run(build(source, fill=None), 1)[0]
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("base", ["visible", "infrared"])
def test_a_base_without_a_view_is_not_read(files, base):
    views = (View(base), view(base, "identity"))
    source = Source({base: files[base]}, views, (32, 16), 2)
    images = run(build(source), 1)[0]
    assert [image.shape for image in images] == [(8, 32, 16, 3)] * 2


def test_threads_do_not_change_a_bit(files):
    source = Source(files, ALL_VIEWS, (48, 24), 5)
    one, two = run(build(source, threads=1), 3), run(build(source, threads=2, prefetch=3), 3)
    for batch, other in zip(one, two, strict=True):
        for images, others in zip(batch, other, strict=True):
            np.testing.assert_array_equal(images, others)


def test_started_late_equals_uninterrupted(files):
    whole = run(build(Source(files, ALL_VIEWS, (32, 16), 4)), 5)
    resumed = run(build(Source(files, ALL_VIEWS, (32, 16), 4, start=3)), 2)
    for batch, other in zip(whole[3:], resumed, strict=True):
        for images, others in zip(batch, other, strict=True):
            np.testing.assert_array_equal(images, others)
    assert not np.array_equal(whole[2][0], whole[3][0])


def test_goes_on_after_a_corrupt_file(files, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"<html>not found</html>")
    source = Source(files, TWO_BASES, (32, 16), 2)
    expected = run(build(source), 3)
    paths = source.paths
    source.paths = lambda base, step: [broken, *paths(base, step)[1:]] if step == 1 else paths(base, step)
    pipeline = build(source, prefetch=1)
    np.testing.assert_array_equal(to_arrays(pipeline.run())[0], expected[0][0])
    with pytest.raises(RuntimeError):
        pipeline.run()
    np.testing.assert_array_equal(to_arrays(pipeline.run())[1], expected[2][1])


def test_missing_file_fails(files, tmp_path):
    source = Source({"visible": [tmp_path / "nowhere.jpg"] * 2}, (View("visible"),), (32, 16), 2)
    with pytest.raises(RuntimeError, match="nowhere.jpg"):
        build(source).run()


@pytest.mark.parametrize("decode", ["cpu", "mixed"])
@pytest.mark.parametrize("form", FORMS)
def test_on_a_gpu_every_view_ends_there(form, decode, monkeypatch):
    """Defining the graph needs no GPU, building it does."""
    views, asked, image_decoder = [], [], fn.decoders.image

    def spy(*inputs, **arguments):
        asked.append(arguments)
        return image_decoder(*inputs, **arguments)

    monkeypatch.setattr(fn.decoders, "image", spy)
    monkeypatch.setattr(Pipeline, "set_outputs", lambda pipeline, *nodes: views.extend(nodes))
    monkeypatch.setattr("dali_ops.train_graph.build", lambda pipeline: None)
    settings = {
        "batch_size": 2,
        "views": [replace(view, fill=FILL) for view in ALL_VIEWS],
        "height": 32,
        "width": 16,
        "interpolation": "bilinear",
        "pad": 2,
    }
    place = {"device": "gpu", "device_id": 0, "decode": decode}
    training_pipeline(lambda i: (), form=form, threads=1, prefetch=2, **settings, **place)
    assert [view.device for view in views] == ["gpu"] * len(ALL_VIEWS)
    assert len(asked) == (0 if form == RESIZED else 2)
    load = 1.0 if decode == "mixed" else None  # images on another decoder would have other levels
    assert all((it["device"], it.get("hw_decoder_load")) == (decode, load) for it in asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": ()}, "views: expected at least one"),
        ({"views": (View("thermal"),)}, "base: expected one of visible, infrared; found 'thermal'"),
        ({"views": (View("visible", mixing="mixup"),)}, "mixing: expected one of patches, cutmix; found 'mixup'"),
        ({"views": (view("infrared", "clahe"),), "width": 18}, "clahe: expected .* found height 32, width 18"),
        ({"height": 0}, "height, width: expected at least 1 pixel; found 0, 16"),
        ({"pad": -1}, "pad: expected 0 or more pixels; found -1"),
        ({"batch_size": 0}, "batch_size: expected at least 1; found 0"),
        ({"device": "cuda"}, "device: expected one of cpu, gpu; found 'cuda'"),
        ({"decode": "gpu"}, "decode: expected one of cpu, mixed; found 'gpu'"),
        ({"decode": "mixed"}, "decode: 'mixed' needs device 'gpu'"),
        ({"device": "gpu"}, "device_id: expected the number of a GPU"),
        ({"threads": 0}, "threads: expected at least 1; found 0"),
        ({"prefetch": 0}, "prefetch: expected at least 1; found 0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    settings = {
        "batch_size": 2,
        "views": TWO_BASES,
        "height": 32,
        "width": 16,
        "interpolation": "bilinear",
        "pad": 2,
    }
    settings |= {"form": PATH, "threads": 1, "prefetch": 1, **CPU}
    with pytest.raises(ValueError, match=message):
        training_pipeline(lambda i: (), **(settings | changes))
