"""The checks of lesson 07a: right answers pass, each usual wrong one gets its own message."""

import pytest
import torch
from answers import answer_tests

from clipnull import exercises as ex
from clipnull.auditing.confidence import calibration_error as package_ece

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def recall_by_word(Z, T, labels, c, w):
    T = T.clone()
    T[c] = w
    return ((Z @ T.T).argmax(1) == c)[labels == c].float().mean()


def calibration_error(p, labels, bins):
    top, said = p.max(1)
    error = 0.0
    for b in range(bins):
        inside = (top > b / bins) & (top <= (b + 1) / bins)
        if inside.any():
            right = (said == labels)[inside].double().mean()
            error += inside.double().mean() * (right - top[inside].mean()).abs()
    return error


CHECKS = {
    ex.check_recall_by_word: recall_by_word,
    ex.check_calibration_error: calibration_error,
}


def test_package_passes_its_own_checks():
    assert ex.check_calibration_error(lambda p, y, bins: package_ece(p, y, bins)[0])


def swapped(Z, T, labels, c, w):
    T = T.clone()
    T[c] = w
    return (Z @ T.T).argmax(1)


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
    (ex.check_calibration_error, lambda p, y, b: (binned(p, y, b)[0] * binned(p, y, b)[1]).sum(), "cancel between bins"),
    (ex.check_calibration_error, lambda p, y, b: binned(p, y, b)[1].abs().mean(), "bins count alike"),
    (ex.check_calibration_error, lambda p, y, b: binned(p, y, b)[1].abs().sum() / b, "empty bins were counted"),
    (ex.check_calibration_error, lambda p, y, b: binned(p, y, b)[1].abs().max(), "the largest gap"),
    (ex.check_calibration_error, lambda p, y, b: (binned(p, y, b)[0] * binned(p, y, b)[1] ** 2).sum(), "squared"),
]  # fmt: skip


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, WRONG)
