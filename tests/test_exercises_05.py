"""Lesson 05's checks: each usual wrong answer gets its own message."""

import torch
import torch.nn.functional as F
from answers import answer_tests

import clipnull as cn
from clipnull import exercises as ex


def image(t, T_r):
    return F.normalize(t - cn.nearest_mixture(t[None], T_r).H[0], dim=0)


def two_way(S, labels, forget, averaged=None, rivals=None, rows=None, dim=1):
    """The right answer, or that of another average, other rivals or other pictures."""
    kept = [c for c in range(S.shape[1]) if c not in forget]
    S = S[torch.isin(labels, torch.tensor(forget)) if rows is None else rows]
    average = S[:, kept if averaged is None else averaged].mean(dim, keepdim=True)
    return float((S[:, kept if rivals is None else rivals] < average).double().mean())


def before(S, labels, forget):
    rows = torch.isin(labels, torch.tensor(forget))
    kept = [c for c in range(S.shape[1]) if c not in forget]
    return float((S[rows][:, kept] < S.gather(1, labels[:, None])[rows]).double().mean())


def off(T_r, X):
    """X [d, m] less its part in the span of the names."""
    Q = torch.linalg.qr(T_r.T).Q
    return X - Q @ (Q.T @ X)


def exact(T_f, T_r, A):
    D = (T_f - A).T
    return D, off(T_r, D) @ (D.T @ off(T_r, D)).inverse()


def projector(T_f, T_r, A):
    """R by the d × d projector off the kept names."""
    P = torch.eye(T_f.shape[1], dtype=T_f.dtype) - torch.linalg.pinv(T_r) @ T_r
    D = (T_f - A).T
    return D, P @ D @ (D.T @ P @ D).inverse()


RIGHT = {ex.check_best_image: image, ex.check_neutral_two_way: two_way, ex.check_exact_edit: exact}
best, neutral, edit = RIGHT
ALL = slice(None)
WRONG = [
    (best, lambda t, R: -image(t, R), "the sign"),
    (best, lambda t, R: t - cn.nearest_mixture(t[None], R).H[0], "times the right answer"),
    (
        best,
        lambda t, R: F.normalize(cn.nearest_mixture(t[None], R).H[0], dim=0),
        "differs from the right answer",
    ),
    (best, lambda t, R: t, "the name itself"),
    (best, lambda t, R: F.normalize(t - R.mean(0), dim=0), "from the mean of the others"),
    (best, lambda t, R: F.normalize(t - R[(R @ t).argmax()], dim=0), "another name leads there"),
    (best, lambda t, R: cn.nearest_mixture(t[None], R), "no array"),
    (neutral, lambda *a: two_way(*a, averaged=ALL), "the average is over all names"),
    (neutral, lambda *a: two_way(*a, rivals=ALL), "among the rivals"),
    (neutral, lambda *a: two_way(*a, averaged=ALL, rivals=ALL), "Leave them out of both"),
    (neutral, lambda *a: two_way(*a, rows=ALL), "over all pictures"),
    (neutral, lambda *a: two_way(*a, dim=(0, 1)), "one average for all pictures"),
    (neutral, lambda *a: 1 - two_way(*a), "1 minus the right answer"),
    (neutral, lambda *a: 100 * two_way(*a), "in percent"),
    (neutral, before, "before the edit"),
    (neutral, lambda *a: 0.0, "recall among all names"),
    (edit, lambda *a: exact(*a)[::-1], "that is Wᵀ"),
    (edit, lambda f, r, A: ((f - A).T, off(r, (f - A).T)), "inverse is missing"),
    (edit, lambda f, r, A: ((D := (f - A).T), off(r, D) @ (D.T @ off(r, D))), "to be inverted"),
    (edit, lambda f, r, A: ((D := (f - A).T), D @ (D.T @ D).inverse()), "the kept names move"),
    (edit, lambda f, r, A: (off(r, (f - A).T), exact(f, r, A)[1]), "do not reach their anchors"),
    (edit, lambda f, r, A: exact(f, r, 0 * A), "the anchor is ignored"),
    (edit, lambda *a: (-exact(*a)[0], exact(*a)[1]), "the sign"),
    (edit, lambda *a: [x.T for x in exact(*a)], "transposed"),
    (edit, lambda *a: exact(*a)[0], "return L, R"),
    (edit, projector, ("forms a 32 × 32 matrix", "forms a 48 × 48 matrix")),
]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)
