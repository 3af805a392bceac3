"""The checks of the electives: right answers pass, each usual wrong one gets its own message."""

import torch
import torch.nn.functional as F
from answers import answer_tests

from clipnull import exercises as ex
from clipnull.auditing.confidence import calibration_error as package_ece


def leace(X, ours, read=None, subtract=True):
    delta, x = X[ours].mean(0) - X[~ours].mean(0), X - X.mean(0)
    ell = torch.linalg.solve(x.T @ x / len(X), delta) if read is None else read(X, ours, delta)
    off = (x @ ell / (ell @ delta))[:, None] * delta
    return X - off if subtract else off


def calibration_error(p, labels, bins):
    top, said = p.max(1)
    error = 0.0
    for b in range(bins):
        inside = (top > b / bins) & (top <= (b + 1) / bins)
        if inside.any():
            right = (said == labels)[inside].double().mean()
            error += inside.double().mean() * (right - top[inside].mean()).abs()
    return error


def slope(h, P, T, c, s):
    P = P.clone().requires_grad_()
    loss = F.cross_entropy((s * h @ P @ T.T)[None], torch.tensor([c]))
    return torch.autograd.grad(loss, P)[0]


def shares(h, P, T, s):
    return (s * h @ P @ T.T).softmax(0)


def uncentred(X, ours):
    delta, x = X[ours].mean(0) - X[~ours].mean(0), X - X.mean(0)
    ell = torch.linalg.solve(x.T @ x, delta)
    return X - (X @ ell / (ell @ delta))[:, None] * delta


RIGHT = {ex.check_leace: leace, ex.check_calibration_error: calibration_error, ex.check_slope: slope}
guard, ece, step = RIGHT


def test_package_passes_its_own_check():
    assert ece(lambda p, y, bins: package_ece(p, y, bins)[0])


def within(X, ours, delta):
    x = torch.where(ours[:, None], X - X[ours].mean(0), X - X[~ours].mean(0))
    return torch.linalg.solve(x.T @ x, delta)


def test_the_covariance_within_classes_reads_in_the_same_direction():
    assert guard(lambda X, ours: leace(X, ours, read=within))


def binned(p, labels, bins):
    """share, signed gap of each used bin."""
    top, said = p.max(1)
    which = (top * bins).ceil()
    groups = [which == b for b in which.unique()]
    share = torch.stack([g.double().mean() for g in groups])
    gaps = torch.stack([(said == labels)[g].double().mean() - top[g].mean() for g in groups])
    return share, gaps


WRONG = [
    (guard, lambda X, ours: leace(X, ours, read=lambda X, ours, delta: delta), "reads along δ"),
    (guard, lambda X, ours: leace(X, ours, read=lambda X, ours, delta: torch.linalg.solve(X.T @ X, delta)), "about the origin"),
    (guard, uncentred, "less the mean of all pictures"),
    (guard, lambda X, ours: leace(X, ours, subtract=False), "the part to take away: subtract it"),
    (guard, lambda X, ours: torch.where(ours[:, None], leace(X, ours), X), "only the class itself"),
    (guard, lambda X, ours: X, "unchanged"),
    (guard, lambda X, ours: torch.zeros_like(X), "differs from the right answer"),
    (ece, lambda p, y, b: (binned(p, y, b)[0] * binned(p, y, b)[1]).sum(), "cancel between bins"),
    (ece, lambda p, y, b: binned(p, y, b)[1].abs().mean(), "bins count alike"),
    (ece, lambda p, y, b: binned(p, y, b)[1].abs().sum() / b, "empty bins were counted"),
    (ece, lambda p, y, b: binned(p, y, b)[1].abs().max(), "the largest gap"),
    (ece, lambda p, y, b: (binned(p, y, b)[0] * binned(p, y, b)[1] ** 2).sum(), "squared"),
    (ece, lambda p, y, b: package_ece(p + 1e-9, y, b)[0], "closed above"),
]  # fmt: skip


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)
