"""Corrupted images: 20 kinds in five levels, on arrays; knows no data set, no setting and no network.

After Hendrycks and Dietterich, ICLR 2019 (ImageNet-C, 19 kinds), and Chen, Wang and Zheng, NeurIPS 2021 (rain). A kind
is a function of an image (H, W, C) float32 in 0-1 (C: 3, or 1 of an infrared image), a level from 1 to 5 and a
generator; it returns as many numbers, which `corrupt.corrupt` clips. Constants are those of the package
imagecorruptions 1.1.2, which the authors' code calls.
"""
