"""Image operations as NVIDIA DALI graphs: decode, resize, derive, crop, flip, normalize, erase.

Knows images and arrays, nothing of data sets, models or config files. Every graph runs on the CPU and on the GPU and
samples nothing: random choices arrive as numbers (`parameters`), so that a NumPy twin (`reference`) can check
every pixel.
"""
