"""The checks of lesson 02 against the usual wrong answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from answers import answer_tests

from clipnull import exercises as ex

unit, svdvals = torch.nn.functional.normalize, torch.linalg.svdvals


def gram_schmidt(T, cut=1e-5, scale=True):
    columns = []
    for t in T:
        residual = t / t.norm()
        for q in columns:
            residual = residual - (q @ residual) / (q @ q) * q
        if residual.norm() > cut:
            columns.append(residual / residual.norm() if scale else residual)
    return torch.stack(columns, 1)


def classical(T, cut=1e-5):
    """The lesson's function with a cut: every part is taken from the name as it was."""
    columns = []
    for t in unit(T, dim=1):
        residual = t - sum((q @ t) * q for q in columns)
        if residual.norm() > cut:
            columns.append(residual / residual.norm())
    return torch.stack(columns, 1)


def svd(T, cut=None):
    """The lesson's rule unless ``cut`` says otherwise."""
    U, s, _ = torch.linalg.svd(unit(T, dim=1).T, full_matrices=False)
    return U[:, s > (max(T.shape) * torch.finfo(T.dtype).eps if cut is None else cut) * s[0]]


def project_out(Z, U):
    return Z - (Z @ U) @ U.T


def centred(T):
    return T - T.mean(0)


def rank_above(T, other):
    return int((svdvals(centred(T)) > svdvals(centred(T) - centred(other))[0]).sum())


def count(values, bound):
    return int((values > bound).sum())


RIGHT = {ex.check_basis: gram_schmidt, ex.check_project_out: project_out, ex.check_rank: rank_above}
WRONG = [
    (ex.check_basis, lambda T: gram_schmidt(T).T, "transposed"),
    (ex.check_basis, lambda T: T.T, "want unit length, and right angles"),
    (ex.check_basis, lambda T: gram_schmidt(T, scale=False), "want unit length, and right angles"),
    (ex.check_basis, classical, "a short residual"),
    (ex.check_basis, lambda T: gram_schmidt(T, -1.0), ("Mind your cut", "NaN or infinity")),
    (ex.check_basis, lambda T: gram_schmidt(T, 1e-8), "Mind your cut"),
    (ex.check_basis, lambda T: torch.linalg.qr(T.T).Q, "Mind your cut"),
    *(
        (ex.check_basis, lambda T, cut=cut: gram_schmidt(T, cut), "has its own. Mind your cut")
        for cut in (0.02, 0.05, 0.1)
    ),
    *(
        (ex.check_basis, lambda T, cut=cut: svd(T, cut), "has its own. Mind your cut")
        for cut in (0.01, 0.05, 0.1)
    ),
    (ex.check_basis, lambda T: gram_schmidt(T)[:, :1], "has 1 columns, want 3"),
    (ex.check_basis, lambda T: torch.eye(T.shape[1])[:, :3], "does not span the rows"),
    (ex.check_project_out, lambda Z, U: (Z @ U) @ U.T, "projected onto"),
    (ex.check_project_out, lambda Z, U: Z @ U, "coefficients ZU"),
    (ex.check_project_out, lambda Z, U: unit(project_out(Z, U)), "scaled to unit length"),
    (ex.check_project_out, lambda Z, U: project_out(Z, U).T, "transposed"),
    (ex.check_project_out, lambda Z, U: Z - 2 * (Z @ U) @ U.T, "reflection"),
    (ex.check_project_out, lambda Z, U: Z - (Z @ U[:, :1]) @ U[:, :1].T, "first column"),
    # forming d by d is forbidden, however it is spelled
    (ex.check_project_out, lambda Z, U: Z - Z @ (U @ U.T), "forms a 32 × 32 matrix"),
    (ex.check_project_out, lambda Z, U: Z @ (torch.eye(len(U)) - U @ U.T), "forms a 32 × 32 matrix"),
    (ex.check_project_out, lambda Z, U: Z - torch.einsum("dk,ek,ne->nd", U, U, Z), "forms a 32 × 32 matrix"),
    (ex.check_project_out, lambda Z, U: Z - Z @ sum(u[:, None] * u for u in U.T), "forms a 32 × 32 matrix"),
    (ex.check_project_out, lambda Z, U: torch.stack([z - (U @ U.T) @ z for z in Z]), "`; products of thin"),
    (ex.check_rank, lambda T, V: count(svdvals(T), svdvals(T - V)[0]), "the means are still in"),
    (ex.check_rank, lambda T, V: count(svdvals(centred(T)), svdvals(T - V)[0]), "still in the difference"),
    (ex.check_rank, lambda T, V: count(svdvals(T), svdvals(centred(T - V))[0]), "still in the names"),
    (ex.check_rank, lambda T, V: count(svdvals(centred(T)), centred(T - V).norm()), "Frobenius"),
    (ex.check_rank, lambda T, V: count(svdvals(centred(T)), centred(T - V).norm(dim=1).max()), "longest row"),
    (ex.check_rank, lambda T, V: len(T) - rank_above(T, V), "below the noise"),
    (ex.check_rank, lambda T, V: count(svdvals(centred(T)) ** 2, svdvals(centred(T - V))[0]), "are squares"),
    (ex.check_rank, lambda T, V: int(torch.linalg.matrix_rank(centred(T))), "above rounding"),
]


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)


@pytest.mark.parametrize(
    "answer",
    [svd, lambda T: svd(T, 1e-6), lambda T: gram_schmidt(T, 1e-6), lambda T: svd(T.double(), 1e-6)],
    ids=["the lesson's rule", "SVD", "Gram-Schmidt", "in double precision"],
)
def test_a_cut_at_rounding_passes(answer):
    verdict = ex.check_basis(answer)
    assert verdict.passed, verdict.message


@pytest.mark.parametrize(
    "answer",
    [
        lambda Z, U: Z - torch.einsum("nd,dk,ek->ne", Z, U, U),
        lambda Z, U: Z - sum((Z @ u)[:, None] * u for u in U.T),
        lambda Z, U: torch.stack([z - U @ (U.T @ z) for z in Z]),
        lambda Z, U: np.asarray(Z) - (np.asarray(Z) @ np.asarray(U)) @ np.asarray(U).T,
    ],
    ids=["einsum", "column by column", "row by row", "NumPy"],
)
def test_any_way_round_the_square_passes(answer):
    verdict = ex.check_project_out(answer)
    assert verdict.passed, verdict.message
