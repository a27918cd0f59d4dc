"""Generates data sets of synthetic people: `python -m pipeline.synthetic --layout sysu --root DIR`.

Readers of real data import nothing of this package; what they must know is in `pipeline.datasets.marker`.
"""
