"""The official protocols at the data sets' true shape, against loops written from the protocols' description.

Features are small whole numbers, so that distances are exact and many are equal.
"""

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import loadmat

from pipeline.datasets.listing import Record, build_index
from pipeline.evaluation.scoring import score_trials
from tests.datasets.reading import trials

INFRARED = (3, 6)
MODES = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SAMPLE = 75  # queries of a trial that the loops go through


def make_features(index, dimensions=3, values=40):
    generator = np.random.default_rng(5)
    centers = generator.integers(-values, values + 1, (1 + index["identity"].max(), dimensions))
    noise = generator.integers(-values, values + 1, (len(index), dimensions))
    return torch.from_numpy((centers[index["identity"]] + noise).astype(np.float32))


def search(query, gallery, skips, identity, features):
    """(first place among identities, average precision, inverse negative penalty) of a query, or None: not counted.

    `gallery` are rows in the gallery's order, `skips(row)` says which of them the query doesn't see.
    """
    ranked = []
    for position, row in enumerate(gallery):
        if not skips(row):
            distance = sum((a - b) ** 2 for a, b in zip(features[query], features[row], strict=True))
            ranked.append((distance, position, identity[row]))
    ranked.sort()
    seen, place_by_identity, hits, precisions, last = set(), None, 0, [], None
    for place, (_, _, found) in enumerate(ranked, 1):
        if found not in seen:
            seen.add(found)
            if found == identity[query]:
                place_by_identity = len(seen)
        if found == identity[query]:
            hits, last = hits + 1, place
            precisions.append(hits / place)
    if not hits:
        return None
    return place_by_identity, sum(precisions) / hits, hits / last


def compare(scores, queries, sample, gallery, skips, index, features, deduplicate=True):
    """The figures of the sampled queries by the loops and ours, and ours over the trial from those by query."""
    identity, rows = index["identity"].tolist(), [tuple(map(int, row)) for row in features.tolist()]
    missing = 0
    for number in sample:
        query = queries[number]
        expected = search(query, gallery, lambda row, query=query: skips(query, row), identity, rows)
        found = (scores.first_match_rank, scores.average_precision, scores.inverse_negative_penalty)
        found = [float(values[number]) for values in found]
        if expected is None:
            assert np.isnan(found).all()
            missing += 1
        elif deduplicate:
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        else:
            np.testing.assert_allclose(found[1:], expected[1:], rtol=0, atol=1e-12)
    firsts = [first for first in scores.first_match_rank if not np.isnan(first)]
    assert scores.counted_queries == len(firsts)
    for k in (1, 5, 10, 20):
        assert abs(scores.cmc[k - 1] - sum(first <= k for first in firsts) / len(firsts)) < 1e-12
    for mean, values in (
        (scores.mAP, scores.average_precision),
        (scores.mINP, scores.inverse_negative_penalty),
    ):
        assert abs(mean - sum(value for value in values if not np.isnan(value)) / len(firsts)) < 1e-12
    return missing


# ---------------------------------------------------------------- SYSU-MM01


@pytest.fixture(scope="module")
def protocol_files(shared_folder):
    if not (shared_folder / "protocols").is_dir():
        pytest.skip("needs protocols/ in the shared folder")
    return shared_folder / "protocols"


@pytest.fixture(scope="module")
def sysu_counts(protocol_files):
    """(identity, camera) -> number of images, of the identities of test_id.txt."""
    identities = {int(argument) for argument in (protocol_files / "test_id.txt").read_text().strip().split(",")}
    shape = pd.read_csv(protocol_files / "sysu_shape.csv")
    assert set(shape["id"][shape["split"] == "test"]) == identities
    rows = shape[shape["id"].isin(identities)].to_dict("records")
    return {(row["id"], camera): row[f"cam{camera}"] for row in rows for camera in range(1, 7) if row[f"cam{camera}"]}


@pytest.fixture(scope="module")
def sysu(sysu_counts):
    """The index, its features, and (identity, camera, number of the image) -> row."""
    records = [
        Record(f"/r/cam{camera}/{identity:04d}/{image:04d}.jpg", identity, camera, int(camera in INFRARED), "test")
        for (identity, camera), count in sysu_counts.items()
        for image in range(1, count + 1)
    ]
    index = build_index(records, "/r")
    rows = {}
    for row, path in enumerate(index["path"]):
        _, _, camera, identity, image = path.split("/")
        rows[int(identity), int(camera[3:]), int(image[:4])] = row
    return index, make_features(index), rows


def official_gallery(cells, counts, rows, cameras, trial, shots):
    """The first `shots` images of row `trial` (from 1) of every visible camera and identity, as MATLAB would loop."""
    gallery = []
    for camera in cameras:
        for identity in range(1, len(cells[camera - 1, 0]) + 1):
            if (identity, camera) in counts:
                order = cells[camera - 1, 0][identity - 1, 0][trial - 1]
                gallery += [rows[identity, camera, int(image)] for image in order[:shots]]
    return gallery


def drawn_gallery(counts, rows, cameras, trial):
    """One image of every sorted identity and camera by `random.seed(trial)`, as public PyTorch code has it."""
    gallery, state = [], random.getstate()
    random.seed(trial)
    for identity in sorted({identity for identity, _ in counts}):
        for camera in cameras:
            if (identity, camera) in counts:
                names = sorted(f"{image:04d}" for image in range(1, counts[identity, camera] + 1))
                gallery.append(rows[identity, camera, int(random.choice(names))])
    random.setstate(state)
    return gallery


def skips_in_sysu(index):
    camera = index["camera"].tolist()
    return lambda query, row: camera[query] == 3 and camera[row] == 2


SIZES = {("all", "single"): 301, ("indoor", "single"): 112, ("all", "multi"): 3010, ("indoor", "multi"): 1120}


@pytest.mark.parametrize("rule", ["official", "random_seed"])
def test_sysu(rule, sysu, sysu_counts, protocol_files):
    index, features, rows = sysu
    shots = ("single", "multi") if rule == "official" else ("single",)
    made = trials("sysu", index, protocol_files, shots=shots, gallery_rule=rule)
    assert len(made) == 10 * 2 * len(shots)
    cells, generator = loadmat(protocol_files / "rand_perm_cam.mat")["rand_perm_cam"], random.Random(0)
    skips = skips_in_sysu(index)
    queries = [row for row in range(len(index)) if index["camera"][row] in INFRARED]
    assert len(queries) == 3803
    # galleries of all trials are compared; figures of the first and the last, of which only a sample can be looped over
    numbers = [number for number in range(len(made)) if number % 10 in (0, 9)]
    missing = 0
    scored = dict(
        zip(numbers, score_trials(features, index, [made[n] for n in numbers], metric="euclidean"), strict=True)
    )
    for position, trial in enumerate(made):
        mode, shot, number = (trial.fields[name] for name in ("mode", "shots", "trial"))
        if rule == "official":
            shown = {"single": 1, "multi": 10}[shot]
            gallery = official_gallery(cells, sysu_counts, rows, MODES[mode], number, shown)
        else:
            gallery = drawn_gallery(sysu_counts, rows, MODES[mode], number)
        assert trial.query.tolist() == queries and trial.gallery.tolist() == gallery
        assert len(gallery) == SIZES[mode, shot]
        if position in scored:
            sample = generator.sample(range(3803), SAMPLE)
            missing += compare(scored[position], queries, sample, gallery, skips, index, features)
    assert missing  # identities that no camera of indoor-search saw were among those searched for


def test_sysu_gallery_of_one_identity(sysu):
    index, features, _ = sysu
    (identity, *_) = index["identity"][index["camera"] == 2]
    alone = index[(index["identity"] == identity) | index["camera"].isin(INFRARED)].reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # says that the authors' permutations aren't there
        made = trials("sysu", alone, "/nowhere", trials=2)
    for trial, scores in zip(made, score_trials(features[: len(alone)], alone, made, metric="euclidean"), strict=True):
        own = [row for row in trial.query if alone["identity"][row] == identity]
        assert scores.counted_queries == len(own) and scores.cmc[0] == 1
        compare(scores, trial.query, range(0, 3803, 40), trial.gallery, skips_in_sysu(alone), alone, features)


# ---------------------------------------------------------------- LLCM and RegDB


def small_index(cameras, identities, images):
    """A few identities of a data set: every one in some of the (modality, camera) pairs."""
    generator = random.Random(1)
    records = []
    for identity in range(1, identities + 1):
        for modality, camera in generator.sample(cameras, max(2, len(cameras) // 2)):
            for image in range(1, generator.randint(2, images) + 1):
                path = f"/r/{modality}/cam{camera}/{identity:04d}/{image:04d}.jpg"
                records.append(Record(path, identity, camera, modality, "test"))
    return build_index(records, "/r")


LLCM_CAMERAS = [(0, camera) for camera in range(1, 10)] + [(1, camera) for camera in (1, 2, 4, 5, 6, 7, 8, 9)]


@pytest.mark.parametrize("reading", ["paper", "repository"])
def test_llcm(reading):
    index = small_index(LLCM_CAMERAS, 25, 5)
    features, identity, camera = make_features(index), index["identity"].tolist(), index["camera"].tolist()
    made = trials("llcm", index, "/r", protocol_variant=reading)
    assert [trial.fields["direction"] for trial in made[::10]] == ["visible_to_infrared", "infrared_to_visible"]

    def skips(query, row):
        return identity[query] == identity[row] and camera[query] == camera[row]

    for trial, scores in zip(made, score_trials(features, index, made, metric="euclidean"), strict=True):
        whole = 0 if trial.fields["direction"] == "visible_to_infrared" else 1
        every = [row for row in range(len(index)) if index["modality"][row] == whole]
        generator, sampled = random.Random(trial.fields["trial"]), []
        for person in sorted(set(identity)):
            for place in range(1, 10):
                chosen = [r for r in range(len(index)) if (identity[r], camera[r]) == (person, place)]
                chosen = [r for r in chosen if index["modality"][r] != whole]
                if chosen:
                    sampled.append(generator.choice(sorted(chosen, key=lambda r: index["path"][r])))
        queries, gallery = (sampled, every) if reading == "repository" and whole == 0 else (every, sampled)
        assert trial.query.tolist() == queries and trial.gallery.tolist() == gallery
        compare(scores, queries, range(0, len(queries), 4), gallery, skips, index, features)


def test_regdb():
    index = small_index([(0, 1), (1, 2)], 40, 10)
    features = make_features(index)
    made = trials("regdb", index, "/r", trial=3)
    for trial, scores in zip(made, score_trials(features, index, made, metric="euclidean"), strict=True):
        sides = [[row for row in range(len(index)) if index["modality"][row] == side] for side in (0, 1)]
        queries, gallery = sides if trial.fields["direction"] == "visible_to_infrared" else sides[::-1]
        assert trial.query.tolist() == queries and trial.gallery.tolist() == gallery
        compare(scores, queries, range(len(queries)), gallery, lambda query, row: False, index, features, False)
