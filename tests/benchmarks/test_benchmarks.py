"""Each benchmark once, small, on the CPU: that it runs and prints its table. Its figures mean nothing here."""

import runpy
import sys

import numpy as np
import pytest
import timm
import torch

from benchmarks import data, derivations, devices, evaluation, fine_tuning, loader, scaling, steady, step

MODULES = (data, derivations, evaluation, fine_tuning, loader, scaling, steady, step)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_help_says_how_to_call_it(module, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {module.__name__} ")


def test_help_of_what_cannot_be_run_says_what_can(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "benchmarks.peers")
    runpy.run_module("benchmarks.peers", run_name="__main__")
    assert "python -m benchmarks.loader" in capsys.readouterr().out


@pytest.mark.parametrize("module", [derivations, evaluation, loader], ids=lambda module: module.__name__)
def test_a_gpu_that_is_not_there_is_one_line(module, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        module.main(["--device", "cuda"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: --device: cuda needs a GPU that PyTorch can use; found none")


@pytest.fixture
def tf32():
    """Sets whether (convolutions, matrix products) may use TF32; puts it back."""
    places = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]

    def allow(*values):
        for place, value in zip(places, values, strict=True):
            place.allow_tf32 = value

    yield allow
    allow(*before)


def test_the_device_is_described_with_what_rounds_float32(tf32, monkeypatch):
    assert devices.describe_device(torch.device("cpu")) == f"CPU, {torch.get_num_threads()} threads, float32, no TF32"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    gpu = torch.device("cuda", 0)
    tf32(True, False)
    assert devices.describe_device(gpu, "bfloat16") == "A100, bfloat16, TF32 in convolutions"
    tf32(False, False)
    assert devices.describe_device(gpu) == "A100, float32, TF32 in nothing"


@pytest.mark.parametrize("convolutions", [True, False])
def test_the_peak_uses_tf32_where_convolutions_do(tf32, convolutions):
    tf32(convolutions, not convolutions)
    with step.products_as_convolutions():
        assert torch.backends.cuda.matmul.allow_tf32 == convolutions
    assert torch.backends.cuda.matmul.allow_tf32 != convolutions


def test_seconds_are_those_of_a_call_after_the_warm_up():
    calls = []
    seconds = devices.seconds_of(lambda: calls.append(0), torch.device("cpu"), times=3, warm_up=2)
    assert len(calls) == 5 and 0 < seconds < 1


def test_loader(monkeypatch, capsys):
    monkeypatch.setattr(loader, "usable_cores", lambda: 1)
    arguments = ["--size", "96x48", "--identities", "12", "--batches", "1", "--warm-up", "0", "--rounds", "1"]
    loader.main([*arguments, "--device", "cpu"])
    shown = capsys.readouterr().out
    assert "1 rounds of 1 batches after 0" in shown and "all tensors end on: CPU, 1 threads, float32, no TF32" in shown
    for views in (1, 2):
        lines = shown.partition(f"views of an image: {views}")[2].splitlines()[1:7]
        rates = {line[:22].strip(): float(line[22:].split()[0]) for line in lines}
        assert len(rates) == 6 and all(rate > 0 for rate in rates.values())


def test_usual_batches_are_more_on_a_gpu():
    for_cpu, for_gpu = (loader.USUAL_BATCHES[kind] for kind in ("cpu", "cuda"))
    assert for_cpu == (40, 4) and for_gpu == (300, 20)


@pytest.mark.parametrize("size", ["384", "384x", "x128", "384x128x3"])
def test_a_size_that_is_none_is_an_error(size):
    with pytest.raises(ValueError, match="--size: expected height x width"):
        loader.size_of(size)


def test_derivations(capsys):
    derivations.main(["--images", "3", "--batches", "1", "--device", "cpu"])
    head, *lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert head == "one core of the CPU, uint8, 288x144, batches of 3"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert {name for name, *_ in rows} == set(derivations.DERIVATIONS)
    assert all(int(worst) <= 1 for _, _, _, worst, _ in rows)


def test_a_large_search_finds_what_it_drew(capsys):
    evaluation.main(["--large", "--queries", "20", "--gallery", "500", "--device", "cpu"])
    shown = capsys.readouterr().out
    assert "20 queries x 500 images, 256 dimensions, CPU" in shown and "peak memory" in shown
    assert "rank-1 1.0000" in shown


def test_the_table_of_scoring_compares_both_ways(monkeypatch, capsys):
    index, trials = evaluation.read_protocol(None, 1)
    kept = np.flatnonzero(index["identity"].isin(np.unique(index["identity"])[:8]).to_numpy())
    fewer = [only_of(trial, kept) for trial in trials if trial.fields["shots"] == "single"]
    monkeypatch.setattr(evaluation, "read_protocol", lambda folder, trials: (index, fewer))
    monkeypatch.setattr(evaluation, "DIMENSIONS", 16)
    evaluation.main(["--trials", "1", "--rounds", "1", "--device", "cpu"])
    shown = capsys.readouterr().out
    assert "16 dimensions, CPU" in shown and "NumPy loop / ours" in shown and shown.count("single") == 2


def only_of(trial, rows):
    query, gallery = (part[np.isin(part, rows)] for part in (trial.query, trial.gallery))
    return type(trial)(**{**trial.__dict__, "query": query, "gallery": gallery})


def test_data_measures_a_loader_and_arrays(people, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "BATCHES", 1)
    arguments = ["data.dataset=folder", f"data.root={people}"]
    data.measure_loader("cpu", *arguments, "batch.ids_per_batch=4")
    data.write_arrays(arguments, tmp_path)
    data.measure_arrays(str(tmp_path))
    for line in capsys.readouterr().out.splitlines():
        begin, indexed, first, *_ = map(float, line.split())
        assert begin <= indexed <= first


def test_steady(people, tiny, capsys):
    steady.main(["configs/folder.yaml", *tiny, f"data.root={people}", "--batches", "3", "--device", "cpu"])
    shown = capsys.readouterr().out
    assert "batches on: CPU" in shown and "| 3 | " in shown


def test_step(people, tiny, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(step, "WARM_UP", 1)
    monkeypatch.setattr(step, "STEPS", 2)
    monkeypatch.setattr(step, "PEAK_SIZE", {"cpu": 256})
    step.main(["configs/folder.yaml", *tiny, f"data.root={people}", "name=step", "train.precision=bf16"])
    shown = capsys.readouterr().out
    assert "ours in bfloat16; CPU" in shown and "plain loop in float32, no TF32" in shown
    assert "both: sgd, fused; cudnn.benchmark" in shown
    for name in ("plain loop, float32", "ours, batch in memory", "ours, with the loader"):
        rows, faster, *_ = shown.partition(name)[2].split()[:4]
        assert float(rows) > 0 and float(faster) > 0


def test_scaling(capsys):
    scaling.main(["--step", "0.05"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(scaling.GPUS)


def slow_histograms(image):
    """The same pixel by pixel."""
    down, right = np.gradient(image.astype(float))
    cells = np.zeros((image.shape[0] // 8, image.shape[1] // 8, 9))
    for y in range(8 * cells.shape[0]):
        for x in range(8 * cells.shape[1]):
            angle = np.arctan2(down[y, x], right[y, x]) % np.pi
            cells[y // 8, x // 8, int(angle / np.pi * 9) % 9] += np.hypot(down[y, x], right[y, x])
    blocks = []
    for y in range(cells.shape[0] - 1):
        for x in range(cells.shape[1] - 1):
            block = np.concatenate([cells[y + dy, x + dx] for dy in (0, 1) for dx in (0, 1)])
            blocks.append(block / (np.linalg.norm(block) + 1e-6))
    features = np.concatenate(blocks)
    return features / np.linalg.norm(features)


def test_histograms_of_gradients_are_those_of_a_loop():
    image = np.random.default_rng(0).integers(0, 256, (35, 26), np.uint8)
    np.testing.assert_allclose(fine_tuning.gradient_histograms(image), slow_histograms(image), rtol=1e-9)


def test_fine_tuning(people, tmp_path, capsys):
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    small = ["augment.height=32", "augment.width=16", "train.epochs=1", "train.steps_per_epoch=1"]
    small += ["batch.ids_per_batch=2", "batch.images_per_modality=2"]
    fine_tuning.main([str(people), str(weights), "--backbone", "test_resnet", "--seeds", "1", *small])
    lines = capsys.readouterr().out.splitlines()
    names = ["from the weights, seed 0", "from random weights, seed 0", "no training", "gradient histograms"]
    assert [line[:30].strip() for line in lines[1:]] == [*names, "gray pixels"]
    assert all(0 < float(value) <= 100 for line in lines[1:] for value in line[30:].split())
