from __future__ import annotations

import numpy as np
import pytest

from dali_ops import reference
from dali_ops.decode import CHANNELS, ENCODED, PATH, path_bytes
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage
from dali_ops.eval_graph import evaluation_pipeline
from dali_ops.reference.derive import derive

CPU = {"device": "cpu", "device_id": None, "decode": "cpu"}
SIZE = (48, 24)


def file_bytes(path) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), np.uint8)


def build(
    paths,
    batch_size: int,
    base: str,
    *,
    encoded=False,
    stages=(),
    size=SIZE,
    interpolation="bilinear",
    place=CPU,
    threads=2,
):
    def source(i: int) -> list[np.ndarray]:
        batch = paths[i * batch_size : (i + 1) * batch_size]
        if not batch:
            raise StopIteration
        return [file_bytes(path) if encoded else path_bytes(path) for path in batch]

    return evaluation_pipeline(
        source,
        batch_size=batch_size,
        form=ENCODED if encoded else PATH,
        base=base,
        stages=stages,
        height=size[0],
        width=size[1],
        interpolation=interpolation,
        threads=threads,
        prefetch=2,
        **place,
    )


def run_all(pipeline) -> list[np.ndarray]:
    batches = []
    while True:
        try:
            (images,) = pipeline.run()
        except StopIteration:
            return batches
        batches.append(np.array(images.as_cpu().as_tensor()))


@pytest.mark.parametrize("base", ["visible", "infrared"])
def test_every_image_once_in_order_equal_to_twin(base, place, visible_files, infrared_files, decode_and_resize):
    paths = {"visible": visible_files, "infrared": infrared_files}[base] * 2
    paths = paths[: len(paths) - 1]
    batches = run_all(build(paths, 4, base, place=place))
    assert [len(batch) for batch in batches] == [4] * (len(paths) // 4) + [3]
    images = np.concatenate(batches)
    assert images.shape == (len(paths), *SIZE, 3) and images.dtype == np.uint8
    resized = decode_and_resize(paths, base, SIZE, place)
    np.testing.assert_array_equal(images, np.stack([np.broadcast_to(image, (*SIZE, 3)) for image in resized]))


def test_encoded_images_give_the_same_images_as_their_paths(place, visible_files):
    by_path, by_content = (run_all(build(visible_files, 4, "visible", encoded=e, place=place)) for e in (False, True))
    np.testing.assert_array_equal(np.concatenate(by_content), np.concatenate(by_path))


SUITABLE = [(n, f) for f, channels in CHANNELS.items() for n, d in DERIVATIONS.items() if d.takes in (None, channels)]


@pytest.mark.parametrize(("name", "base"), SUITABLE)
def test_derived_images_come_with_the_captured_ones(name, base, place, request, assert_same_levels):
    paths = request.getfixturevalue(f"{base}_files")[:3]
    # what fewer than half of the training images went through is left out
    stages = (Stage(DERIVATIONS[name], 0.5), Stage(DERIVATIONS["inversion"], 0.4))
    pipeline = build(paths, 2, base, stages=stages, place=place)
    for count in (2, 1):
        captured, derived = (np.array(output.as_cpu().as_tensor()) for output in pipeline.run())
        assert captured.shape == derived.shape == (count, *SIZE, 3)
        for image, found in zip(captured, derived, strict=True):
            source = image if base == "visible" else image[:, :, :1]
            expected = np.broadcast_to(derive(source, name, DERIVATIONS[name].fixed), found.shape)
            assert_same_levels(np.abs(found.astype(int) - expected), name)


def test_end_stays_the_end(visible_files):
    pipeline = build(visible_files, 4, "visible")
    assert len(run_all(pipeline)) == 1
    assert run_all(pipeline) == []


@pytest.mark.parametrize("base", ["visible", "infrared"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_close_to_pil(base, interpolation, visible_files, infrared_files):
    paths = {"visible": visible_files, "infrared": infrared_files}[base]
    images = np.concatenate(run_all(build(paths, len(paths), base, interpolation=interpolation)))
    for image, path in zip(images, paths, strict=True):
        expected = reference.resize(reference.decode(path, base), *SIZE, interpolation)
        difference = np.abs(image.astype(int) - expected)
        assert difference.max() <= 3 and difference.mean() <= 0.6


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="interpolation: expected one of bilinear, bicubic; found 'nearest'"):
        build([], 4, "visible", interpolation="nearest")
    with pytest.raises(ValueError, match="base: expected one of visible, infrared; found 'rgb'"):
        build([], 4, "rgb")
    with pytest.raises(ValueError, match="clahe: expected .* found height 31, width 24"):
        build([], 4, "infrared", stages=[Stage(DERIVATIONS["clahe"])], size=(31, 24))
