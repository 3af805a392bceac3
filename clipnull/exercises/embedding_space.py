"""Checks of lesson 01."""

import torch

from clipnull import subspace
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, expect_shape, randn, tensor, unit

__all__ = [
    "check_centred_scores", "check_nearest_names", "check_participation_ratio", "check_softmax_accuracy"
]  # fmt: skip


@check("the accuracy at every scale, ties and the limit included.")
def check_softmax_accuracy(case: Inputs, call: Call) -> None:
    """``softmax_accuracy(Z, T, labels, scale)``: mean probability of the right name; at ∞ ties share it."""
    Z, T = (x * randn(len(x), 1, seed=1).exp() for x in (case.images, case.T))
    T = torch.cat([T[3:4], T, 3 * T[:1]])  # names that stand twice in the list tie with themselves
    labels = 1 + torch.where(torch.arange(len(Z)) % 7 < 5, case.labels, case.labels.roll(4))
    raw, S, rows = Z @ T.T, unit(Z) @ unit(T).T, torch.arange(len(Z))
    tops = [(X >= X.amax(1, keepdim=True) - 1e-5).float().log() for X in (raw, S)]
    for scale in (0.0, 1.0, 30.0, torch.inf):
        dots, p = (X.softmax(1) for X in ((scale * raw, scale * S) if scale < torch.inf else tops))
        over_pictures = (scale * S).softmax(0)
        in_full = p == p.amax(1, keepdim=True)
        mistakes = {
            "that is the mean probability of the winner. Want that of the right name.": p.amax(1),
            "the softmax runs over the pictures, want one over the names.": over_pictures[rows, labels],
            "that is the zero-shot accuracy; probabilities are shared.": S.argmax(1) == labels,
            "each of the tied names counts in full; they share it.": in_full[rows, labels],
            "these are dot products. Cosines need unit rows.": dots[rows, labels],
        }
        expect(f"accuracy, scale {scale:g}", call(Z, T, labels, scale), p[rows, labels], mistakes, mean=True)


@check("both clouds moved to the origin, from their scores alone.")
def check_centred_scores(case: Inputs, call: Call) -> None:
    """``centred_scores(S)``: from S = Z Tᵀ the scores (Z − z̄)(T − t̄)ᵀ [n, C] of the centred rows."""
    Z, T = (x * randn(len(x), 1, seed=1).exp() for x in (case.images, case.T))
    S = Z @ T.T
    of_picture, of_name, all_of_it = S.mean(1, keepdim=True), S.mean(0), S.mean()
    mistakes = {
        "only the names are centred: the mean picture is still in every score.": S - of_picture,
        "only the pictures are centred: the mean name is still in every score.": S - of_name,
        "z̄·t̄ is subtracted twice, once with each mean. Add it once.": S - of_picture - of_name,
        "z̄·t̄ has the wrong sign.": S - of_picture - of_name - all_of_it,
        "the deviations were also divided by their size.": (S - of_name) / S.std(0),
    }
    expect("centred_scores(S)", call(S), S - of_picture - of_name + all_of_it, mistakes)


@check("the nearest names around the mean, however few there are.")
def check_nearest_names(case: Inputs, call: Call) -> None:
    """``nearest_names(T, k)``: indices [C, min(k, C − 1)] of the others, by cosine about the mean row."""
    for T, k in ((case.T, 3), (case.T[:4], 5)):
        C, most, centred = len(T), min(k, len(T) - 1), T - T.mean(0)
        near = unit(centred) @ unit(centred).T
        got = tensor(call(T, k))
        expect_shape(f"nearest_names(T, {k}) of {C} names", got, (C, most))
        if got.is_floating_point() or not ((got >= 0) & (got < C)).all():
            raise Wrong(f"want indices of names, whole numbers from 0 to {C - 1}.")
        others, dots, raw = ((X @ X.T).fill_diagonal_(-9) for X in (unit(centred), centred, T))
        scores = {
            "": others,
            "the name itself is among its neighbours. Leave it out.": near,
            "those are the nearest before the mean is subtracted.": raw,
            "the mean is not subtracted, and the name itself is among its neighbours.": T @ T.T,
            "those have the largest dot products, but centred rows are no unit rows.": dots,
            "those are the farthest names.": -near,
        }
        # any order will do: their cosines are compared, the largest first
        rows = {hint: S.topk(most).indices for hint, S in scores.items()} | {"got": got.long()}
        hints = {hint: near.gather(1, x).sort(descending=True).values for hint, x in rows.items()}
        want, found = hints.pop(""), hints.pop("got")
        twice = {"a name stands twice among the neighbours.": want[:, :1].expand(-1, most)}
        expect("the cosine of your neighbours", found, want, hints | twice)


@check("the participation ratio, from dot products alone.")
def check_participation_ratio(case: Inputs, call: Call) -> None:
    """``participation_ratio(G)``: from G = T Tᵀ that of the rows of T about their mean."""
    T = case.T.double()
    G, sigma = T @ T.T, torch.linalg.svdvals(T - T.mean(0))
    half, v = G - G.mean(0), sigma.square()
    mistakes = {
        "that is about the origin: the mean name has to go first.": G.trace() ** 2 / G.square().sum(),
        "only the columns of G are centred, want the rows too.": half.trace() ** 2 / half.square().sum(),
        "that uses σ where σ² belongs: variances are squared singular values.": sigma.sum() ** 2 / v.sum(),
        "that uses σ⁴, but eigenvalues of G are squares already.": v.square().sum() ** 2 / v.pow(4).sum(),
        "the trace is not squared.": v.sum() / v.square().sum(),
    }
    expect("the participation ratio", call(G.float()), subspace.participation_ratio(T), mistakes)
