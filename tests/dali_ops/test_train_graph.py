from __future__ import annotations

import numpy as np
import pytest

from dali_ops import parameters as layout
from dali_ops import reference
from dali_ops.decode import path_bytes
from dali_ops.derive import DERIVATIONS
from dali_ops.normalize import STD
from dali_ops.train_graph import View, training_pipeline

CPU = {"device": "cpu", "device_id": None, "decode": "cpu"}
TWO_BASES = (View("visible"), View("infrared"))
ALL_VIEWS = tuple(View(f, d) for f in ("visible", "infrared") for d in (None, *DERIVATIONS))
ALL_VIEWS = tuple(v for v in ALL_VIEWS if v.derivation is None or v.family in DERIVATIONS[v.derivation].families)


def draw_parameters(seed: int, count: int, views, height: int, width: int, pad: int) -> np.ndarray:
    """Crops at both ends, boxes beyond the frame and empty ones included."""
    generator = np.random.default_rng(seed)
    numbers = np.zeros((count, len(views), layout.WIDTH), np.float32)
    shape = numbers.shape[:2]
    numbers[..., layout.CROP_Y] = generator.choice([0, pad, 2 * pad, generator.integers(2 * pad + 1)], shape)
    numbers[..., layout.CROP_X] = generator.integers(2 * pad + 1, size=shape)
    numbers[..., layout.FLIP] = generator.integers(2, size=shape)
    numbers[..., 3] = generator.integers(height, size=shape)
    numbers[..., 4] = generator.integers(width, size=shape)
    numbers[..., 5] = generator.integers(height, size=shape) * generator.integers(2, size=shape)
    numbers[..., 6] = generator.integers(1, width + 1, size=shape)
    for number, view in enumerate(views):
        numbers[:, number, layout.DERIVATION] = DERIVATIONS[view.derivation or "identity"].draw(generator, count)
    return numbers


class Source:
    """Batch i of all there is: other files and other parameters for each i, and nothing remembered."""

    def __init__(self, files: dict, views, size, pad: int, start: int = 0, encoded: bool = False):
        self.files, self.views, self.size, self.pad, self.start = files, views, size, pad, start
        self.encoded = encoded
        self.count = len(next(iter(files.values())))

    def paths(self, family: str, step: int) -> list:
        return [self.files[family][(row + step) % len(self.files[family])] for row in range(self.count)]

    def feed(self, path) -> np.ndarray:
        return np.frombuffer(path.read_bytes(), np.uint8) if self.encoded else path_bytes(path)

    def parameters(self, step: int) -> np.ndarray:
        return draw_parameters(step, self.count, self.views, *self.size, self.pad)

    def __call__(self, i: int) -> tuple:
        step = self.start + i
        fed = [[self.feed(path) for path in self.paths(family, step)] for family in self.files]
        return (*fed, self.parameters(step))


def build(source: Source, *, erasing=True, half=False, threads=2, prefetch=2, place=CPU):
    height, width = source.size
    return training_pipeline(
        source,
        batch_size=source.count,
        encoded=source.encoded,
        views=source.views,
        height=height,
        width=width,
        pad=source.pad,
        erasing=erasing,
        half=half,
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


def levels(difference: np.ndarray) -> np.ndarray:
    """Normalised values -> levels of 255."""
    return np.abs(difference) * 255 * np.array(STD)[:, None, None]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("erasing", [False, True], ids=["whole", "erased"])
@pytest.mark.parametrize(("size", "pad"), [((48, 24), 10), ((31, 17), 3), ((40, 20), 0)])
def test_all_views_equal_twin(files, decode_and_resize, size, pad, erasing, half, place, assert_same_levels):
    source = Source(files, ALL_VIEWS, size, pad)
    batches = run(build(source, erasing=erasing, half=half, place=place), steps=2)
    for step, batch in enumerate(batches):
        resized = {f: decode_and_resize(source.paths(f, step), f, size, place) for f in files}
        numbers = source.parameters(step)
        for number, (view, images) in enumerate(zip(ALL_VIEWS, batch, strict=True)):
            assert images.shape == (source.count, 3, *size)
            assert images.dtype == (np.float16 if half else np.float32)
            expected = np.stack(
                [
                    reference.view(
                        resized[view.family][row], view.derivation, numbers[row, number], pad=pad, erasing=erasing
                    )
                    for row in range(source.count)
                ]
            )
            difference = levels(images.astype(np.float32) - expected)
            # float16 keeps 11 bits of values up to 2.7: a tenth of a level.
            assert_same_levels(difference, view.derivation, tolerance=0.1 if half else 1e-3)


def test_columns_are_as_documented_and_padding_is_a_black_pixel_before_normalisation(files):
    source = Source(files, TWO_BASES, (40, 20), 8)
    numbers = np.zeros((source.count, 2, 10), np.float32)
    numbers[:, :, 1] = 16  # crop_x: as far right as it goes, while crop_y = 0 is the top
    numbers[:, :, 3:7] = [30, 2, 4, 3]  # y, x, height, width of the erased box
    source.parameters = lambda step: numbers
    black = reference.normalize(np.zeros((1, 1, 3), np.uint8))
    for images in run(build(source), 1)[0]:
        box = images[:, :, 30:34, 2:5].copy()
        images[:, :, 30:34, 2:5] = black[None]
        assert np.all(box == 0)
        np.testing.assert_allclose(images[:, :, :8, :], np.broadcast_to(black, (source.count, 3, 8, 20)), atol=1e-6)
        np.testing.assert_allclose(images[:, :, :, 12:], np.broadcast_to(black, (source.count, 3, 40, 8)), atol=1e-6)
        assert np.abs(images[:, :, 8:, :12] - black[None]).max() > 0.1


def test_views_of_one_family_have_parameters_of_their_own(visible_files):
    views = (View("visible"), View("visible"))
    source = Source({"visible": visible_files}, views, (40, 20), 8)
    first, second = run(build(source, erasing=False), 1)[0]
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("family", ["visible", "infrared"])
def test_family_without_view_is_not_read(files, family):
    views = (View(family), View(family, "identity"))
    source = Source({family: files[family]}, views, (32, 16), 2)
    images = run(build(source), 1)[0]
    assert [image.shape for image in images] == [(8, 3, 32, 16)] * 2


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
    source.paths = lambda family, step: [broken, *paths(family, step)[1:]] if step == 1 else paths(family, step)
    pipeline = build(source, prefetch=1)
    np.testing.assert_array_equal(to_arrays(pipeline.run())[0], expected[0][0])
    with pytest.raises(RuntimeError):
        pipeline.run()
    np.testing.assert_array_equal(to_arrays(pipeline.run())[1], expected[2][1])


def test_missing_file_fails(files, tmp_path):
    source = Source({"visible": [tmp_path / "nowhere.jpg"] * 2}, (View("visible"),), (32, 16), 2)
    with pytest.raises(RuntimeError, match="nowhere.jpg"):
        build(source).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": ()}, "views: expected at least one"),
        ({"views": (View("thermal"),)}, "family: expected one of visible, infrared; found 'thermal'"),
        ({"views": (View("visible", "spectrum"),)}, "derivation of visible: expected one of .*; found 'spectrum'"),
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
    settings = {"batch_size": 2, "views": TWO_BASES, "height": 32, "width": 16, "pad": 2, "erasing": False}
    settings |= {"encoded": False, "half": False, "threads": 1, "prefetch": 1, **CPU}
    with pytest.raises(ValueError, match=message):
        training_pipeline(lambda i: (), **(settings | changes))
