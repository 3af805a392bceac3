"""The checks of lesson 07: right answers pass, each usual wrong one gets its own message."""

import torch
import torch.nn.functional as F
from answers import answer_tests

from clipnull import exercises as ex


def moved(Z, L, R):
    return ((Z @ L) @ R.T).norm(dim=1)


def matched(Z, L, R, Q, mean=torch.mean):
    return mean(moved(Z, L, R)) / mean(moved(Z, Q @ L, Q @ R))


def with_matrices(Z, L, R, Q):
    W = torch.eye(len(L)) - L @ R.T
    return (Z @ W - Z).norm(dim=1).mean() / moved(Z, Q @ L, Q @ R).mean()


def swapped(Z, T, labels, c, w):
    T = T.clone()
    T[c] = w
    return (Z @ T.T).argmax(1)


def recall_by_word(Z, T, labels, c, w):
    return (swapped(Z, T, labels, c, w) == c)[labels == c].float().mean()


def svd(P, Q):
    return torch.linalg.svd(P - Q, full_matrices=False)


def read(P, Q):
    return F.normalize(torch.linalg.pinv(P) @ svd(P, Q).U[:, 0], dim=0)


def winning(t, T_r):
    kept = T_r - (T_r @ t)[:, None] * t
    return F.normalize(-torch.linalg.pinv(kept).sum(1), dim=0)


RIGHT = {
    ex.check_matched: matched,
    ex.check_recall_by_word: recall_by_word,
    ex.check_read_direction: read,
    ex.check_winning_embedding: winning,
}
scale, word, direction, wins = RIGHT


def test_any_embedding_that_wins_will_do():
    assert wins(lambda t, T_r: F.normalize(-T_r.mean(0), dim=0))


def test_the_rotation_may_be_turned_and_converted():
    assert scale(lambda Z, L, R, Q: moved(Z, L, R).mean() / ((Z @ (L.T @ Q.T).T) @ R.T).norm(dim=1).mean())
    assert scale(lambda *a: matched(*(x.double() for x in a)))
    assert scale(lambda *a: matched(*(torch.from_numpy(x.numpy()) for x in a)))


def test_the_sign_is_free():
    assert direction(lambda P, Q: -read(P, Q))


WRONG = [
    (scale, lambda Z, L, R, Q: (L @ R.T).norm() / (Q @ L @ (Q @ R).T).norm(), "forms a"),
    (scale, lambda Z, L, R, Q: moved(Z, L, R).mean() / moved(Z, Q.T @ L, Q.T @ R).mean(), "s is "),
    (scale, lambda Z, L, R, Q: 1.0, "which no rotation changes"),
    (scale, with_matrices, ("forms a 32 × 32 matrix", "forms a 48 × 48 matrix")),
    (scale, lambda Z, L, R, Q: 1 / matched(Z, L, R, Q), "upside down"),
    (scale, lambda Z, L, R, Q: matched(Z, R, L, Q), "moved them by W"),
    (scale, lambda Z, L, R, Q: moved(Z, L, R).mean() / moved(Z, L, Q @ R).mean(), "turns R alone"),
    (scale, lambda *a: matched(*a, mean=lambda x: x.square().mean().sqrt()), "mean of the squares."),
    (scale, lambda *a: matched(*a, mean=lambda x: x.square().mean()), "s is "),
    (scale, lambda Z, L, R, Q: (moved(Z, L, R) / moved(Z, Q @ L, Q @ R)).mean(), "mean of the ratios"),
    (scale, lambda Z, L, R, Q: moved(Z, L, R).mean(), "the displacement itself"),
    (scale, lambda Z, L, R, Q: (Z.mean(0) @ L @ R.T).norm() / (Z.mean(0) @ (Q @ L) @ (Q @ R).T).norm(), "length of the mean"),
    (word, lambda Z, T, y, c, w: ((Z @ torch.cat([T, w[None]]).T).argmax(1) == len(T))[y == c].float().mean(), "still among the candidates"),
    (word, lambda Z, T, y, c, w: (y == c)[swapped(Z, T, y, c, w) == c].float().mean(), "that is precision"),
    (word, lambda Z, T, y, c, w: ((Z @ T.T).argmax(1) == c)[y == c].float().mean(), "where does w enter"),
    (word, lambda Z, T, y, c, w: (swapped(Z, T, y, c, w) == y).float().mean(), "accuracy over all images"),
    (word, lambda Z, T, y, c, w: (swapped(Z, T, y, c, w) == c).float().mean(), "share of all images that w takes"),
    (direction, lambda P, Q: svd(P, Q).Vh[0], "along R"),
    (direction, lambda P, Q: svd(P, Q).U[:, 0], "undo P"),
    (direction, lambda P, Q: F.normalize(P.T @ svd(P, Q).U[:, 0], dim=0), "pseudo-inverse"),
    (direction, lambda P, Q: torch.linalg.pinv(P) @ svd(P, Q).U[:, 0], "times the right answer"),
    (direction, lambda P, Q: read(P, Q)[None], "has shape ["),
    (wins, lambda t, T_r: t, "a tie"),
    (wins, lambda t, T_r: 3 * winning(t, T_r), "the length of z is 3, want 1"),
    (wins, lambda t, T_r: -winning(t, T_r), "not below 0"),
    (wins, lambda t, T_r: F.normalize(T_r[0] - T_r[1], dim=0), "are not below 0"),
    (wins, lambda t, T_r: winning(t, T_r)[:, None], "has shape ["),
]  # fmt: skip


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)
