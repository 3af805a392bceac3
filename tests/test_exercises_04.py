"""Lesson 04's checks: each usual wrong answer gets its own message."""

import math

import torch
import torch.nn.functional as F
from answers import answer_tests

import clipnull as cn
from clipnull import exercises as ex


def right(X, T_f, lam, sign=1.0, front=None, gram=None, inverse=True, scale=1.0):
    """R, or what a slip makes of it."""
    small = scale * torch.eye(len(T_f), dtype=X.dtype) / lam + sign * (T_f @ X if gram is None else gram)
    return (X if front is None else front) @ (small.inverse() if inverse else small)


def by_square(X, T_f, lam):
    """R = λ M⁻¹T_f, with M = M_r + λ T_f T_fᵀ from T_f = M_r X: a d × d system."""
    return (X @ T_f) @ T_f.T


def names(T, L, R):
    return T - (T @ R) @ L.T


def halves(case):
    return [cn.Case(case.Z[i::2], case.T, case.labels[i::2], case.forget) for i in (0, 1)]


def chosen(case, lam, mus, on=0, reported=1, most=0.02):
    """μ and what it keeps; ``on`` and ``reported`` are 0 and 1 for the halves, 2 for all pictures."""
    edits = [cn.consistent(case.T_f, case.T_r, lam, mu) for mu in mus]
    parts = [[part.evaluate(e) for e in edits] for part in (*halves(case), case)]
    kept = [r.retain_after if r.forget_after <= most else -1.0 for r in parts[on]]
    i = kept.index(max(kept))
    return mus[i], parts[reported][i].retain_after


RIGHT = {ex.check_right_factor: right, ex.check_edited_names: names, ex.check_held_out_mu: chosen}
factor, moved, held_out = RIGHT
EYE = torch.eye(256)  # a lesson's global
WRONG = [
    (factor, lambda X, T_f, lam: right(X, T_f, math.inf), "the I/λ is missing"),
    (factor, lambda X, T_f, lam: right(X, T_f, 1 / min(lam, 1e9)), "λ stands in place of 1/λ"),
    (factor, lambda X, T_f, lam: right(X, T_f, 1.0), "1 stands in place of 1/λ"),
    (factor, lambda X, T_f, lam: right(X, T_f, lam, inverse=False), "to be inverted"),
    (factor, lambda X, T_f, lam: right(X, T_f, lam, sign=-1.0), "the sign"),
    (factor, lambda X, T_f, lam: right(X, T_f, lam, gram=T_f @ T_f.T), "μ has no effect there"),
    (factor, lambda X, T_f, lam: right(X, T_f, lam, front=T_f.T), "M_r⁻¹ is lost"),
    (factor, lambda X, T_f, lam: lam * right(X, T_f, lam), "20 times the right answer"),
    (factor, lambda X, T_f, lam: lam * right(X, T_f, lam, scale=lam), "differs from the right answer"),
    (factor, lambda X, T_f, lam: lam * (X @ (torch.eye(3) + lam * T_f @ X).inverse()), "a 0 · ∞"),
    (factor, lambda X, T_f, lam: right(X, T_f, lam).T, "transposed"),
    (factor, lambda X, T_f, lam: lam * X, "a series"),
    (factor, by_square, ("forms a 32 × 32 matrix", "forms a 48 × 48 matrix")),
    (factor, lambda X, T_f, lam: EYE @ X, "take sizes from the arguments, not from the lesson"),
    (moved, lambda T, L, R: names(T, R, L), "the classic mistake"),
    (moved, lambda T, L, R: F.normalize(names(T, L, R), dim=1), "scaled to unit length"),
    (moved, lambda T, L, R: F.normalize(names(T, R, L), dim=1), "scaled to unit length. Want T Wᵀ"),
    (moved, lambda T, L, R: T - names(T, L, R), "the part to take away: subtract it"),
    (moved, lambda T, L, R: 2 * T - names(T, L, R), "the sign"),
    (moved, lambda T, L, R: names(T, L, L), "L alone"),
    (moved, lambda T, L, R: names(T, R, R), "R alone"),
    (moved, lambda T, L, R: names(T, L, R).T, "transposed"),
    (moved, lambda T, L, R: T @ (torch.eye(len(L)) - R @ L.T), "forms a 32 × 32 matrix"),
    (held_out, lambda *a: chosen(*a, reported=0), "it flatters"),
    (held_out, lambda *a: chosen(*a, reported=2), "half of them chose μ"),
    (held_out, lambda *a: chosen(*a, on=1), "on the half that is reported"),
    (held_out, lambda *a: chosen(*a, on=1, reported=0), "exchanged"),
    (held_out, lambda *a: chosen(*a, on=2), "on all pictures"),
    (held_out, lambda *a: chosen(*a, most=1.0), "whatever it forgets"),
    (held_out, lambda *a: chosen(*a)[::-1], "the order"),
    (held_out, lambda *a: (chosen(*a)[0], 100 * chosen(*a)[1]), "in percent"),
    (held_out, lambda *a: chosen(*a)[0], "has shape []"),
    (held_out, lambda *a: ("μ", "kept"), "no array"),
]  # fmt: skip

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)


def test_the_last_of_the_best_will_do():
    def from_the_end(case, lam, mus):
        return chosen(case, lam, mus[::-1])

    assert held_out(from_the_end).passed
