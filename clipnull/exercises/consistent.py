"""Checks of lesson 04."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from clipnull.exercises.checking import (
    _DIALS,
    Case,
    Verdict,
    Wrong,
    _Call,
    _consistent_by_hand,
    _edit_matrix,
    _expect_edit,
    _mistaken_edits,
    _mixed_names,
    expect,
    expect_shape,
    run,
)

__all__ = ["check_anchored", "check_ccup", "check_ccup_factors", "check_partial_projector"]


def check_partial_projector(function: Callable[..., Any]) -> Verdict:
    """Check ``partial_projector(U, alpha)`` -> I - alpha U U^T [d, d], for orthonormal ``U [d, r]``."""
    from clipnull.subspace import orthonormal_basis

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        U = orthonormal_basis(case.T[case.forget]).to(case.T.dtype)
        eye, P = torch.eye(len(U), dtype=U.dtype), U @ U.T
        for alpha in (0.3, 1.0, 0.0):
            mistakes = {
                "that is αUUᵀ, the part to take away: take it away from I.": alpha * P,
                "that is the full projector I − UUᵀ, whatever α is: where does α enter?": eye - P,
                "that keeps a share α of the forgotten part; α is the share that goes.": eye
                - (1 - alpha) * P,
                "that adds αUUᵀ instead of taking it away.": eye + alpha * P,
                "that scales all of I − UUᵀ by α; directions outside the span of U must stay whole.": alpha
                * (eye - P),
                "that is (1 − α)I + αUUᵀ: it keeps the span of U and shrinks everything else.": (1 - alpha)
                * eye
                + alpha * P,
                "that is I − αUᵀU: UᵀU is [r, r], the projector is UUᵀ.": torch.eye(U.shape[1]) * (1 - alpha),
            }
            expect(f"partial_projector(U, {alpha})", call(U, alpha), eye - alpha * P, mistakes)

    solved = "W = I − αUUᵀ, as in `cn.nullspace(T_f, strength=alpha).matrix()`."
    return run(function, body, solved)


def check_ccup(function: Callable[..., Any]) -> Verdict:
    """Check ``ccup(T_f, T_r, lam, mu)`` -> W [d, d], the minimiser with names in rows (notebook 04)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        T_f, T_r = _mixed_names(case)
        zero = torch.zeros_like(T_f)
        for lam, mu in _DIALS:
            want = _edit_matrix(*_consistent_by_hand(T_f, T_r, zero, lam, mu))
            _expect_edit(
                f"ccup(T_f, T_r, {lam:g}, {mu:g})",
                functools.partial(call, case.T[case.forget], case.T[case.retain], lam, mu),
                want,
                _mistaken_edits(T_f, T_r, zero, lam, mu),
            )

    return run(function, body, "W = I − λ T_f T_fᵀ M⁻¹, as in `cn.consistent(T_f, T_r, lam, mu).matrix()`.")


def check_ccup_factors(function: Callable[..., Any]) -> Verdict:
    """Check ``ccup_factors(T_f, T_r, lam, mu)`` -> (L, R), both [d, m], with W = I - L R^T."""

    @functools.wraps(function)
    def stacked(*args: Any) -> Any:
        out = function(*args)
        if out is None or out is Ellipsis:
            return out
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise Wrong(f"your function returns {type(out).__name__}, want two arrays: return L, R")
        L, R = (torch.as_tensor(x) for x in out)
        if L.shape != R.shape:
            raise Wrong(f"L has shape {list(L.shape)} and R {list(R.shape)}; both are [d, m].")
        return torch.stack([L, R])

    def body(case: Case, _: Callable[..., torch.Tensor]) -> None:
        T_f, T_r = _mixed_names(case)
        zero = torch.zeros_like(T_f)
        for lam, mu in _DIALS:
            L, R = _Call(stacked, case)(case.T[case.forget], case.T[case.retain], lam, mu)
            expect_shape("L", L, tuple(T_f.T.shape))
            # factors are not unique (L S, R S⁻ᵀ), their product is
            want = _edit_matrix(*_consistent_by_hand(T_f, T_r, zero, lam, mu))
            got = torch.eye(len(L), dtype=L.dtype) - L @ R.T
            expect(f"I − L Rᵀ, λ = {lam:g}, μ = {mu:g},", got, want, _mistaken_edits(T_f, T_r, zero, lam, mu))

    return run(function, body, "L = T_f, R = λ M⁻¹ T_f: two [d, m] arrays do the work of a [d, d] one.")


def check_anchored(function: Callable[..., Any]) -> Verdict:
    """Check ``anchored(T_f, T_r, A, lam, mu)`` -> W [d, d], with targets ``A [m, d]`` in rows."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        T_f, T_r = _mixed_names(case)
        A = 0.5 * T_r.mean(0) + 0.5 * T_r[: len(T_f)]  # a target of its own for each name
        for lam, mu in _DIALS:
            want = _edit_matrix(*_consistent_by_hand(T_f, T_r, A, lam, mu))
            got = call(case.T[case.forget], case.T[case.retain], A.to(case.T.dtype), lam, mu)
            mistakes = _mistaken_edits(T_f, T_r, A, lam, mu)
            expect(f"anchored(T_f, T_r, A, {lam:g}, {mu:g})", got, want, mistakes)

    solved = "W = I − λ (T_f − A) T_fᵀ M⁻¹, as in `cn.consistent(T_f, T_r, lam, mu, anchor=A).matrix()`."
    return run(function, body, solved)
