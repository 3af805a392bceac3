"""The checks of lesson 04: right answers pass, each usual wrong one gets its own message."""

import pytest
import torch
from answers import answer_tests

import clipnull as cn
from clipnull import exercises as ex

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def M_of(T_f, T_r, lam, mu):
    return torch.eye(T_f.shape[1]) + lam * T_f.T @ T_f + mu * T_r.T @ T_r


def ccup(T_f, T_r, lam, mu):
    return (torch.eye(T_f.shape[1]) + mu * T_r.T @ T_r) @ torch.linalg.inv(M_of(T_f, T_r, lam, mu))


def anchored(T_f, T_r, A, lam, mu):
    """As `clipnull.consistent` computes it."""
    D = (T_f - A).T
    X = torch.linalg.solve(torch.eye(len(D)) + mu * T_r.T @ T_r, D)
    return D, X @ torch.linalg.inv(torch.eye(D.shape[1]) / lam + D.T @ X)


CHECKS = {ex.check_ccup: ccup, ex.check_anchored: anchored}


def test_package_passes_its_own_checks():
    assert ex.check_ccup(lambda f, r, lam, mu: cn.consistent(f, r, lam, mu).matrix())

    def factors(f, r, A, lam, mu):
        edit = cn.consistent(f, r, lam, mu, anchor=A)
        return edit.left, edit.right

    assert ex.check_anchored(factors)
    # another pair of factors of the same product is right too, and M in the place of M_r
    assert ex.check_anchored(lambda *a: (2 * anchored(*a)[0], anchored(*a)[1] / 2))
    assert ex.check_anchored(
        lambda f, r, A, lam, mu: ((f - A).T, lam * torch.linalg.solve(M_of(f - A, r, lam, mu), (f - A).T))
    )


def no_eye(T_f, T_r, lam, mu):
    return M_of(T_f, T_r, lam, mu) - torch.eye(T_f.shape[1])


CCUP_MISTAKES = [
    (lambda f, r, lam, mu: ccup(f, r, lam, mu).T, "that is Wᵀ"),
    (lambda f, r, lam, mu: ccup(f, r, mu, lam), "λ and μ are swapped: λ goes with the names to forget"),
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


def mixed(f, r, A, lam, mu):
    """The anchor in L alone."""
    return (f - A).T, lam * torch.linalg.solve(M_of(f, r, lam, mu), f.T)


ANCHORED_MISTAKES = [
    (lambda f, r, A, lam, mu: anchored(f, r, 0 * A, lam, mu), "the anchor is ignored"),
    (lambda f, r, A, lam, mu: anchored(f, r, -A, lam, mu), "the anchor's sign"),
    (mixed, "R, too, is made of D"),
    (lambda f, r, A, lam, mu: anchored(f, r, A, 1e7, mu), "the I/λ is missing"),
    (lambda *a: anchored(*a)[::-1], "that is Wᵀ"),
    (lambda f, r, A, lam, mu: anchored(f, r, A, mu, lam), "λ and μ are swapped"),
    (lambda f, r, A, lam, mu: anchored(f, r, A, lam, 0.0), "μ has no effect"),
    (lambda f, r, A, lam, mu: (basis := cn.nullspace(f).left, basis), "the projector I − UUᵀ"),
    (lambda *a: (anchored(*a)[0], anchored(*a)[1] / a[3]), "λ is missing in front"),
    (lambda *a: [x.T for x in anchored(*a)], "It looks transposed"),
    (lambda *a: (anchored(*a)[0], anchored(*a)[1].T), "both are [d, m]"),
    (lambda *a: anchored(*a)[0] @ anchored(*a)[1].T, "return L, R"),
]


MISTAKES = {ex.check_ccup: CCUP_MISTAKES, ex.check_anchored: ANCHORED_MISTAKES}
WRONG = [(check, *mistake) for check, some in MISTAKES.items() for mistake in some]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, WRONG)
