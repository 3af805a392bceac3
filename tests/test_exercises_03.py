"""Lesson 03's checks: the right answer passes, and each usual wrong answer gets its own message."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from answers import answer_tests

from clipnull import exercises as ex
from clipnull import subspace

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def basis(T):
    U, s, _ = torch.linalg.svd(T.T, full_matrices=False)
    return U[:, s > 1e-5 * s[0]]


def forget_projector(T_f):
    U = basis(T_f)
    return torch.eye(len(U)) - U @ U.T


def edited_scores(S, Z, T, L, R):
    return S - (Z @ L) @ (T @ R).T


def apply_edit(X, L, R, side):
    return X - (X @ L) @ R.T if side == "image" else X - (X @ R) @ L.T


RIGHT = {
    ex.check_forget_projector: forget_projector,
    ex.check_edited_scores: edited_scores,
    ex.check_apply_edit: apply_edit,
}


@pytest.mark.parametrize("check", RIGHT, ids=lambda c: c.__name__)
def test_in_double_precision_too(check):
    def double(*args):
        out = RIGHT[check](*(a.double() if isinstance(a, torch.Tensor) else a for a in args))
        return out.float()

    assert check(double).passed is True


def qr_projector(T_f):
    Q = torch.linalg.qr(T_f.T).Q  # one column a name, needed or not
    return torch.eye(len(Q)) - Q @ Q.T


def transposed_projector(T_f):
    U = torch.linalg.svd(T_f, full_matrices=False).U
    return torch.eye(T_f.shape[1]) - U @ U.T


WRONG = [
    (
        ex.check_forget_projector,
        lambda T: torch.eye(T.shape[1]) - forget_projector(T),
        "projects onto the names",
    ),
    (ex.check_forget_projector, lambda T: torch.eye(T.shape[1]) - T.T @ T, "unit length"),
    (
        ex.check_forget_projector,
        lambda T: torch.eye(T.shape[1]) - F.normalize(T, dim=1).T @ F.normalize(T, dim=1),
        "not perpendicular to each other",
    ),
    (ex.check_forget_projector, transposed_projector, "transpose T_f first"),
    (ex.check_forget_projector, qr_projector, "removes 4 dimensions, but these 4 rows span only 3"),
    (ex.check_forget_projector, lambda T: torch.eye(len(T)), "want [32, 32]"),
    (ex.check_edited_scores, lambda S, Z, T, L, R: S - (Z @ R) @ (T @ L).T, "L and R are swapped"),
    (ex.check_edited_scores, lambda S, Z, T, L, R: (Z @ L) @ (T @ R).T, "subtract it from S"),
    (ex.check_edited_scores, lambda S, Z, T, L, R: S + (Z @ L) @ (T @ R).T, "the sign is wrong"),
    (ex.check_edited_scores, lambda S, Z, T, L, R: (Z - (Z @ L) @ R.T) @ T.T, "computed anew"),
    (
        ex.check_edited_scores,
        lambda S, Z, T, L, R: F.normalize(Z - (Z @ L) @ R.T, dim=1) @ T.T,
        "the edited images were normalised",
    ),
    (
        ex.check_edited_scores,
        lambda S, Z, T, L, R: Z @ F.normalize(T - (T @ R) @ L.T, dim=1).T,
        "the edited names were normalised",
    ),
    (ex.check_edited_scores, lambda S, Z, T, L, R: edited_scores(S, Z, T, L, R).T, "transposed"),
    (ex.check_apply_edit, lambda X, L, R, side: X - (X @ R) @ L.T, "that is X Wᵀ, want X W"),
    (ex.check_apply_edit, lambda X, L, R, side: X - (X @ L) @ R.T, "that is X W, want X Wᵀ"),
    (ex.check_apply_edit, lambda X, L, R, side: X - apply_edit(X, L, R, side), "subtract it from X"),
    (ex.check_apply_edit, lambda *a: F.normalize(apply_edit(*a), dim=1), "your rows were normalised"),
]


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)


def test_the_checks_agree_with_the_package():
    verdict = ex.check_forget_projector(
        lambda T_f: torch.eye(T_f.shape[1]) - subspace.projector(subspace.orthonormal_basis(T_f)).float()
    )
    assert verdict.passed is True
