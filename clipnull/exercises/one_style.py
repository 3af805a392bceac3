"""Checks of lesson 09."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from clipnull.exercises.checking import Case, Verdict, _two_styles, expect, run

__all__ = ["check_interaction", "check_muted_scores", "check_reader"]


def check_interaction(function: Callable[..., Any]) -> Verdict:
    """Check ``interaction(M)`` -> [S, C, d]: what neither style nor class explains in ``M [S, C, d]``."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        M = _two_styles(case)
        mean, style, cls = M.mean((0, 1), keepdim=True), M.mean(1, keepdim=True), M.mean(0, keepdim=True)
        mistakes = {
            "the mean over everything is taken away twice, once in each average: add it back once.": M
            - style
            - cls,
            "the class is still in it: take away the average over styles too.": M - style,
            "the style is still in it: take away the average over classes too.": M - cls,
            "that is the additive part; want what is left of M.": style + cls - mean,
            "only the mean over everything is gone; style and class are still in it.": M - mean,
            "add the mean over everything back once, do not take it away again.": M - style - cls - mean,
        }
        expect("interaction(M)", call(M), M - style - cls + mean, mistakes)

    return run(function, body, "the part of each cell that neither class nor style explains.")


def check_reader(function: Callable[..., Any]) -> Verdict:
    """Check ``reader(p, P_r, mu)`` -> l [d] with l . p = 1, minimising ||l||^2 + mu ||P_r l||^2 (rows)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        p, P_r = case.Z[0].double(), case.Z[4:10].double()
        eye = torch.eye(len(p), dtype=p.dtype)
        for mu in (0.0, 3.0, 100.0):
            X = torch.linalg.solve(eye + mu * P_r.T @ P_r, p)
            want = X / (p @ X)
            mistakes = {
                "the direction is right, but l · p must be 1: divide by p · l.": X,
                "l has length 1; want l · p = 1.": X / X.norm(),
                "μ has no effect: that is the shortest l with l · p = 1, whatever P_r is.": p / (p @ p),
                "the I of M = I + μ P_rᵀ P_r is missing.": (
                    Y := torch.linalg.pinv(mu * P_r.T @ P_r, rtol=1e-9) @ p
                )
                / (p @ Y).clamp_min(1e-12),
                "that is M p; want M⁻¹ p, then scaled.": (V := p + mu * P_r.T @ (P_r @ p)) / (p @ V),
                "l · p is -1: a sign is wrong.": -want,
            }
            got = call(p, P_r, mu)
            expect(f"reader(p, P_r, mu={mu:g})", got.double(), want, mistakes)

    return run(function, body, "the reader: 1 on its own prototype, next to nothing on the others.")


def check_muted_scores(function: Callable[..., Any]) -> Verdict:
    """Check ``muted_scores(S, Z, T, l, r, strength)`` -> S - strength (Z l)(T r)^T, [n, C]."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        Z, T = case.Z, case.T
        l, r, strength = Z[0] - Z[-1], T[0] - T[-1], 0.2
        S = Z @ T.T
        change = torch.outer(Z @ l, T @ r)
        mistakes = {
            "the strength is missing.": S - change,
            "the scores grow: the change is taken away.": S + strength * change,
            "that is the change; take it away from S.": strength * change,
            "reader and writer are swapped: l reads pictures (Z l), r meets names (T r).": S
            - strength * torch.outer(Z @ r, T @ l),
            "every name loses the same: how much depends on T r too.": S - strength * (Z @ l)[:, None],
            "every picture loses the same: how much depends on Z l too.": S - strength * (T @ r)[None],
        }
        expect("muted_scores(…)", call(S, Z, T, l, r, strength), S - strength * change, mistakes)

    return run(function, body, "the gate's scores, from the old ones and two dot products each.")
