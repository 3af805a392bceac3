"""Checks of lesson 01."""

import torch

from clipnull._check import share
from clipnull.exercises.checking import Call, Inputs, check, expect

__all__ = ["check_cone", "check_zero_shot"]


@check("the zero-shot accuracy, on random and on real embeddings.")
def check_zero_shot(case: Inputs, call: Call) -> None:
    """Check ``function(Z [n, d], T [C, d], labels [n])``: the zero-shot accuracy, a fraction.

    An image's class is the nearest name by cosine; rows of ``Z`` and ``T`` have any length.
    """
    # a few labels are made wrong: a fraction strictly between 0 and 1 tells more
    labels = torch.where(torch.arange(len(case.labels)) % 7 < 5, case.labels, case.labels.roll(4))
    Z, T = case.Z * _lengths(len(case.Z), 1), case.T * _lengths(len(case.T), 2)
    cosines = case.Z @ case.T.T
    right = share(cosines.argmax(1) == labels)
    mistakes = {
        "that is the share by dot product. Names differ in length here: cosines need unit rows.":
            share((Z @ T.T).argmax(1) == labels),
        "that is in percent, want a fraction between 0 and 1.": 100 * right,
        "that counts the images, want a fraction: divide by how many there are.": right * len(Z),
        "that is the share of wrong answers.": 1 - right,
        "that takes the argmax over images: want, for each image (row), the best class (column).":
            share(labels[cosines.argmax(0)] == torch.arange(len(T))),
        "that takes the smallest cosine, want the largest.": share(cosines.argmin(1) == labels),
    }  # fmt: skip
    expect("the accuracy", call(Z, T, labels), right, mistakes)


@check("the width of the cone, on random and on real embeddings.")
def check_cone(case: Inputs, call: Call) -> None:
    """Check ``function(T [C, d])``: the mean cosine between different rows."""
    T, C = case.T * _lengths(len(case.T), 3), len(case.T)
    cosines, dots = case.T @ case.T.T, T @ T.T
    off = ~torch.eye(C, dtype=torch.bool)
    right = cosines[off].mean()
    mistakes = {
        "that averages over each row with itself too. Leave the diagonal out.": cosines.mean(),
        "these are dot products. Cosines need unit rows.": dots[off].mean(),
        "these are dot products, and the diagonal is among them.": dots.mean(),
        "that divides by C² although C of the terms were left out.": right * (C - 1) / C,
        "that counts each pair once but divides as if twice.": right / 2,
        "that is the squared length of the mean row: it has each row with itself in it.":
            case.T.mean(0).square().sum(),
    }  # fmt: skip
    expect("the mean cosine", call(T), right, mistakes)


def _lengths(n: int, seed: int) -> torch.Tensor:
    """Lengths [n, 1] from 0.3 to 3, to take unit rows apart."""
    g = torch.Generator().manual_seed(seed)
    return 10 ** (torch.rand(n, 1, generator=g) - 0.5)
