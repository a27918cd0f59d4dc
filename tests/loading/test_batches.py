import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dali_ops import reference
from dali_ops.torch_output import TorchOutput
from pipeline import prepare
from pipeline.batch import Modality
from pipeline.build import build_index, training_rows
from pipeline.config import load_config
from pipeline.loading.batches import evaluation_batches, training_batches
from pipeline.loading.derivations import parse_stages, views_in_use
from pipeline.loading.hardware import dali_pipelines
from pipeline.loading.images import FolderImages, open_images
from pipeline.loading.sampling import plan_batch, training_table
from pipeline.normalization import normalization_of
from pipeline.settings import DeriveSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[1, 3], ids=["one pipeline", "three in turn"])
def settings(people, tiny, request):
    return load_config(
        [*tiny, f"data.root={people}", "augment.random_erasing_prob=0.5", f"loader.threads={request.param}"]
    )


@pytest.fixture(scope="module")
def index(settings):
    return build_index(settings.data)


def take(count, index, settings, **options):
    table = training_table(training_rows(index, settings.data), settings.batch)
    return list(itertools.islice(training_batches(index, table, settings, CPU, **options), count))


def visible_rows(index):
    return np.flatnonzero(index["modality"] == int(Modality.VISIBLE))


def assert_same(first, second):
    for name in ("images", "label", "identity", "camera", "index"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0)
    assert first.modality == second.modality


def test_a_row_says_what_its_image_is(index, settings):
    for batch in take(3, index, settings):
        assert batch.images.shape == (32, 3, 32, 16) and batch.images.dtype == torch.float32
        found = index.loc[batch.index.numpy()]
        np.testing.assert_array_equal(found["identity"], batch.identity)
        np.testing.assert_array_equal(found["camera"], batch.camera)
        np.testing.assert_array_equal(found["modality"], [Modality(value).base for value in batch.modality])
        assert set(found["split"]) == {"train"}
        assert batch.modality == tuple(np.repeat([0, 1, 2, 3], 8))
        identities = sorted(set(index["identity"][index["split"] == "train"]))
        np.testing.assert_array_equal(np.array(identities)[batch.label], batch.identity)


def test_a_batch_is_what_its_plan_says(index, settings):
    plain = replace(settings, augment=replace(settings.augment, random_erasing_prob=0.0, hflip_prob=0.0, pad=0))
    (batch,) = take(1, index, plain, start=4)
    table = training_table(training_rows(index, settings.data), settings.batch)
    plan = plan_batch(table, views_in_use(plain), plain.batch, plain.augment, plain.seed, 4)
    np.testing.assert_array_equal(batch.index[:8], plan.rows[Modality.VISIBLE])
    np.testing.assert_array_equal(batch.index[8:16], plan.rows[Modality.INFRARED])
    with Image.open(index["path"][int(batch.index[0])]) as image:
        expected = np.asarray(image.convert("RGB").resize((16, 32), Image.BILINEAR), np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    found = batch.images[0].permute(1, 2, 0).numpy() * std + mean
    difference = np.abs(found - expected)
    assert difference.mean() < 1 / 255 and difference.max() < 8 / 255  # decoders and resizers round differently


def test_stages_behind_normalization_are_those_of_the_plan(index, settings):
    chosen = {"visible": ["normalize", "random_channel:0.7"], "infrared": ["normalize", "channel_gains"]}
    mixed = replace(
        settings, augment=replace(settings.augment, **chosen), derive=DeriveSettings(["normalize", "green"])
    )
    plain = replace(settings, derive=DeriveSettings(["identity"]))
    (batch,), (before,) = take(1, index, mixed, start=4), take(1, index, plain, start=4)
    table, views = training_table(training_rows(index, settings.data), settings.batch), views_in_use(mixed)
    numbers = plan_batch(table, views, mixed.batch, mixed.augment, mixed.seed, 4).parameters
    for place, view in enumerate([*views.values()][:3]):
        for row in range(8):
            expected = reference.derive_normalized(before.images[8 * place + row].numpy(), view, numbers[row, place])
            np.testing.assert_allclose(batch.images[8 * place + row], expected, rtol=1e-6, atol=1e-6)
    assert (batch.images[16:24] == batch.images[16:24, :1]).all()


def test_a_derivative_that_is_tested_goes_through_the_stages_behind_normalization(index, settings):
    rows = visible_rows(index)[:3]
    stages = parse_stages(["normalize", "random_channel", "channel_gains:0.4"], 3)
    (images,) = evaluation_batches(FolderImages(index), rows, Modality.VISIBLE, settings, CPU, stages)
    captured, derived = images.chunk(2)
    torch.testing.assert_close(derived, captured[:, 1:2].expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


def test_batches_from_number_k_on_are_those_of_the_uninterrupted_loader(index, settings):
    whole = take(5, index, settings)
    for one, other in zip(whole[3:], take(2, index, settings, start=3), strict=True):
        assert_same(one, other)


def test_pipelines_in_turn_give_the_batches_of_one(index, settings):
    alone = replace(settings, loader=replace(settings.loader, threads=1, prefetch=1))
    for one, other in zip(take(7, index, settings, start=2), take(7, index, alone, start=2), strict=True):
        assert_same(one, other)


def test_ranks_share_the_global_batch(index, settings):
    (whole,) = take(1, index, settings, start=2)
    shares = [take(1, index, settings, start=2, rank=rank, ranks=2)[0] for rank in range(2)]
    for modality in range(4):
        rows = slice(8 * modality, 8 * modality + 8)
        joined = torch.cat([share.images[4 * modality : 4 * modality + 4] for share in shares])
        torch.testing.assert_close(joined, whole.images[rows], rtol=0, atol=0)
    assert not set(shares[0].label.tolist()) & set(shares[1].label.tolist())


def test_the_modality_that_is_switched_off_is_not_even_read(index, settings):
    absent = index.copy()
    absent.loc[absent["modality"] == int(Modality.INFRARED), "path"] = "/nowhere.jpg"
    visible = replace(settings, batch=replace(settings.batch, modalities=["visible", "visible_derived"]))
    (batch,) = take(1, absent, visible)
    assert batch.modality == (0,) * 8 + (2,) * 8


def test_images_are_normalized_as_the_settings_say(index, settings):
    """Undone by each its own mean and deviation, batches are the same pixels, but for the erased boxes: 0 in both."""
    other = replace(settings, augment=replace(settings.augment, mean=(0.1, 0.5, 0.9), std=(0.5, 0.25, 1.0)))
    (one,), (another,) = take(1, index, settings), take(1, index, other)
    erased = (another.images.abs() < 0.6 / 255 / 0.25).all(dim=1, keepdim=True)
    assert 0.005 < erased.float().mean() < 0.5
    pixels, same = (undone(batch.images, by) for batch, by in ((one, settings), (another, other)))
    torch.testing.assert_close(*(torch.where(erased, 0, images) for images in (pixels, same)), rtol=0, atol=1e-6)
    rows = visible_rows(index)[:3]
    tested, same = (
        undone(next(evaluation_batches(FolderImages(index), rows, Modality.VISIBLE, by, CPU)), by)
        for by in (settings, other)
    )
    torch.testing.assert_close(tested, same, rtol=0, atol=1e-6)


def undone(images, settings):
    by = normalization_of(settings)
    mean, std = (torch.tensor(values)[:, None, None] for values in (by.mean, by.std))
    return images * std + mean


@pytest.mark.parametrize("image_type", ["float16", "bfloat16"])
def test_shorter_types_are_the_rounded_images(index, settings, image_type):
    short = replace(settings, loader=replace(settings.loader, image_type=image_type))
    (expected,), (found,) = take(1, index, settings), take(1, index, short)
    dtype = getattr(torch, image_type)
    assert found.images.dtype == dtype
    torch.testing.assert_close(found.images.float(), expected.images, rtol=torch.finfo(dtype).eps, atol=2e-3)
    assert (
        next(evaluation_batches(FolderImages(index), visible_rows(index)[:2], Modality.VISIBLE, short, CPU)).dtype
        == dtype
    )


def test_a_batch_that_was_kept_stays_as_it_was(index, settings):
    batches = take(4, index, settings)
    for number, batch in enumerate(batches):
        assert_same(batch, take(1, index, settings, start=number)[0])


@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_a_bad_image_is_named(tmp_path, index, settings, content):
    bad = tmp_path / "bad.jpg"
    if content is not None:
        bad.write_bytes(content)
    damaged = index.copy()
    damaged["path"] = str(bad)
    with pytest.raises(ValueError, match="bad.jpg: cannot be read as an image"):
        take(1, damaged, settings)
    with pytest.raises(ValueError, match="bad.jpg: cannot be read as an image"):
        list(evaluation_batches(FolderImages(damaged), visible_rows(index), Modality.VISIBLE, settings, CPU))


OTHER_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("Error in mixed operator `nvidia.dali.fn.decoders.image`,\nencountered:\n\nCUDA allocation failed"),
]


def fail(error, monkeypatch, looked):
    """Every batch fails with `error`; `looked` lists the modalities whose images are then looked at."""

    next_batch = TorchOutput.next

    def next_fails(output):
        next_batch(output)
        raise error

    def look(image_source, asked, base):
        looked.append(base)
        return iter(())

    monkeypatch.setattr("pipeline.loading.batches.TorchOutput.next", next_fails)
    monkeypatch.setattr("pipeline.loading.batches.undecodable", look)


@pytest.mark.parametrize("on_corrupt_image", ["error", "replace"])
@pytest.mark.parametrize("error", OTHER_ERRORS, ids=str)
def test_what_fails_on_a_gpu_is_not_taken_for_a_bad_image(error, on_corrupt_image, index, settings, monkeypatch):
    looked = []
    fail(error, monkeypatch, looked)
    settings = at(settings.data.root, settings, on_corrupt_image=on_corrupt_image)
    with pytest.raises(type(error)) as raised:
        take(1, index, settings)
    assert raised.value is error
    with pytest.raises(type(error)) as raised:
        list(evaluation_batches(FolderImages(index), visible_rows(index), Modality.VISIBLE, settings, CPU))
    assert raised.value is error and not looked


@pytest.mark.parametrize("decode", ["auto", "cpu", "mixed"])
def test_an_image_that_only_the_gpu_refuses_ends_in_a_line_that_says_so(decode, index, settings, monkeypatch):
    refusal = "Error in mixed operator `nvidia.dali.fn.decoders.image`,\nencountered:\n\nFailed to decode sample #3 : "
    error, looked = RuntimeError(refusal), []
    fail(error, monkeypatch, looked)
    on_cpu = dali_pipelines(settings.loader, CPU)  # as there is no GPU to decode on
    monkeypatch.setattr("pipeline.loading.batches.dali_pipelines", lambda loader, device: on_cpu)
    settings = at(settings.data.root, settings, decode=decode)
    for end in (
        lambda: take(1, index, settings),
        lambda: list(evaluation_batches(FolderImages(index), visible_rows(index), Modality.VISIBLE, settings, CPU)),
    ):
        with pytest.raises(ValueError if decode == "mixed" else RuntimeError) as raised:
            end()
        if decode == "mixed":
            assert "loader.decode: the GPU can't decode an image that the CPU can" in str(raised.value)
        else:
            assert raised.value is error
    assert looked == ["visible", "infrared", "visible"]


@pytest.fixture(scope="module", params=["encoded", "resized"])
def prepared(request, people, tmp_path_factory):
    arguments = [f"data.root={people}", "data.dataset=folder", "augment.height=32", "augment.width=16"]
    more = ["--resized"] if request.param == "resized" else []
    with pytest.raises(SystemExit) as ended:
        prepare.main([*arguments, "--pack", str(packs := tmp_path_factory.mktemp("prepared") / "packs"), *more])
    assert ended.value.code == 0
    return packs


@pytest.fixture()
def packed(prepared, tmp_path):
    """Packs of the test's own."""
    return shutil.copytree(prepared, tmp_path / "packs")


def at(root, settings, **loader):
    return replace(settings, data=replace(settings.data, root=str(root)), loader=replace(settings.loader, **loader))


def test_batches_from_a_pack_are_those_from_the_folder(packed, index, settings):
    from_pack = at(packed, settings)
    packed_index = build_index(from_pack.data)
    for one, other in zip(take(3, index, settings, start=1), take(3, packed_index, from_pack, start=1), strict=True):
        assert_same(one, other)
    rows, image_source = visible_rows(index)[:5], open_images(packed, packed_index)
    (one,) = evaluation_batches(FolderImages(index), rows, Modality.VISIBLE, settings, CPU)
    (other,) = evaluation_batches(image_source, rows, Modality.VISIBLE, from_pack, CPU)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_damaged_pack_stops_the_training_with_the_image(packed, index, settings):
    content = bytearray((packed / "train.arrow").read_bytes())
    image_source = open_images(packed, index)
    for row in np.flatnonzero(index["split"] == "train"):
        content[content.index(image_source.read(row).tobytes()) + 50] ^= 255
    (packed / "train.arrow").write_bytes(content)
    damaged = at(packed, settings, on_corrupt_image="replace")  # which is for images, not for packs
    with pytest.raises(ValueError, match=r"train.arrow/(visible|infrared)/.*: the pack is damaged there"):
        take(1, build_index(damaged.data), damaged)


def test_a_pack_that_was_resized_otherwise_is_refused(packed, index, settings):
    bicubic = replace(at(packed, settings), augment=replace(settings.augment, interpolation="bicubic"))
    image_source = open_images(packed, index)
    if image_source.size is None:
        assert not torch.equal(take(1, index, bicubic)[0].images, take(1, index, at(packed, settings))[0].images)
    else:
        with pytest.raises(ValueError, match="augment.interpolation: the pack holds bilinear images; found bicubic"):
            take(1, index, bicubic)


def test_a_pack_of_another_size_is_refused(packed, index, settings):
    larger = replace(at(packed, settings), augment=replace(settings.augment, height=48))
    image_source = open_images(packed, index)
    if image_source.size is None:
        assert take(1, index, larger)[0].images.shape[2] == 48
    else:
        message = "the pack holds images of 32 x 16; found 48 x 16; pack the data set again"
        with pytest.raises(ValueError, match=message):
            take(1, index, larger)
        with pytest.raises(ValueError, match="the pack holds images of 32 x 16"):
            next(evaluation_batches(image_source, visible_rows(index), Modality.VISIBLE, larger, CPU))


@pytest.fixture()
def damaged(people, index, tmp_path):
    """A copy with one bad training image in five, and their rows."""
    root = shutil.copytree(people, tmp_path / "damaged")
    rows = np.flatnonzero(index["split"] == "train")[::5]
    for number, row in enumerate(rows):
        path = root / Path(index["path"][row]).relative_to(people)
        path.write_bytes([b"", b"text", path.read_bytes()[:900], path.read_bytes()[:30]][number % 4])
    return root, rows


def test_bad_images_are_replaced_by_others_of_their_identity_and_counted(damaged, index, settings):
    root, bad = damaged
    tolerant = at(root, settings, on_corrupt_image="replace")
    batches = take(6, build_index(tolerant.data), tolerant)
    for batch, whole in zip(batches, take(6, index, settings), strict=True):
        changed = np.isin(whole.index, bad)
        assert not np.isin(batch.index, bad).any()
        np.testing.assert_array_equal(batch.index[~changed], whole.index[~changed])
        torch.testing.assert_close(batch.images[~changed], whole.images[~changed], rtol=0, atol=0)
        for name in ("label", "identity"):
            assert torch.equal(getattr(batch, name), getattr(whole, name))
        np.testing.assert_array_equal(index["modality"][batch.index.numpy()], index["modality"][whole.index.numpy()])
        assert batch.replaced == changed[: len(changed) // 2].sum()  # a derivative's image is its base's
    assert sum(batch.replaced for batch in batches) > 3


def test_resumed_batches_are_the_same_whenever_bad_images_are_met(damaged, index, settings):
    root, _ = damaged
    tolerant = at(root, settings, on_corrupt_image="replace")
    there = build_index(tolerant.data)
    whole = take(5, there, tolerant)
    for one, other in zip(whole[3:], take(2, there, tolerant, start=3), strict=True):
        assert_same(one, other)
        assert one.replaced == other.replaced


def test_evaluation_keeps_the_order_and_the_rest(index, settings):
    image_source, rows = FolderImages(index), visible_rows(index)[:7]
    few = replace(settings, evaluation=replace(settings.evaluation, batch=3))
    batches = list(evaluation_batches(image_source, rows, Modality.VISIBLE, few, CPU))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    single = [next(evaluation_batches(image_source, rows[k : k + 1], Modality.VISIBLE, few, CPU)) for k in range(7)]
    torch.testing.assert_close(torch.cat(batches), torch.cat(single), rtol=0, atol=0)
