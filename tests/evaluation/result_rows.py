"""Rows of results, made up."""

from pipeline.evaluation.results import METRICS


def row(run="a", trial=1, mode="all", value=50.0, **more):
    return {"run": run, "mode": mode, "config": "00000012", "trial": trial} | more | dict.fromkeys(METRICS, value)


def sysu(run="a", trial=1, seed=0, value=50.0, **more):
    facts = {"dataset": "sysu", "gallery_rule": "official", "recipe": "0a0a0a0a", "seed": seed, "config": f"c{seed}"}
    return row(run, trial, value=value, **facts | {"queries": 30, "gallery": 9, "replaced_images": 0} | more)
