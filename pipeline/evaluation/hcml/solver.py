"""HCML's alternating minimization: an accelerated proximal gradient step for M, then gradient steps for V and T."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from pipeline.evaluation.hcml.objective import Classes, between_modalities, distances, within_modality

# Of the authors' code.
WITHIN_WEIGHT = 0.2
RATE, RATE_DECAY = 0.1, 0.95
FIRST_CURVATURE = 2.0**-8
ITERATIONS = 300  # at most
TOLERANCE = 1e-6  # ends it: relative change of F_x

ROUNDING = 1e-12  # relative: near a minimum, values in the wrong order may differ by as much

Projections = tuple[torch.Tensor, torch.Tensor]  # V and T, (d, d) each


@dataclass(frozen=True)
class Problem:
    """What is learned from: features by identity, and the threshold mu between distances of one identity and of two."""

    visible: Classes
    infrared: Classes
    threshold: torch.Tensor

    @classmethod
    def of(cls, visible: Classes, infrared: Classes) -> Problem:
        """Returns the problem whose threshold is the mean distance before anything is learned."""
        identity = torch.eye(visible.means.shape[1], dtype=visible.means.dtype)
        return cls(visible, infrared, distances(visible.means, infrared.means, identity).mean())

    def between(self, projections: Projections, metric: torch.Tensor) -> torch.Tensor:
        """Returns F_x."""
        v, t = projections
        return between_modalities(distances(self.visible.means @ v, self.infrared.means @ t, metric), self.threshold)

    def whole(self, projections: Projections, metric: torch.Tensor) -> torch.Tensor:
        """Returns F_x + 0.2 (F_v + F_t)."""
        v, t = projections
        within = within_modality(self.visible.deviations, v) + within_modality(self.infrared.deviations, t)
        return self.between(projections, metric) + WITHIN_WEIGHT * within


@dataclass(frozen=True)
class MetricState:
    """The state of the accelerated proximal gradient method.

    metric, before  M now and before the last step, (d, d), symmetric and positive semidefinite
    momentum        a_t
    curvature       L: the quadratic bound of the last step, which only grows
    """

    metric: torch.Tensor
    before: torch.Tensor
    momentum: float = 0.0
    curvature: float = FIRST_CURVATURE

    def next(self, problem: Problem, projections: Projections) -> MetricState:
        """Returns the state after a step, which doesn't raise F_x: where momentum would, the step is taken without."""
        momentum = (1 + math.sqrt(1 + 4 * self.momentum**2)) / 2
        ahead = self.metric + (self.momentum - 1) / momentum * (self.metric - self.before)
        metric, curvature, value = proximal_step(problem, projections, ahead, self.curvature)
        if value > float(problem.between(projections, self.metric)):
            metric, curvature, _ = proximal_step(problem, projections, self.metric, curvature)
        return MetricState(metric, self.metric, momentum, curvature)


def proximal_step(
    problem: Problem, projections: Projections, start: torch.Tensor, curvature: float
) -> tuple[torch.Tensor, float, float]:
    """Returns M, the curvature L whose quadratic bound holds there, and F_x(M).

    M is the positive semidefinite part of S - G / L, S the start and G the gradient of F_x there. L is doubled until
    F_x(M) <= F_x(S) + <G, M - S> + L/2 |M - S|^2.
    """
    leaf = start.detach().requires_grad_()
    value = problem.between(projections, leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    first = float(value.detach())
    while True:
        metric = semidefinite_part(start - gradient / curvature)
        step = metric - start
        bound = first + float((gradient * step).sum()) + curvature / 2 * float(step.square().sum())
        found = float(problem.between(projections, metric))
        if found <= bound + ROUNDING * abs(first):
            return metric, curvature, found
        curvature *= 2


def semidefinite_part(matrix: torch.Tensor) -> torch.Tensor:
    """Returns the nearest positive semidefinite matrix of a symmetric one."""
    root = square_root(matrix)
    return root @ root.T


def square_root(matrix: torch.Tensor) -> torch.Tensor:
    """Returns P (d, d) with P P^T the positive semidefinite part of a symmetric matrix."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * values.clamp_min(0).sqrt()


def descend(problem: Problem, projections: Projections, metric: torch.Tensor, rate: float) -> tuple[Projections, float]:
    """Returns V and T after a step down the gradient of the whole objective, and the rate it took.

    The rate is halved until the objective doesn't rise, for the authors' diverges where features or M are large.
    """
    v, t = (projection.detach().requires_grad_() for projection in projections)
    value = problem.whole((v, t), metric)
    gradients = torch.autograd.grad(value, (v, t))
    highest = float(value.detach()) * (1 + ROUNDING)
    while True:
        stepped = projections[0] - rate * gradients[0], projections[1] - rate * gradients[1]
        if float(problem.whole(stepped, metric)) <= highest:
            return stepped, rate
        rate /= 2


@dataclass(frozen=True)
class Minimum:
    """What was learned: V P and T P, each (d, d), and F_x at the start and after each iteration."""

    visible: torch.Tensor
    infrared: torch.Tensor
    course: list[float]


def minimize(visible: Classes, infrared: Classes) -> Minimum:
    """Returns the projections of features (n, d) float64 of the same identities in two modalities.

    V, T and M start as the identity. Iteration t = 1, 2, ... takes a step for M, then one of the rate 0.1 * 0.95^t for
    V and T.
    """
    problem = Problem.of(visible, infrared)
    identity = torch.eye(visible.means.shape[1], dtype=visible.means.dtype)
    projections: Projections = (identity, identity)
    state, shortened = MetricState(identity, identity), 1.0
    course = [float(problem.between(projections, identity))]
    for number in range(1, ITERATIONS + 1):
        state = state.next(problem, projections)
        rate = RATE * RATE_DECAY**number
        projections, taken = descend(problem, projections, state.metric, rate * shortened)
        shortened = taken / rate
        course.append(float(problem.between(projections, state.metric)))
        if abs(course[-2] - course[-1]) < TOLERANCE * course[-2]:
            break
    root = square_root(state.metric)
    return Minimum(projections[0] @ root, projections[1] @ root, course)
