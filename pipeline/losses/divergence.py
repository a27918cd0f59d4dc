"""The symmetric divergence of the predictions for an image and for its translation."""

from __future__ import annotations

import torch

from pipeline.precision import wide

EPSILON = 1e-8  # in JSIA's code: added to the denominator, and to the ratio below the logarithm


def symmetric_divergence(logits_q: torch.Tensor, logits_t: torch.Tensor) -> torch.Tensor:
    """Returns the mean over rows of sum_c [t_c log(e + t_c / (q_c + e)) + q_c log(e + q_c / (t_c + e))], a scalar.

    q, t: the softmax of logits (B, C) each, B >= 1, in float32 or wider; e = 1e-8, which keeps value and gradient
    finite for predictions of 0. It is KL(t | q) + KL(q | t) but for e. The gradient reaches both: detach what is a
    target. JSIA (Wang et al., AAAI 2020), as in its code.
    """
    q, t = (torch.softmax(wide(logits), dim=1) for logits in (logits_q, logits_t))
    forth, back = t * (EPSILON + t / (q + EPSILON)).log(), q * (EPSILON + q / (t + EPSILON)).log()
    return (forth + back).sum(dim=1).mean()
