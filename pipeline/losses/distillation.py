"""The Kullback-Leibler divergence between the predictions of two classifiers, the one of which teaches."""

from __future__ import annotations

import torch

EPSILON = 1e-7  # added to the teacher's probabilities, as in mangye16/Cross-Modal-Re-ID-baseline (CAJ)


def teaching_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns T^2 mean_i sum_c q_ic (log q_ic - log softmax(student_i / T)_c), with q = softmax(teacher / T) + 1e-7.

    A scalar. student, teacher (B, C) logits, B >= 1; T = temperature > 0. The teacher gets no gradient. Hinton et al.,
    "Distilling the Knowledge in a Neural Network", 2015, as in the public code of CAJ (Ye et al., ICCV 2021).
    """
    taught = torch.softmax(teacher.detach() / temperature, dim=1) + EPSILON
    learned = torch.log_softmax(student / temperature, dim=1)
    return temperature**2 * (taught * (taught.log() - learned)).sum(dim=1).mean()
