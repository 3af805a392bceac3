"""The checks of lesson 06a: right answers pass, each usual wrong one gets its own message."""

import math

import pytest
import torch
from answers import answer_tests

from clipnull import exercises as ex
from clipnull.auditing.confidence import calibration_error as package_ece
from clipnull.auditing.confidence import conformal_sets as package_sets

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def recall_by_word(Z, T, labels, c, w):
    T = T.clone()
    T[c] = w
    return ((Z @ T.T).argmax(1) == c)[labels == c].float().mean()


def balanced_accuracy(guess, truth):
    return (guess[truth].float().mean() + (~guess)[~truth].float().mean()) / 2


def calibration_error(p, labels, bins):
    top, said = p.max(1)
    error = 0.0
    for b in range(bins):
        inside = (top > b / bins) & (top <= (b + 1) / bins)
        if inside.any():
            right = (said == labels)[inside].double().mean()
            error += inside.double().mean() * (right - top[inside].mean()).abs()
    return error


def conformal_sets(p, calibration, labels, alpha):
    scores = (1 - calibration[torch.arange(len(labels)), labels]).sort().values
    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    return 1 - p <= (scores[rank - 1] if rank <= len(scores) else 2.0)


CHECKS = {
    ex.check_recall_by_word: recall_by_word,
    ex.check_balanced_accuracy: balanced_accuracy,
    ex.check_calibration_error: calibration_error,
    ex.check_conformal_sets: conformal_sets,
}


def test_package_passes_its_own_checks():
    assert ex.check_calibration_error(lambda p, y, bins: package_ece(p, y, bins)[0])
    assert ex.check_conformal_sets(package_sets)


def swapped(Z, T, labels, c, w):
    T = T.clone()
    T[c] = w
    return (Z @ T.T).argmax(1)


def scores_of(p, calibration, labels):
    return 1 - calibration[torch.arange(len(labels)), labels]


def quantile(p, scores, rank):
    s = scores.sort().values
    return 1 - p <= (s[rank - 1] if rank <= len(s) else 2.0)


def binned(p, labels, bins):
    """share, signed gap of each used bin."""
    top, said = p.max(1)
    which = (top * bins).ceil()
    groups = [which == b for b in which.unique()]
    share = torch.stack([g.double().mean() for g in groups])
    gaps = torch.stack([(said == labels)[g].double().mean() - top[g].mean() for g in groups])
    return share, gaps


WRONG = [
    (ex.check_recall_by_word, lambda Z, T, y, c, w: ((Z @ torch.cat([T, w[None]]).T).argmax(1) == len(T))[y == c].float().mean(), "still among the candidates"),
    (ex.check_recall_by_word, lambda Z, T, y, c, w: ((Z @ T.T).argmax(1) == c)[y == c].float().mean(), "where does w enter"),
    (ex.check_recall_by_word, lambda Z, T, y, c, w: (swapped(Z, T, y, c, w) == y).float().mean(), "accuracy over all images"),
    (ex.check_recall_by_word, lambda Z, T, y, c, w: (swapped(Z, T, y, c, w) == c).float().mean(), "share of all images that w takes"),
    (ex.check_balanced_accuracy, lambda g, t: (g == t).float().mean(), "plain accuracy"),
    (ex.check_balanced_accuracy, lambda g, t: g[t].float().mean(), "recall of yes alone"),
    (ex.check_balanced_accuracy, lambda g, t: (~g)[~t].float().mean(), "recall of no alone"),
    (ex.check_balanced_accuracy, lambda g, t: 2 * balanced_accuracy(g, t), "want their mean"),
    (ex.check_calibration_error, lambda p, y, b: (binned(p, y, b)[0] * binned(p, y, b)[1]).sum(), "cancel between bins"),
    (ex.check_calibration_error, lambda p, y, b: binned(p, y, b)[1].abs().mean(), "bins count alike"),
    (ex.check_calibration_error, lambda p, y, b: binned(p, y, b)[1].abs().sum() / b, "empty bins were counted"),
    (ex.check_calibration_error, lambda p, y, b: binned(p, y, b)[1].abs().max(), "the largest gap"),
    (ex.check_calibration_error, lambda p, y, b: (binned(p, y, b)[0] * binned(p, y, b)[1] ** 2).sum(), "squared"),
    (ex.check_conformal_sets, lambda p, k, y, a: quantile(p, scores_of(p, k, y), math.ceil(len(y) * (1 - a))), "without the + 1"),
    (ex.check_conformal_sets, lambda p, k, y, a: quantile(p, scores_of(p, k, y), math.ceil((len(y) + 1) * a)), "want 1 − α"),
    (ex.check_conformal_sets, lambda p, k, y, a: quantile(p, 1 - k.amax(1), math.ceil((len(y) + 1) * (1 - a))), "true class"),
    (ex.check_conformal_sets, lambda p, k, y, a: p >= 1 - a, "whatever the calibration says"),
    (ex.check_conformal_sets, lambda p, k, y, a: ~conformal_sets(p, k, y, a), "complement"),
    (ex.check_conformal_sets, lambda p, k, y, a: quantile(p, scores_of(p, k, y), min(len(y), math.ceil((len(y) + 1) * (1 - a)))), "every class stays"),
]  # fmt: skip


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, WRONG)
