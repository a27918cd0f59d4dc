"""Compares the metrics of SYSU-MM01 from stored features with the loop of public code.

    python -m benchmarks.evaluation [--device auto] [--shape FOLDER] [--trials 10] [--rounds 3]
    python -m benchmarks.evaluation --large [--device auto] [--queries 10000] [--gallery 1000000]

FOLDER holds sysu_shape.csv and rand_perm_cam.mat, the true number of images and the official galleries; without it
people and galleries are those that the generator samples with the published totals. Features are random: the times
don't depend on them. Ours runs on the device, where its features are; the loop is NumPy's, on the CPU. `--large`
searches in a gallery of a million images, within 4 GB of memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.io import savemat

from benchmarks.devices import add_device_option, choose_device, describe_device
from pipeline.batch import Modality
from pipeline.datasets.listing import Record, build_index
from pipeline.datasets.sysu.protocol import PERMUTATIONS, sysu_trials
from pipeline.errors import one_line_errors
from pipeline.evaluation.ranking import Scores, rank
from pipeline.evaluation.scoring import score_trials
from pipeline.protocols import Trial
from pipeline.synthetic.dataset_layouts import plan_sysu
from pipeline.synthetic.dataset_shapes import SYSU_CAMERAS, scaled
from pipeline.synthetic.shape_files import read_shape

DIMENSIONS, LARGE_DIMENSIONS = 2048, 256
IMAGES_OF_A_PERSON = 10  # in the large gallery
AGREEMENT = 5e-4  # the loop breaks ties by chance, and rounds its products differently


def read_protocol(folder: Path | None, trials: int) -> tuple[pd.DataFrame, list[Trial]]:
    """Returns the index of SYSU-MM01's test images, without the images, and its trials."""
    shape = scaled("sysu", 1, 0) if folder is None else read_shape(folder / "sysu_shape.csv")[0]
    shape = {identity: presence for identity, presence in shape.items() if presence.split == "test"}
    records = [
        Record(f"/cam{camera}/{identity:04d}/{number:04d}.jpg", identity, camera, modality_of(camera), "test")
        for identity, presence in shape.items()
        for (_, camera), count in presence.images.items()
        for number in range(1, count + 1)
    ]
    index = build_index(records, Path("/"))
    modes, shots = ("all", "indoor"), ("single", "multi")
    if folder is not None:
        return index, sysu_trials(index, folder, modes, shots, "official", trials=trials)
    with tempfile.TemporaryDirectory() as temporary:
        savemat(Path(temporary) / PERMUTATIONS, plan_sysu(shape, 0).matrices[f"exp/{PERMUTATIONS}"])
        return index, sysu_trials(index, temporary, modes, shots, "official", trials=trials)


def modality_of(camera: int) -> int:
    return int(Modality.INFRARED if SYSU_CAMERAS[camera] == "infrared" else Modality.VISIBLE)


def sample_features(index: pd.DataFrame) -> torch.Tensor:
    """Samples (len(index), DIMENSIONS) float32 of unit length, nearer within an identity than between identities."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(index), DIMENSIONS, generator=generator)
    people, person = np.unique(index["identity"], return_inverse=True)
    features += 0.25 * torch.randn(len(people), DIMENSIONS, generator=generator)[torch.from_numpy(person)]
    return torch.nn.functional.normalize(features, dim=1)


def public_loop(
    features: np.ndarray, index: pd.DataFrame, trial: Trial, lists: bool = True
) -> tuple[float, float, float]:
    """Returns rank-1, mAP and mINP of a trial query by query, as public code computes them.

    `lists`: the precision at each place of the list by Python's arithmetic, as is usual; otherwise by NumPy's.
    """
    identity, camera = index["identity"].to_numpy(), index["camera"].to_numpy()
    distances = -features[trial.query] @ features[trial.gallery].T
    gallery_identity, gallery_camera = identity[trial.gallery], camera[trial.gallery]
    cmc, precisions, penalties = [], [], []
    for row, query in enumerate(trial.query):
        order = np.argsort(distances[row])
        keep = ~((camera[query] == 3) & (gallery_camera[order] == 2))
        ranked = gallery_identity[order][keep]
        match = ranked == identity[query]
        if not match.any():
            continue
        _, first = np.unique(ranked, return_index=True)
        cmc.append((ranked[np.sort(first)] == identity[query]).astype(np.int32).cumsum()[:20])
        hits = match.cumsum()
        precision = [hit / (i + 1.0) for i, hit in enumerate(hits)] if lists else hits / np.arange(1, len(hits) + 1)
        precisions.append((np.asarray(precision) * match).sum() / match.sum())
        places = np.flatnonzero(match) + 1
        penalties.append(len(places) / places[-1])
    return float(np.mean([shown[0] for shown in cmc])), float(np.mean(precisions)), float(np.mean(penalties))


def timed(function: Callable[[], object], rounds: int) -> tuple[object, float, float]:
    """Returns the function's result, and the fewest seconds, of a clock and of the processor, that it took."""
    seconds, processor = [], []
    for _ in range(rounds):
        clock, used = time.perf_counter(), time.process_time()
        result = function()
        seconds.append(time.perf_counter() - clock)
        processor.append(time.process_time() - used)
    return result, min(seconds), min(processor)


def compare(folder: Path | None, trials: int, rounds: int, device: torch.device) -> None:
    """Prints the table of both ways. ValueError where their metrics differ."""
    index, made = read_protocol(folder, trials)
    sampled = sample_features(index)
    features, stored = sampled.to(device), sampled.numpy()
    lines, loops = [], np.zeros(2)
    for start in range(0, len(made), trials):
        group = made[start : start + trials]
        ours, seconds, _ = timed(lambda group=group: score_trials(features, index, group), rounds)
        loop = []
        for lists in (True, False):
            theirs, public, _ = timed(lambda g=group, k=lists: [public_loop(stored, index, one, k) for one in g], 1)
            loop.append(public)
        difference = max(differences(ours, theirs))
        if difference > AGREEMENT:
            raise ValueError(f"metrics: expected both ways to agree within {AGREEMENT}; found {difference:.1e} apart")
        line = {"mode": group[0].fields["mode"], "shots": group[0].fields["shots"], "gallery": len(group[0].gallery)}
        line |= {"mAP": f"{np.mean([scores.mAP for scores in ours]):.4f}", "apart": f"{difference:.0e}"}
        lines.append(line | row_of_times(loop, seconds))
        loops += loop
    _, seconds, processor = timed(lambda: score_trials(features, index, made), rounds)
    lines.append(
        {"mode": "all at once", "gallery": "", "shots": "", "mAP": "", "apart": ""} | row_of_times(loops, seconds)
    )
    print(f"{len(made[0].query)} queries, {trials} trials each, {DIMENSIONS} dimensions, {describe_device(device)}")
    print(pd.DataFrame(lines).to_string(index=False))
    print(f"all at once: {processor:.2f} s of processor time; {peak_memory(device)}")


def row_of_times(loop: Sequence[float], ours: float) -> dict[str, str]:
    """Returns times of the loop, with Python's and with NumPy's arithmetic, and how many times faster ours is."""
    names = ("loop", "NumPy loop")
    seconds = {f"{name} s": f"{value:.2f}" for name, value in zip(names, loop, strict=True)} | {"ours s": f"{ours:.2f}"}
    return seconds | {f"{name} / ours": f"{value / ours:.0f}" for name, value in zip(names, loop, strict=True)}


def differences(ours: list[Scores], theirs: list[tuple[float, float, float]]) -> list[float]:
    return [
        abs(one - other)
        for scores, metrics in zip(ours, theirs, strict=True)
        for one, other in zip((scores.cmc[0], scores.mAP, scores.mINP), metrics, strict=True)
    ]


def search_large(queries: int, images: int, device: torch.device) -> None:
    """Prints the rate and the peak memory of a search in a large gallery whose features are sampled block by block."""
    generator = torch.Generator().manual_seed(0)
    identities = np.arange(images) // IMAGES_OF_A_PERSON
    gallery = torch.empty(images, LARGE_DIMENSIONS)
    for part in gallery.split(2**16):
        part.normal_(generator=generator)
    wanted = np.arange(queries) % (images // IMAGES_OF_A_PERSON)
    query = torch.randn(queries, LARGE_DIMENSIONS, generator=generator)
    query += gallery[torch.from_numpy(wanted * IMAGES_OF_A_PERSON)]
    query, gallery = query.to(device), gallery.to(device)
    scores, seconds, processor = timed(lambda: rank(query, gallery, wanted, identities), 1)
    print(f"{queries} queries x {images} images, {LARGE_DIMENSIONS} dimensions, {describe_device(device)}")
    print(f"{seconds:.1f} s ({processor:.1f} s of processor time): {queries / seconds:.0f} queries/s, ", end="")
    print(f"{queries * images / seconds / 1e6:.0f} million pairs/s; {peak_memory(device)}")
    print(f"rank-1 {scores.cmc[0]:.4f}, mAP {scores.mAP:.4f}")


def peak_memory(device: torch.device) -> str:
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    used = f", of the GPU {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB" if device.type == "cuda" else ""
    return f"peak memory {host:.2f} GB{used}"


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--shape", type=Path, help="folder with sysu_shape.csv and rand_perm_cam.mat")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="ours is timed so often; the least counts")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--gallery", type=int, default=1_000_000)
    options = parser.parse_args(argv)
    device = choose_device(options.device)
    if options.large:
        search_large(options.queries, options.gallery, device)
    else:
        compare(options.shape, options.trials, options.rounds, device)


if __name__ == "__main__":
    main()
