"""The minimization: what each step promises, and that what is learned finds people of the other modality."""

import pytest
import torch

from pipeline.evaluation.hcml import solver
from pipeline.evaluation.hcml.solver import MetricState, Problem, descend, minimize, proximal_step, semidefinite_part
from tests.evaluation.hcml.people import classes_of, people


@pytest.fixture
def problem():
    return Problem.of(*classes_of(*people()))


EYE = torch.eye(12, dtype=torch.float64)


def symmetric(seed):
    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return matrix + matrix.T


def test_the_threshold_is_the_mean_distance_of_the_features_themselves(problem):
    differences = problem.visible.means[:, None] - problem.infrared.means[None]
    assert float(problem.threshold) == pytest.approx(float(differences.square().sum(dim=2).mean()), rel=1e-12)


def test_the_semidefinite_part_is_the_nearest(problem):
    matrix = symmetric(0)
    part = semidefinite_part(matrix)
    values = torch.linalg.eigvalsh(part)
    assert values.min() > -1e-12 and (part - matrix).norm() == pytest.approx(
        float(torch.linalg.eigvalsh(matrix).clamp_max(0).norm()), rel=1e-9
    )
    torch.testing.assert_close(semidefinite_part(part), part)


@pytest.mark.parametrize("curvature", [2.0**-8, 1.0])
def test_the_quadratic_bound_holds_where_a_step_ends_and_not_before(problem, curvature):
    start = (EYE + 0.1 * semidefinite_part(symmetric(1))).requires_grad_()
    value = problem.between((EYE, EYE), start)
    (gradient,) = torch.autograd.grad(value, start)
    metric, found, reached = proximal_step(problem, (EYE, EYE), start.detach(), curvature)

    def excess(bound):
        its = semidefinite_part(start.detach() - gradient / bound)
        step = its - start.detach()
        quadratic = value.detach() + (gradient * step).sum() + bound / 2 * step.square().sum()
        return float(problem.between((EYE, EYE), its) - quadratic)

    assert reached == pytest.approx(float(problem.between((EYE, EYE), metric)), rel=1e-12)
    assert excess(found) <= 1e-10 and (found == curvature or excess(found / 2) > 0)
    if curvature == 2.0**-8:
        assert found > curvature, "a case whose first bound doesn't hold"


# With few dimensions and much noise a minimum is near, and momentum overshoots it.
@pytest.mark.parametrize(("identities", "width", "noise"), [(10, 12, 0.5), (40, 4, 2.0)])
def test_steps_for_the_metric_never_raise_f_x_and_keep_it_semidefinite(identities, width, noise):
    problem = Problem.of(*classes_of(*people(identities, width=width, noise=noise)))
    eye = torch.eye(width, dtype=torch.float64)
    state, values = MetricState(eye, eye), [float(problem.between((eye, eye), eye))]
    for _ in range(60):
        state = state.next(problem, (eye, eye))
        values.append(float(problem.between((eye, eye), state.metric)))
        assert torch.linalg.eigvalsh(state.metric).min() > -1e-9
    assert all(later <= earlier * (1 + 1e-11) for earlier, later in zip(values, values[1:], strict=False))
    assert values[60] < values[1] < values[0]


def test_momentum_makes_the_method_faster(problem):
    fast = plain = MetricState(EYE, EYE)
    for _ in range(40):
        fast = fast.next(problem, (EYE, EYE))
        plain = MetricState(plain.metric, plain.metric, 0.0, plain.curvature).next(problem, (EYE, EYE))
    reached = [float(problem.between((EYE, EYE), state.metric)) for state in (fast, plain)]
    assert fast.momentum > 10 and reached[0] < reached[1]


def test_a_step_of_the_projections_is_down_the_exact_gradient(problem):
    metric = semidefinite_part(symmetric(2)) / 12
    (v, t), taken = descend(problem, (EYE, EYE), metric, 1e-4)
    leaves = [EYE.clone().requires_grad_() for _ in range(2)]
    problem.whole(tuple(leaves), metric).backward()
    assert taken == 1e-4
    for stepped, leaf in ((v, leaves[0]), (t, leaves[1])):
        torch.testing.assert_close(stepped, EYE - 1e-4 * leaf.grad)


@pytest.mark.parametrize("length", [0.1, 1.0, 50.0])
def test_the_whole_objective_never_rises_however_long_the_features(length, monkeypatch):
    visible, infrared, labels = people()
    course, next_ = [], MetricState.next

    def followed(state, problem, projections):
        course.append(float(problem.whole(projections, state.metric)))
        return next_(state, problem, projections)

    monkeypatch.setattr(MetricState, "next", followed)
    monkeypatch.setattr(solver, "ITERATIONS", 50)
    found = minimize(*classes_of(length * visible, length * infrared, labels))
    assert found.visible.isfinite().all() and found.infrared.isfinite().all() and len(course) > 10
    assert all(later <= earlier * (1 + 1e-10) for earlier, later in zip(course, course[1:], strict=False))


def test_it_ends_where_f_x_no_longer_changes(monkeypatch):
    data = classes_of(*people())
    monkeypatch.setattr(solver, "TOLERANCE", 0.02)
    course = minimize(*data).course
    changes = [abs(a - b) / a for a, b in zip(course, course[1:], strict=False)]
    assert changes[-1] < 0.02 <= min(changes[:-1]) and len(changes) < solver.ITERATIONS
    monkeypatch.setattr(solver, "ITERATIONS", 3)
    assert len(minimize(*data).course) == 4


def mean_average_precision(queries, gallery, labels):
    order = torch.cdist(queries, gallery).argsort(dim=1)
    hits = (labels[order] == labels[:, None]).double()
    precision = hits.cumsum(1) / torch.arange(1, len(labels) + 1)
    return float(((precision * hits).sum(1) / hits.sum(1)).mean())


def test_what_is_learned_finds_people_it_has_not_seen():
    visible, infrared, labels = people(identities=120, images=4, width=16, seed=3)
    center = torch.cat([visible, infrared]).mean(dim=0)
    visible, infrared = visible - center, infrared - center
    seen = labels < 80
    found = minimize(*classes_of(visible[seen], infrared[seen], labels[seen]))
    tested = [features[~seen] for features in (infrared, visible)]
    raw = mean_average_precision(*tested, labels[~seen])
    learned = mean_average_precision(tested[0] @ found.infrared, tested[1] @ found.visible, labels[~seen])
    assert learned > 5 * raw, (raw, learned)
