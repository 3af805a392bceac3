"""The checks of lesson 04: right answers pass, each usual wrong one gets its own message."""

import pytest
import torch
from answers import answer_tests

import clipnull as cn
from clipnull import exercises as ex

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def M_of(T_f, T_r, lam, mu):
    return torch.eye(T_f.shape[1]) + lam * T_f.T @ T_f + mu * T_r.T @ T_r


def partial_projector(U, alpha):
    return torch.eye(len(U)) - alpha * U @ U.T


def ccup(T_f, T_r, lam, mu):
    return (torch.eye(T_f.shape[1]) + mu * T_r.T @ T_r) @ torch.linalg.inv(M_of(T_f, T_r, lam, mu))


def ccup_factors(T_f, T_r, lam, mu):
    return T_f.T, lam * torch.linalg.solve(M_of(T_f, T_r, lam, mu), T_f.T)


def anchored(T_f, T_r, A, lam, mu):
    R = lam * torch.linalg.solve(M_of(T_f, T_r, lam, mu), T_f.T)
    return torch.eye(len(R)) - (T_f - A).T @ R.T


CHECKS = {
    ex.check_partial_projector: partial_projector,
    ex.check_ccup: ccup,
    ex.check_ccup_factors: ccup_factors,
    ex.check_anchored: anchored,
}


def test_package_passes_its_own_checks():
    assert ex.check_ccup(lambda f, r, lam, mu: cn.consistent(f, r, lam, mu).matrix())
    assert ex.check_anchored(lambda f, r, A, lam, mu: cn.consistent(f, r, lam, mu, anchor=A).matrix())

    def factors(f, r, lam, mu):
        edit = cn.consistent(f, r, lam, mu)
        return edit.left, edit.right

    assert ex.check_ccup_factors(factors)
    # another pair of factors of the same product is right too
    assert ex.check_ccup_factors(lambda *a: (2 * ccup_factors(*a)[0], ccup_factors(*a)[1] / 2))


PARTIAL_PROJECTOR_MISTAKES = [
    (lambda U, a: a * U @ U.T, "the part to take away"),
    (lambda U, a: torch.eye(len(U)) - U @ U.T, "the full projector"),
    (lambda U, a: torch.eye(len(U)) - (1 - a) * U @ U.T, "keeps a share α"),
    (lambda U, a: torch.eye(len(U)) + a * U @ U.T, "adds αUUᵀ"),
    (lambda U, a: a * (torch.eye(len(U)) - U @ U.T), "must stay whole"),
    (lambda U, a: (1 - a) * torch.eye(len(U)) + a * U @ U.T, "shrinks everything else"),
    (lambda U, a: torch.eye(U.shape[1]) - a * U.T @ U, "UᵀU is [r, r]"),
    (lambda U, a: torch.eye(len(U)) - a * U @ U, "your function raised RuntimeError"),
    (lambda U, a: torch.zeros(len(U), len(U)), "differs from the right answer by up to"),
]


def no_eye(T_f, T_r, lam, mu):
    return M_of(T_f, T_r, lam, mu) - torch.eye(T_f.shape[1])


CCUP_MISTAKES = [
    (lambda f, r, lam, mu: ccup(f, r, lam, mu).T, "that is Wᵀ"),
    (lambda f, r, lam, mu: ccup(f, r, mu, lam), "λ and μ are swapped: λ goes with T_f"),
    (lambda f, r, lam, mu: ccup(f, r, mu, lam).T, "λ and μ are swapped, and W is transposed"),
    (lambda f, r, lam, mu: torch.eye(f.shape[1]) - ccup(f, r, lam, mu), "take it away from I"),
    (lambda f, r, lam, mu: ccup(f, r, lam, mu) - torch.eye(f.shape[1]), "the I of ‖W − I‖² is missing"),
    (
        lambda f, r, lam, mu: mu * r.T @ r @ torch.linalg.inv(M_of(f, r, lam, mu)),
        "stands on the right",
    ),
    (
        lambda f, r, lam, mu: (
            torch.eye(f.shape[1]) - lam * f.T @ f @ torch.linalg.pinv(no_eye(f, r, lam, mu), 1e-5)
        ),
        "missing in M = I +",
    ),
    (lambda f, r, lam, mu: torch.linalg.inv(0 * no_eye(f, r, lam, mu)), "is the I of M"),
    (lambda f, r, lam, mu: ccup(f, r, lam, 0.0), "μ has no effect"),
    (lambda f, r, lam, mu: cn.nullspace(f).matrix(), "the projector I − UUᵀ"),
    (
        lambda f, r, lam, mu: torch.eye(f.shape[1]) - f.T @ f @ torch.linalg.inv(M_of(f, r, lam, mu)),
        "λ is missing in front",
    ),
    (lambda f, r, lam, mu: ccup(f, r, lam, mu) + 0.01, "differs from the right answer by up to 0.01"),
    (lambda f, r, lam, mu: f @ f.T, "has shape"),
]


CCUP_FACTOR_MISTAKES = [
    (lambda *a: ccup_factors(*a)[::-1], "that is Wᵀ"),
    (lambda *a: [x.T for x in ccup_factors(*a)], "It looks transposed"),
    (lambda f, r, lam, mu: ccup_factors(f, r, mu, lam), "λ and μ are swapped"),
    (lambda *a: (ccup_factors(*a)[0], ccup_factors(*a)[1] / a[2]), "λ is missing in front"),
    (lambda *a: (ccup_factors(*a)[0], ccup_factors(*a)[1].T), "both are [d, m]"),
    (lambda *a: ccup(*a), "return L, R"),
]


ANCHORED_MISTAKES = [
    (lambda f, r, A, lam, mu: ccup(f, r, lam, mu), "the anchor is ignored"),
    (lambda f, r, A, lam, mu: anchored(f, r, -A, lam, mu), "the anchor's sign"),
    (lambda f, r, A, lam, mu: anchored(f, r, A, lam, mu).T, "that is Wᵀ"),
    (lambda f, r, A, lam, mu: anchored(f, r, A, mu, lam), "λ and μ are swapped"),
    (lambda f, r, A, lam, mu: anchored(f, r, A, lam, 0.0), "μ has no effect"),
    (lambda f, r, A, lam, mu: cn.nullspace(f).matrix(), "the projector I − UUᵀ"),
    (
        lambda f, r, A, lam, mu: anchored(f, r, A, lam, mu) - torch.eye(f.shape[1]),
        "the I of ‖W − I‖² is missing",
    ),
]


MISTAKES = {
    ex.check_partial_projector: PARTIAL_PROJECTOR_MISTAKES,
    ex.check_ccup: CCUP_MISTAKES,
    ex.check_ccup_factors: CCUP_FACTOR_MISTAKES,
    ex.check_anchored: ANCHORED_MISTAKES,
}
WRONG = [(check, *mistake) for check, some in MISTAKES.items() for mistake in some]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, WRONG)
