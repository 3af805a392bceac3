"""Checks for the exercises: each takes the learner's own function and says what differs, and by how much.

Every check runs the function on random inputs, on inputs shaped like CLIP's (a narrow cone, with
a repeated and a rescaled name) and on PocketCLIP's own embeddings. It prints one message and
returns a `Verdict`. Solutions are in ``notebooks/solutions``.

To add a check, write a body that calls the function and compares, and hand it to `run`:

    def check_double(function):
        def body(case, call):
            expect("double(T)", call(case.T), 2 * case.T, {"that is T itself": case.T})
        return run(function, body, "2T, on random and real embeddings.")
"""

from __future__ import annotations

import dis
import functools
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.erasers import consistent

__all__ = [
    "Case",
    "Verdict",
    "Wrong",
    "cases",
    "check_anchored",
    "check_apply_edit",
    "check_balanced_accuracy",
    "check_basis",
    "check_calibration_error",
    "check_ccup",
    "check_ccup_factors",
    "check_changed_share",
    "check_choose_point",
    "check_cone",
    "check_conformal_sets",
    "check_edited_scores",
    "check_fewest_pictures",
    "check_forget_projector",
    "check_forget_prompts",
    "check_interaction",
    "check_known",
    "check_modality_gap",
    "check_muted_scores",
    "check_name_scores",
    "check_nearest",
    "check_partial_projector",
    "check_project_out",
    "check_projector",
    "check_protocol_score",
    "check_rank",
    "check_read_direction",
    "check_reader",
    "check_recall_by_word",
    "check_retain_change",
    "check_written_direction",
    "check_zero_limit",
    "check_zero_shot",
    "expect",
    "expect_shape",
    "run",
]

#: largest error that passes, relative to the largest entry wanted; float32 work stays below it
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verdict:
    """What a check found. Truthy when the exercise is solved.

    Attributes
    ----------
    passed : bool or None
        None when the exercise was not attempted.
    message : str
        What was printed.
    """

    passed: bool | None
    message: str

    def __bool__(self) -> bool:
        return bool(self.passed)

    def _ipython_display_(self) -> None:
        """Show nothing more: the message was printed."""


class Wrong(Exception):
    """Raised in the body of a check; its text is what the learner reads."""


@dataclass(frozen=True)
class Case:
    """One set of inputs.

    Attributes
    ----------
    name : str
        As it reads in "on ... inputs".
    T : torch.Tensor [C, d]
        Unit text embeddings.
    Z : torch.Tensor [n, d]
        Unit image embeddings.
    labels : torch.Tensor [n]
        Class index of each image.
    forget : list of int
        A forget set.
    """

    name: str
    T: torch.Tensor
    Z: torch.Tensor
    labels: torch.Tensor
    forget: list[int]

    @property
    def retain(self) -> list[int]:
        """The classes that are not in `forget`."""
        return [c for c in range(len(self.T)) if c not in self.forget]


def _synthetic(name: str, shared: float, n_classes: int, dim: int, seed: int) -> Case:
    """Unit rows around one direction; ``shared`` is its length before normalising (0: no cone)."""
    g = torch.Generator().manual_seed(seed)
    center = F.normalize(torch.randn(dim, generator=g), dim=0)
    gap = F.normalize(torch.randn(dim, generator=g), dim=0)
    own = F.normalize(torch.randn(n_classes, dim, generator=g), dim=1)
    labels = torch.arange(n_classes).repeat_interleave(4)
    noise = F.normalize(torch.randn(len(labels), dim, generator=g), dim=1)
    T = F.normalize(shared * center + own, dim=1)
    Z = F.normalize(shared * (center + 0.7 * gap) + own[labels] + 0.5 * noise, dim=1)
    return Case(name, T, Z, labels, [0, 1, 2])


@functools.lru_cache(maxsize=1)
def _real() -> Case:
    """The model's own embeddings of some everyday classes and their pictures (`CLIPNULL_MODEL`)."""
    import clipnull as cn

    clip = cn.load()
    data = cn.datasets.load(size=clip.image_size)
    # some 25 classes with one picture each are enough to tell a wrong answer, and quick to embed
    data = data.subset(range(0, len(data.classes), max(1, len(data.classes) // 25)))
    first = [int(data.where(c)[0]) for c in range(len(data.classes))]
    T = clip.embed_text(data.classes, templates=data.templates).float().cpu()
    Z = clip.embed_images(data.images[first]).float().cpu()
    return Case("PocketCLIP's", T, Z, torch.arange(len(T)), [0, 1, 2])


def cases() -> list[Case]:
    """The inputs every check uses: random, CLIP-shaped, and the model's own."""
    return [
        _synthetic("random", 0.0, 12, 32, seed=0),
        _synthetic("CLIP-shaped", 1.25, 20, 48, seed=1),
        _real(),
    ]


def expect_shape(what: str, got: torch.Tensor, want: Sequence[int]) -> None:
    """Raise `Wrong` unless ``got`` has the shape ``want``; a transposed one is named as such."""
    if tuple(got.shape) == tuple(want):
        return
    hint = ""
    if got.ndim == 2 and tuple(got.shape) == tuple(want)[::-1]:
        hint = " It looks transposed: samples are rows, a basis is in columns."
    raise Wrong(f"{what} has shape {list(got.shape)}, want {list(want)}.{hint}")


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest entry of ``|got - want|``; infinite when an entry is NaN."""
    if got.numel() == 0:
        return 0.0
    gap = float((got.double() - want.double()).abs().max())
    return gap if gap == gap else float("inf")


def expect(
    what: str,
    got: Any,
    want: Any,
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise `Wrong` unless ``got`` equals ``want`` to ``tolerance``.

    Parameters
    ----------
    what : str
        How the message names the array: ``"P"``, ``"project_out(Z, U)"``.
    got, want : array of any shape, or number
        The learner's and the right answer.
    mistakes : mapping of str to array, optional
        Usual wrong answers by the hint that helps. The first one that equals ``got`` is the
        hint; one that equals ``want`` is skipped, since it is no mistake on these inputs.
    tolerance : float
        Relative to the largest entry of ``want`` (or to 1, when that is smaller).
    """
    got, want = torch.as_tensor(got), torch.as_tensor(want)
    # a wrong answer may have another shape: look for it before complaining about shapes
    room = tolerance * max(1.0, float(want.abs().max()) if want.numel() else 1.0)
    if got.shape == want.shape and error(got, want) <= room:
        return
    for hint, wrong in (mistakes or {}).items():
        wrong = torch.as_tensor(wrong)
        if wrong.shape == want.shape and error(wrong, want) <= room:
            continue
        if got.shape == wrong.shape and error(got, wrong) <= room:
            same = got.shape == want.shape
            size = f"differs by {error(got, want):.2g}" if same else f"has shape {list(got.shape)}"
            raise Wrong(f"{what} {size}: {hint}")
    expect_shape(what, got, want.shape)
    if not torch.isfinite(got.double()).all():
        raise Wrong(f"{what} holds NaN or infinity: is there a division by zero?")
    if want.numel() == 1:
        raise Wrong(f"{what} is {float(got):.4g}, want {float(want):.4g}.")
    raise Wrong(f"{what} differs from the right answer by up to {error(got, want):.2g}.")


def _stub() -> None:
    """What a body of docstring and ``...`` compiles to."""
    ...


def _is_stub(function: Callable[..., Any]) -> bool:
    """Whether the body is nothing but a docstring and ``...``."""
    code = getattr(function, "__code__", None)
    return code is not None and _opnames(code) == _opnames(_stub.__code__)


def _opnames(code: Any) -> list[str]:
    return [i.opname for i in dis.get_instructions(code)]


class _Call:
    """Call the learner's function on copies, and say clearly what went wrong if it did."""

    def __init__(self, function: Callable[..., Any], case: Case) -> None:
        self.function, self.case = function, case

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
        try:
            out = self.function(*copies, **kwargs)
        except NotImplementedError:
            raise
        except Exception as problem:
            where = traceback.extract_tb(problem.__traceback__)
            own = [f for f in where[1:] if f.name == getattr(self.function, "__name__", "")] or where[-1:]
            line = f" in the line `{own[-1].line}`" if own[-1].line else ""
            raise Wrong(f"your function raised {type(problem).__name__}: {problem}{line}") from problem
        for before, after in zip(args, copies, strict=True):
            if isinstance(before, torch.Tensor) and not torch.equal(before, after):
                raise Wrong("your function changes its input in place; work on a copy.")
        if out is None or out is Ellipsis:
            if out is Ellipsis:
                raise NotImplementedError
            raise Wrong("your function returns None: is the return statement missing?")
        try:
            return torch.as_tensor(out)
        except (TypeError, ValueError, RuntimeError) as problem:
            raise Wrong(
                f"your function returns {type(out).__name__}, which is not an array ({problem})."
            ) from problem


def run(
    function: Callable[..., Any],
    body: Callable[[Case, Callable[..., torch.Tensor]], None],
    solved: str,
    inputs: Sequence[Case] | None = None,
) -> Verdict:
    """Run ``body`` on every case, print what it found, return the `Verdict`.

    Parameters
    ----------
    function : callable
        The learner's.
    body : callable
        Takes a `Case` and ``call``, which runs the function on copies of its arguments and returns
        a tensor; raises `Wrong` (as `expect` does) when something differs.
    solved : str
        What the learner has shown, for the message of success.
    inputs : sequence of Case, optional
        Default `cases()`.
    """
    verdict = Verdict(True, f"✓ Solved: {solved}")
    if _is_stub(function):  # before any model is loaded
        verdict = Verdict(None, "not attempted yet")
    else:
        for case in cases() if inputs is None else inputs:
            try:
                body(case, _Call(function, case))
            except NotImplementedError:
                verdict = Verdict(None, "not attempted yet")
                break
            except Wrong as wrong:
                verdict = Verdict(False, f"✗ Not yet, on {case.name} inputs: {wrong}")
                break
    print(verdict.message)
    return verdict


# --- lesson 06a: is it really gone? --------------------------------------------------------


def check_recall_by_word(function: Callable[..., Any]) -> Verdict:
    """``recall_by_word(Z, T, labels, c, w)``: recall of class c when ``w`` takes its name's place."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for i, c in enumerate(case.forget):
            g = torch.Generator().manual_seed(i)
            noise = F.normalize(torch.randn(case.T.shape[1], generator=g), dim=0)
            w = F.normalize(case.T[c] + (0.6 + 0.4 * i) * noise, dim=0)
            swapped = case.T.clone()
            swapped[c] = w
            mine, both = case.labels == c, torch.cat([case.T, w[None]])
            said, kept, plain = ((case.Z @ A.T).argmax(1) for A in (swapped, both, case.T))
            mistakes = {
                "the old name is still among the candidates: w takes its place.": (kept == len(case.T))[mine],
                "that is the recall by the class's own name: where does w enter?": (plain == c)[mine],
                "the old name still counts as right.": ((kept == len(case.T)) | (kept == c))[mine],
                "that is the accuracy over all images; want only those of class c.": said == case.labels,
                "that is the share of all images that w takes; want only those of class c.": said == c,
            }
            shares = {hint: hits.double().mean() for hint, hits in mistakes.items()}
            got = call(case.Z, case.T, case.labels, c, w).double()
            expect(f"recall_by_word(Z, T, labels, {c}, w)", got, (said == c)[mine].double().mean(), shares)

    return run(function, body, "recall by another word, as in `clipnull.audit.other_words`.")


def check_balanced_accuracy(function: Callable[..., Any]) -> Verdict:
    """``balanced_accuracy(guess, truth)``: mean of the recalls of yes and of no, bool [n] (notebook 06a)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        truth = case.labels == case.forget[0]
        for guess in (case.Z[:, 0] > case.Z[:, 0].median(), torch.zeros_like(truth), case.labels < 2):
            yes, no = guess[truth].double().mean(), (~guess)[~truth].double().mean()
            mistakes = {
                "that is plain accuracy: always saying no would do well, as yes is rare.": (guess == truth)
                .double()
                .mean(),
                "that is the recall of yes alone; average it with the recall of no.": yes,
                "that is the recall of no alone; average it with the recall of yes.": no,
                "that is the sum of both recalls, want their mean.": yes + no,
            }
            expect("balanced_accuracy(guess, truth)", call(guess, truth).double(), (yes + no) / 2, mistakes)

    return run(function, body, "50% is chance, however rare yes is.")


def _chances(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [n, C], neither all alike nor all certain, and labels [n], every third one wrong."""
    y = case.labels.clone()
    y[::3] = (y[::3] + 1) % len(case.T)
    return (12 * case.Z @ case.T.T).softmax(1).double(), y


def check_calibration_error(function: Callable[..., Any]) -> Verdict:
    """``calibration_error(p, labels, bins)``: expected calibration error, a fraction (notebook 06a)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        p, y = _chances(case)
        for bins in (10, 4):
            top, said = p.max(1)
            which = (top * bins).ceil().long().clamp(1, bins)
            right = (said == y).double()
            used = which.unique()
            gaps = torch.stack([right[which == b].mean() - top[which == b].mean() for b in used])
            share = torch.stack([(which == b).double().mean() for b in used])
            mistakes = {
                "signed gaps cancel between bins: take the absolute value of each.": (share * gaps).sum(),
                "signed gaps cancel between bins: take the absolute value of each (sign flipped).": -(
                    share * gaps
                ).sum(),
                "bins count alike, however few they hold; weigh each by its share.": gaps.abs().mean(),
                "empty bins were counted too; weigh each bin by its share.": gaps.abs().sum() / bins,
                "that is the largest gap, the maximum calibration error.": gaps.abs().max(),
                "gaps are squared; take the absolute value.": (share * gaps**2).sum(),
                "the confidence of the true class was binned; want the highest one, right or wrong.": _ece(
                    p[torch.arange(len(p)), y], right, bins
                ),
            }
            what = f"calibration_error(p, labels, {bins})"
            expect(what, call(p, y, bins).double(), (share * gaps.abs()).sum(), mistakes)

    return run(function, body, "as `clipnull.audit.calibration_error`.")


def _ece(score: torch.Tensor, right: torch.Tensor, bins: int) -> torch.Tensor:
    which = (score * bins).ceil().long().clamp(1, bins)
    members = [which == b for b in which.unique()]
    return torch.stack([(m.double().mean() * (right[m] - score[m]).mean().abs()) for m in members]).sum()


def check_conformal_sets(function: Callable[..., Any]) -> Verdict:
    """``conformal_sets(p, calibration, labels, alpha)`` -> bool [n, C] (notebook 06a)."""

    def sets(p: torch.Tensor, scores: torch.Tensor, rank: int) -> torch.Tensor:
        s = scores.sort().values
        return (1 - p <= (s[rank - 1] if rank <= len(s) else torch.inf)).double()

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        P, y = _chances(case)
        p, cal, y = P[::2], P[1::2], y[1::2]
        own = cal[torch.arange(len(cal)), y]
        n = len(cal)
        for alpha in (0.1, 0.35, 0.01):
            rank = math.ceil((n + 1) * (1 - alpha))
            mistakes = {
                "with so few calibration images no score is high enough: every class stays.": sets(
                    p, 1 - own, min(rank, n)
                ),
                "take the ⌈(n + 1)(1 − α)⌉-th smallest score: without the + 1 too few are covered.": sets(
                    p, 1 - own, math.ceil(n * (1 - alpha))
                ),
                "that covers a share α, want 1 − α.": sets(p, 1 - own, math.ceil((n + 1) * alpha)),
                "the scores are those of the class that won; take those of the true class.": sets(
                    p, 1 - cal.amax(1), rank
                ),
                "that takes classes of probability 1 − α and more, whatever the calibration says.": (
                    p >= 1 - alpha
                ).double(),
                "that is the complement: want the classes that stay.": 1 - sets(p, 1 - own, rank),
            }
            got = call(p, cal, y, alpha).double()
            expect(f"conformal_sets(p, calibration, labels, {alpha})", got, sets(p, 1 - own, rank), mistakes)

    return run(function, body, "as `clipnull.audit.conformal_sets`.")


# --- lesson 04: partial and consistent -----------------------------------------------------


def _mixed_names(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """T_f [m, d] and T_r [k, d] of a case, float64 for the reference answers."""
    return case.T[case.forget].double(), case.T[case.retain].double()


def _consistent_by_hand(
    T_f: torch.Tensor, T_r: torch.Tensor, A: torch.Tensor, lam: float, mu: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """L and R [d, m] of W = I - L R^T, from the d x d matrix M (names in rows; notebook 04)."""
    M = torch.eye(T_f.shape[1], dtype=T_f.dtype) + lam * T_f.T @ T_f + mu * T_r.T @ T_r
    return (T_f - A).T, lam * torch.linalg.solve(M, T_f.T)


def _edit_matrix(L: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(L), dtype=L.dtype) - L @ R.T


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


def _mistaken_edits(
    T_f: torch.Tensor, T_r: torch.Tensor, A: torch.Tensor, lam: float, mu: float
) -> dict[str, torch.Tensor]:
    """Usual wrong answers for W = I - (T_f - A) R^T, by hint."""
    from clipnull.subspace import orthonormal_basis, projector

    L, R = _consistent_by_hand(T_f, T_r, A, lam, mu)
    eye, zero = torch.eye(len(L), dtype=L.dtype), torch.zeros_like(A)
    no_eye = lam * T_f.T @ T_f + mu * T_r.T @ T_r
    swapped = _edit_matrix(*_consistent_by_hand(T_f, T_r, A, mu, lam))
    without_mu = _edit_matrix(*_consistent_by_hand(T_f, T_r, A, lam, 0.0))
    projected = eye - projector(orthonormal_basis(T_f))
    return {
        "that is Wᵀ. The unknown W stands on the left, W M = B, so W = B M⁻¹ and not M⁻¹ B.": (
            eye - L @ R.T
        ).T,
        "λ and μ are swapped: λ goes with T_f, μ with T_r.": swapped,
        "λ and μ are swapped, and W is transposed.": swapped.T,
        "the I of ‖W − I‖² is missing (I − … in W).": -L @ R.T,
        "that is L Rᵀ: take it away from I.": L @ R.T,
        "the I of ‖W − I‖² is missing in W M = I + …: μ T_r T_rᵀ alone stands on the right.": (eye - L @ R.T)
        - torch.linalg.inv(eye + no_eye),
        "the I of ‖W − I‖² is missing in M = I + λ T_f T_fᵀ + μ T_r T_rᵀ.": eye
        - L @ (lam * torch.linalg.pinv(no_eye, rtol=1e-5, hermitian=True) @ T_f.T).T,
        "μ has no effect: T_r is missing from M.": without_mu,
        "that is the projector I − UUᵀ: the retained names are not asked.": projected,
        "λ is missing in front: R = λ M⁻¹ T_f.": eye - L @ R.T / lam,
        "the anchor is ignored: that is CCUP, the edit with A = 0.": _edit_matrix(
            *_consistent_by_hand(T_f, T_r, zero, lam, mu)
        ),
        "the anchor's sign: L = T_f − A.": eye - (T_f + A).T @ R.T,
        "that sends the retained names' place to A too: only T_f has a target, T_r stays.": eye + A.T @ R.T,
    }


def _expect_edit(
    what: str, got: Callable[[], torch.Tensor], want: torch.Tensor, mistakes: dict[str, torch.Tensor]
) -> None:
    """`expect` for a W; an M without its I is singular, which shows as an error or as huge entries."""
    hint = "is the I of M = I + λ T_f T_fᵀ + μ T_r T_rᵀ there? Without it M is singular."
    try:
        W = got()
    except Wrong as wrong:
        raise Wrong(f"{wrong}; {hint}") if "singular" in str(wrong) else wrong from wrong
    if W.shape == want.shape and (largest := float(W.abs().max())) > 1e3:
        raise Wrong(f"{what} has entries as large as {largest:.1g}: {hint}")
    expect(what, W, want, mistakes)


#: dials that tell lam from mu, and one at which the two agree with the package's defaults
_DIALS = [(20.0, 5.0), (10.0, 10.0), (3.0, 0.0)]


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


# --- notebook 01 ---------------------------------------------------------------------------


def _lengths(n: int, seed: int) -> torch.Tensor:
    """Lengths [n, 1] from 0.3 to 3, to take unit rows apart."""
    g = torch.Generator().manual_seed(seed)
    return 10 ** (torch.rand(n, 1, generator=g) - 0.5)


def _accuracy(scores: torch.Tensor, labels: torch.Tensor) -> float:
    return float((scores.argmax(1) == labels).double().mean())


def check_zero_shot(function: Callable[..., Any]) -> Verdict:
    """Check ``function(Z [n, d], T [C, d], labels [n])``: the zero-shot accuracy, a fraction.

    An image's class is the nearest name by cosine; rows of ``Z`` and ``T`` have any length.
    """

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        # a few labels are made wrong: a fraction strictly between 0 and 1 tells more
        labels = torch.where(torch.arange(len(case.labels)) % 7 < 5, case.labels, case.labels.roll(4))
        Z, T = case.Z * _lengths(len(case.Z), 1), case.T * _lengths(len(case.T), 2)
        cosines = case.Z @ case.T.T
        right = _accuracy(cosines, labels)
        by_column = cosines.argmax(0)
        expect(
            "the accuracy",
            call(Z, T, labels),
            right,
            {
                "that is the share by dot product. Names differ in length here: cosines need unit rows.": (
                    _accuracy(Z @ T.T, labels)
                ),
                "that is in percent, want a fraction between 0 and 1.": 100 * right,
                "that counts the images, want a fraction: divide by how many there are.": right * len(Z),
                "that is the share of wrong answers.": 1 - right,
                "that takes the argmax over images: want, for each image (row), the best class (column).": (
                    float((labels[by_column] == torch.arange(len(T))).double().mean())
                ),
                "that takes the smallest cosine, want the largest.": _accuracy(-cosines, labels),
            },
        )

    return run(function, body, "the zero-shot accuracy, on random and on real embeddings.")


def check_cone(function: Callable[..., Any]) -> Verdict:
    """Check ``function(T [C, d])``: the mean cosine between different rows."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        T, C = case.T * _lengths(len(case.T), 3), len(case.T)
        cosines, dots = case.T @ case.T.T, T @ T.T
        off = ~torch.eye(C, dtype=torch.bool)
        right = cosines[off].mean()
        expect(
            "the mean cosine",
            call(T),
            right,
            {
                "that averages over each row with itself too. Leave the diagonal out.": cosines.mean(),
                "these are dot products. Cosines need unit rows.": dots[off].mean(),
                "these are dot products, and the diagonal is among them.": dots.mean(),
                "that divides by C² although C of the terms were left out.": right * (C - 1) / C,
                "that counts each pair once but divides as if twice.": right / 2,
                "that is the squared length of the mean row: it has each row with itself in it.": (
                    case.T.mean(0).square().sum()
                ),
            },
        )

    return run(function, body, "the width of the cone, on random and on real embeddings.")


def check_modality_gap(function: Callable[..., Any]) -> Verdict:
    """Check ``function(Z [n, d], T [C, d])``: distance of the mean image and the mean text (unit rows)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        Z, T = case.Z * _lengths(len(case.Z), 4), case.T * _lengths(len(case.T), 5)
        gap = case.Z.mean(0) - case.T.mean(0)
        unit = F.normalize(case.Z.mean(0), dim=0) - F.normalize(case.T.mean(0), dim=0)
        expect(
            "the gap",
            call(Z, T),
            gap.norm(),
            {
                "that is the vector between the means, want its length.": gap,
                "that uses rows of the lengths they came with. Scale each row to unit length first.": (
                    (Z.mean(0) - T.mean(0)).norm()
                ),
                "that is the squared length, take the root.": gap.square().sum(),
                "that scales the means to unit length. Scale the rows, not their means.": unit.norm(),
                "that is the mean distance over pairs, want the distance between the two means.": (
                    torch.cdist(case.Z, case.T).mean()
                ),
                "that is the cosine of the two means, want their distance.": (
                    F.cosine_similarity(case.Z.mean(0), case.T.mean(0), dim=0)
                ),
            },
        )

    return run(function, body, "the modality gap, on random and on real embeddings.")


def check_nearest(function: Callable[..., Any]) -> Verdict:
    """Check ``function(T [C, d], i, k)``: indices of the k rows nearest to row i by cosine, best first."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        T, k = case.T * _lengths(len(case.T), 6), 3
        for i in (0, len(T) // 2):
            cosines, dots = case.T @ case.T[i], T @ T[i]
            order = [j for j in cosines.argsort(descending=True).tolist() if j != i]
            by_dot = [j for j in dots.argsort(descending=True).tolist() if j != i]
            got = call(T, i, k)
            mistakes = {
                "row i itself is among them. It is always nearest: leave it out.": [i, *order[: k - 1]],
                "row i itself is among them, and one too many.": [i, *order[:k]],
                "these are the farthest ones.": order[::-1][:k],
                "these are the right rows, worst first. Want the best first.": order[:k][::-1],
                "these have the largest dot products. Cosines need unit rows.": by_dot[:k],
                "these have the largest dot products, row i among them.": dots.argsort(descending=True)[:k],
            }
            if got.shape == (k,) and not got.is_floating_point() and len(set(got.tolist())) == k:
                # two rows may tie: compare the cosines, not the indices
                if bool((got >= 0).all() and (got < len(T)).all()) and i not in got.tolist():
                    if error(cosines[got], cosines[order[:k]]) < TOLERANCE:
                        continue
            expect(f"nearest(T, {i}, {k})", got, order[:k], mistakes)

    return run(function, body, "the nearest names, on random and on real embeddings.")


# --- notebook 02 ---------------------------------------------------------------------------


def _with_repeats(T: torch.Tensor) -> torch.Tensor:
    """Rows [m + 2, d]: the second is the first again, the last is the third, shorter. Rank as before."""
    return torch.cat([T[:1], T[:1], T[1:], 0.5 * T[-1:]])


def check_basis(function: Callable[..., Any]) -> Verdict:
    """Check ``function(T [m, d])``: U [d, r], orthonormal columns that span the rows of T, r the rank."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for T in (case.T[case.forget], _with_repeats(case.T[case.forget])):
            right = subspace.orthonormal_basis(T)
            d, r = right.shape
            U = call(T)
            if tuple(U.shape) == (r, d) or tuple(U.shape) == (len(T), d):
                raise Wrong(
                    f"U has shape {list(U.shape)}: it looks transposed, a basis is in columns, [d, r]."
                )
            if U.ndim != 2 or U.shape[0] != d:
                raise Wrong(f"U has shape {list(U.shape)}, want [{d}, {r}].")
            if not torch.isfinite(U.double()).all():
                raise Wrong(
                    "U holds NaN or infinity: a repeated name leaves a residual of zero, which divides."
                )
            gram = U.double().T @ U.double()
            off = error(gram, torch.eye(U.shape[1], dtype=torch.double))
            if U.shape[1] > r:
                raise Wrong(
                    f"U has {U.shape[1]} columns, but the {len(T)} rows span {r} directions: two rows are "
                    "repeated, up to length. Drop what is numerically zero."
                )
            if off > TOLERANCE:
                lengths = error(gram.diagonal(), torch.ones(U.shape[1], dtype=torch.double))
                hint = (
                    "are the columns unit length?"
                    if lengths > TOLERANCE
                    else "the columns have unit length but are not orthogonal to each other. Subtract first."
                )
                raise Wrong(f"UᵀU differs from I by {off:.2g}: {hint}")
            if U.shape[1] < r:
                raise Wrong(f"U has {U.shape[1]} columns, but the rows span {r} directions.")
            left = subspace.project_out(T.double(), U.double()).norm(dim=1).max()
            if float(left) > TOLERANCE:
                raise Wrong(
                    f"UᵀU = I, but U does not span the rows of T: a part {float(left):.2g} long is left over."
                )

    return run(function, body, "UᵀU = I, the span is right, and repeated names add no column.")


def check_projector(function: Callable[..., Any]) -> Verdict:
    """Check ``function(U [d, r])``: P [d, d], the orthogonal projector onto the span of U."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        U = subspace.orthonormal_basis(case.T[case.forget]).float()
        P = U @ U.T
        eye = torch.eye(len(P))
        expect(
            "P",
            call(U),
            P,
            {
                "that is I − P, which projects out of the span instead of onto it.": eye - P,
                "that is UᵀU, the identity of size r. The projector is [d, d].": U.T @ U,
                "that is 2P − I, a reflection.": 2 * P - eye,
                "that is U itself.": U,
                "the whole is divided by r.": P / U.shape[1],
            },
        )

    return run(function, body, "P = UUᵀ, so that P² = P = Pᵀ.")


def check_project_out(function: Callable[..., Any]) -> Verdict:
    """Check ``function(Z [n, d], U [d, r])``: rows of Z without their part in the span of U."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        Z = case.Z[:10]
        U = subspace.orthonormal_basis(case.T[case.forget]).float()
        inside = (Z @ U) @ U.T
        out = Z - inside
        coefficients = (Z @ U).sum(1, keepdim=True)
        expect(
            "project_out(Z, U)",
            call(Z, U),
            out,
            {
                "that is the part inside the span (projected onto). Want what is left of Z.": inside,
                "these are the coefficients ZU, in the basis. Go back to d dimensions with Uᵀ.": Z @ U,
                "the rows are scaled to unit length afterwards. A projection does not.": F.normalize(
                    out, dim=1
                ),
                "that subtracts twice the part inside (a reflection).": Z - 2 * inside,
                "that takes out the first column of U only.": Z - (Z @ U[:, :1]) @ U[:, :1].T,
                "that adds the part inside instead of subtracting it.": Z + inside,
                "it is transposed: samples are rows.": out.T,
                "that is the projector I − P itself. Apply it to Z.": torch.eye(len(U)) - U @ U.T,
                "that adds up the coefficients before using them.": Z - coefficients * U.sum(1),
            },
        )

    return run(function, body, "nothing of U is left in Z, and nothing else is lost.")


def check_rank(function: Callable[..., Any]) -> Verdict:
    """Check ``function(T [m, d])``: the numerical rank, by singular values relative to the largest."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        names = case.T[case.forget]
        repeated = _with_repeats(names)
        for what, T in (
            ("independent rows", names),
            ("rows of which two are repeated", repeated),
            ("the same rows times 0.00001", 1e-5 * repeated),
            ("the same rows times 10,000", 1e4 * repeated),
            ("more rows than dimensions", case.T[:, :5]),
        ):
            right, s = subspace.numerical_rank(T), torch.linalg.svdvals(T)
            expect(
                f"the rank of {what}",
                call(T).double(),
                right,
                {
                    "that counts rows. Rows that are repeated add no direction.": len(T),
                    "that counts singular values above 0. Rounding leaves none at 0 exactly.": int(
                        (s > 0).sum()
                    ),
                    "that compares with a fixed number. The scale of T must not matter: compare with the "
                    "largest singular value.": int((s > 1e-6).sum()),
                    "that counts directions lost, want directions there.": len(T) - right,
                    "that is the dimension d.": T.shape[1],
                },
            )

    return run(function, body, "the rank, whatever the scale and however often a name is repeated.")


# --- 03 nullspace forgetting ----------------------------------------------------------------


def _expect_projector(what: str, W: torch.Tensor, T_f: torch.Tensor) -> None:
    """Raise `Wrong` unless ``W`` projects out the span of the rows of ``T_f [m, d]``, and no more."""
    m, d = T_f.shape
    eye, unit = torch.eye(d, dtype=T_f.dtype), F.normalize(T_f, dim=1)
    U = subspace.orthonormal_basis(T_f).to(T_f)
    r = U.shape[1]
    want = eye - U @ U.T
    mistakes = {
        "that projects onto the names: subtract it from I to project out of them.": U @ U.T,
        "the columns of your U are unit vectors but not perpendicular to each other: "
        "UUᵀ wants an orthonormal basis (SVD or QR) of the names.": eye - unit.T @ unit,
        "that is I - UUᵀ with raw names as U: are its columns unit length?": eye - T_f.T @ T_f,
        "that is I minus a number: your U has m rows. A basis has d: transpose T_f first.": eye - 1,
    }
    if W.shape == want.shape and r < m:
        removed = d - float(W.trace())
        if error(W @ W, W) < 1e-2 and error(T_f @ W, torch.zeros_like(T_f)) < 1e-2 and removed > r + 0.5:
            raise Wrong(
                f"{what} removes {removed:.0f} dimensions, but these {m} rows span only {r}: one is a "
                "multiple of another. Drop the directions whose singular value is zero but for noise."
            )
    expect(what, W, want, mistakes)


def check_forget_projector(function: Callable[..., Any]) -> Verdict:
    """``forget_projector(T_f)``: text embeddings [m, d] to W = I - U U^T [d, d] (notebook 03).

    One name, a longer one, several, and several of which one is repeated.
    """

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        one, several = case.T[:1], case.T[case.forget]
        _expect_projector("W for one name", call(one), one)
        _expect_projector("W for a name of length 3", call(3 * one), 3 * one)
        _expect_projector("W for three names", call(several), several)
        repeated = torch.cat([several, 2 * several[:1]])
        _expect_projector("W for three names and one of them again", call(repeated), repeated)

    return run(function, body, "your projector forgets one name, several, and repeated ones.")


def check_edited_scores(function: Callable[..., Any]) -> Verdict:
    """``edited_scores(S, Z, T, L, R)``: scores [n, C] after W = I - L R^T (notebook 03)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        edit = consistent(case.T[case.forget], case.T[case.retain])
        Z, T, L, R = case.Z, case.T, edit.left, edit.right
        S = Z @ T.T
        taken = (Z @ L) @ (T @ R).T
        what = "edited_scores(S, Z, T, L, R)"
        mistakes = {
            "L and R are swapped, which is Wᵀ in the place of W. Images meet L, names meet R.": S
            - (Z @ R) @ (T @ L).T,
            "that is what the edit takes away: subtract it from S.": taken,
            "the sign is wrong: the edit takes this away.": S + taken,
            "the edited images were normalised. The update gives raw scores.": F.normalize(
                Z - (Z @ L) @ R.T, dim=1
            )
            @ T.T,
            "the edited names were normalised. The update gives raw scores.": Z
            @ F.normalize(T - (T @ R) @ L.T, dim=1).T,
        }
        expect(what, call(S, Z, T, L, R), S - taken, mistakes)
        again = "they were computed anew. Start from the S you are given: n·C·m steps, not n·C·d."
        more = S + 1
        expect(f"{what} with 1 added to S", call(more, Z, T, L, R), more - taken, {again: S - taken})

    return run(function, body, "new scores from the old ones, without a new [n, d] by [d, C] product.")


def check_apply_edit(function: Callable[..., Any]) -> Verdict:
    """``apply_edit(X, L, R, side)``: rows of images to X W, rows of names to X W^T (notebook 03)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        # CCUP: W is not symmetric, so that the sides differ
        edit = consistent(case.T[case.forget], case.T[case.retain])
        L, R = edit.left, edit.right
        for side, X, a, b in [("image", case.Z, L, R), ("text", case.T, R, L)]:
            want, other = X - (X @ a) @ b.T, X - (X @ b) @ a.T
            hint = {
                "image": "that is X Wᵀ, want X W: W for Wᵀ. Rows of images meet L first.",
                "text": "that is X W, want X Wᵀ: W for Wᵀ. Rows of names meet R first.",
            }[side]
            mistakes = {
                hint: other,
                "that is what the edit takes away: subtract it from X.": (X @ a) @ b.T,
                "your rows were normalised; leave their length as it comes out.": F.normalize(want, dim=1),
            }
            expect(f"apply_edit(X, L, R, {side!r})", call(X, L, R, side), want, mistakes)

    return run(function, body, "both sides, each with its own of W and Wᵀ.")


def check_forget_prompts(function: Callable[..., Any]) -> Verdict:
    """``forget_prompts(Z, E)``: images [n, d] less the span of all prompts E [m, k, d] (notebook 03)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        m, k, d = len(case.forget), 4, case.T.shape[1]
        noise = F.normalize(torch.randn(m, k, d, generator=torch.Generator().manual_seed(3)), dim=2)
        E = F.normalize(case.T[case.forget][:, None] + 0.3 * noise, dim=2)
        E[:, -1] = E[:, 0]  # a prompt that says the same again: the rank drops
        flat, eye = E.reshape(-1, d), torch.eye(d)

        def out(X: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
            U = subspace.orthonormal_basis(names).to(X)
            return X - (X @ U) @ U.T

        def one_by_one(X: torch.Tensor) -> torch.Tensor:
            for t in flat:
                X = X - (X @ t)[:, None] * t
            return X

        what, want = "forget_prompts(Z, E)", out(case.Z, flat)
        mistakes = {
            "the prompts of a class were averaged first, so what tells them apart is still there. "
            "Every prompt is a row of its own.": out(case.Z, E.mean(1)),
            "only the first prompt of each class was removed.": out(case.Z, E[:, 0]),
            "only the first class was removed.": out(case.Z, E[0]),
            "that is the part inside the span: subtract it from Z.": case.Z - want,
            "names were removed one after the other, but they are not perpendicular: the later ones put "
            "back some of the earlier. Take an orthonormal basis of them all.": one_by_one(case.Z),
            "your rows were normalised; leave their length as it comes out.": F.normalize(want, dim=1),
        }
        got = call(case.Z, E)
        known = [w for w in (want, *mistakes.values()) if w.shape == got.shape]
        if all(error(got, w) > TOLERANCE for w in known):
            # rows of I are turned into W itself, which shows how many dimensions went
            _expect_projector("forget_prompts(I, E)", call(eye, E), flat)
        expect(what, got, want, mistakes)

    return run(function, body, "several prompts a class, and the rank is what they span.")


# --- lesson 06b: read it off, train it back ------------------------------------------------


def _two_layers(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A last layer P [w, d], the same with one name forgotten, and that edit's L and R [d], unit."""
    d = case.T.shape[1]
    P = torch.randn(d + 8, d, generator=torch.Generator().manual_seed(3)).double()
    rest = [i for i in range(len(case.T)) if i != case.forget[0]]
    edit = consistent(case.T[case.forget[0]], case.T[rest], anchor="mean", dtype=torch.float64)
    L, R = (F.normalize(x[:, 0], dim=0) for x in (edit.left, edit.right))
    return P, edit.apply_image(P), L, R


def _expect_direction(what: str, got: torch.Tensor, want: torch.Tensor, mistakes: dict[str, Any]) -> None:
    """`expect` for a unit vector up to its sign."""

    def signed(x: torch.Tensor) -> torch.Tensor:
        return x * torch.sign(x.flatten()[x.abs().argmax()]) if x.numel() else x

    got = got.double()
    if got.ndim == 2 and 1 in got.shape:
        raise Wrong(f"{what} has shape {list(got.shape)}, want {list(want.shape)}: a vector, not a matrix.")
    expect(what, signed(got), signed(want), {hint: signed(x) for hint, x in mistakes.items()})


def check_written_direction(function: Callable[..., Any]) -> Verdict:
    """Check ``function(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along R."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        P, Q, L, R = _two_layers(case)
        U, s, Vt = torch.linalg.svd(P - Q, full_matrices=False)
        _expect_direction(
            "the direction",
            call(P, Q),
            R,
            {
                "that is the left singular vector, of the features before the layer: want the right one.": U[
                    :, 0
                ],
                "that is the first column of Vᵀ. torch.linalg.svd returns Vᵀ: its first row.": Vt[:, 0],
                "it is not of unit length.": s[0] * R,
                "that is along L. The rows of P − Q are multiples of R.": L,
                "that is the strongest direction of P itself: take the difference first.": torch.linalg.svd(
                    P, full_matrices=False
                ).Vh[0],
            },
        )

    return run(function, body, "the rows of P − Q = P L Rᵀ are multiples of R.")


def check_read_direction(function: Callable[..., Any]) -> Verdict:
    """Check ``function(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along L."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        P, Q, L, R = _two_layers(case)
        U = torch.linalg.svd(P - Q, full_matrices=False).U[:, 0]
        read = torch.linalg.pinv(P) @ U
        _expect_direction(
            "the direction",
            call(P, Q),
            L,
            {
                "that is along R. L is in the columns of P − Q = P L Rᵀ.": R,
                "that is the left singular vector, along P L: undo P.": U,
                "that uses Pᵀ where P⁺, the pseudo-inverse, undoes P.": F.normalize(P.T @ U, dim=0),
                "it is not of unit length.": read,
            },
        )

    return run(function, body, "P⁺(P − Q) = L Rᵀ, and its columns are multiples of L.")


def check_name_scores(function: Callable[..., Any]) -> Verdict:
    """Check ``function(direction [d], V [C, d])``: |cosine| [C] of each name, less the mean name."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        V = 1.5 * case.T.double()  # their length must not matter
        direction = _two_layers(case)[2]
        less = V - V.mean(0)
        cosines = F.normalize(less, dim=1) @ direction
        expect(
            "the scores",
            call(direction, V),
            cosines.abs(),
            {
                "the sign of a singular vector means nothing: take absolute values.": cosines,
                "the mean name was not taken off.": (F.normalize(V, dim=1) @ direction).abs(),
                "the names less their mean are not of unit length.": (less @ direction).abs(),
                "each name lost the mean of its own entries: want the mean over names.": (
                    F.normalize(V - V.mean(1, keepdim=True), dim=1) @ direction
                ).abs(),
                "names are scaled to unit length before the mean is taken off, not after.": (
                    (F.normalize(V, dim=1) - F.normalize(V, dim=1).mean(0)) @ direction
                ).abs(),
            },
        )

    return run(function, body, "the forgotten name is first although the edit hid it.")


# --- lesson 08: your own model --------------------------------------------------------------


def _small() -> list[Case]:
    """For functions that look at no embeddings: one case is enough, and no model is loaded."""
    return [_synthetic("small", 0.0, 12, 32, seed=0)]


def check_known(function: Callable[..., Any]) -> Verdict:
    """``known(S, labels, share)``: scores [n, C] to a mask [C], recall >= share (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        C, labels = len(case.T), case.labels.repeat(6)
        S = case.Z @ case.T.T
        # noise as large as the scores' lead: some classes are recognised always, some never
        noise = torch.randn(len(labels), C, generator=torch.Generator().manual_seed(4))
        S = S.repeat(6, 1) + (S.amax(1) - S.mean(1)).mean() * 0.4 * noise
        predicted = S.argmax(1)
        right = torch.bincount(labels[predicted == labels], minlength=C).double()
        count, named = (torch.bincount(x, minlength=C) for x in (labels, predicted))
        recall = right / count
        for share in (float(recall.median()), 0.5, 1.0):
            want = recall >= share
            indices, precision, of_all = want.nonzero()[:, 0], right / named.clamp(min=1), right / len(S)
            mistakes = {
                "that is precision: of the pictures that get the name, how many are right. Recall divides "
                "by the pictures of the class.": precision >= share,
                "'at least' was asked for, and recall equal to the share was left out.": recall > share,
                "right answers were divided by all n pictures, not by those of the class.": of_all >= share,
                "these are the classes below the share.": ~want,
                "that is the recall itself. Compare it with the share.": recall,
                "these are the classes' indices. Want a mask, one True or False a class.": indices,
                "one right picture is not enough: compare the share of right ones.": right > 0,
            }
            numbers = {hint: wrong.double() for hint, wrong in mistakes.items()}
            got = call(S, labels, share).double()
            expect(f"known(S, labels, {share:.3g})", got, want.double(), numbers)

    return run(function, body, "recall class by class, and what counts as known.")


def check_zero_limit(function: Callable[..., Any]) -> Verdict:
    """``zero_limit(n, confidence)``: the upper limit of a rate that showed 0 of n (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for n, confidence in ((3, 0.95), (9, 0.95), (20, 0.8), (300, 0.99)):
            miss = 1 - confidence
            two_sided = 1 - (miss / 2) ** (1 / n)
            mistakes = {
                "that is 1 − p. Solve (1 − p)ⁿ = 1 − confidence for p.": miss ** (1 / n),
                "confidence and 1 − confidence are exchanged.": 1 - confidence ** (1 / n),
                "the n-th power was taken. Undoing (1 − p)ⁿ takes the n-th root.": 1 - miss**n,
                "that is the rule of three, which is good for many pictures and 95% only.": 3 / n,
                "that is −log(1 − confidence)/n, the limit for many pictures.": -math.log(miss) / n,
                "that is the limit of a two-sided interval. Only 'more than' is in question.": two_sided,
                "no picture among n does not make the rate 0.": 0.0,
            }
            got, want = call(n, confidence).double(), torch.tensor(1 - miss ** (1 / n)).double()
            expect(f"zero_limit({n}, {confidence})", got, want, mistakes, tolerance=1e-6)

    return run(function, body, "what a count of zero still allows.", _small())


def check_choose_point(function: Callable[..., Any]) -> Verdict:
    """``choose_point(forget_after, retain_after, limit)``: arrays [k] to an index (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        some, at, none = (
            "one wins within the limit",
            "one is exactly at the limit",
            "none is within the limit",
        )
        for forget, retain, limit, what in (
            ([0.9, 0.3, 0.0, 0.2, 0.02, 0.01], [0.95, 0.9, 0.5, 0.85, 0.8, 0.7], 0.05, some),
            ([0.9, 0.3, 0.0, 0.1, 0.05, 0.01], [0.95, 0.9, 0.5, 0.85, 0.72, 0.7], 0.05, at),
            ([0.9, 0.4, 0.2, 0.3, 0.6], [0.85, 0.5, 0.6, 0.9, 0.7], 0.05, none),
        ):
            f, r = torch.tensor(forget, dtype=torch.double), torch.tensor(retain, dtype=torch.double)
            fits = f <= limit
            among = r.where(fits, -torch.inf)
            want = int(among.argmax() if fits.any() else f.argmin())
            mistakes = {
                "it retains most, but it does not forget: look among those within the limit.": r.argmax(),
                "it forgets most. Among those that forget enough, retention decides.": f.argmin(),
                "it has the widest gap between retain and forget, which is another rule.": (r - f).argmax(),
            }
            if fits.any():
                strictly = r.where(f < limit, -torch.inf).argmax()
                mistakes["'at most' was asked for, and the point at the limit was left out."] = strictly
                mistakes["it is an index into the points that fit, not into all."] = r[fits].argmax()
            else:
                mistakes["no point fits here; take the one that forgets most."] = among.argmax()
            expect(f"choose_point where {what}", call(f, r, limit).double(), want, mistakes)

    return run(function, body, "the rule, with the point at the limit and without any.", _small())


def check_changed_share(function: Callable[..., Any]) -> Verdict:
    """``changed_share(before, after)``: dicts name -> tensor to a share of entries (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        before = {"names": case.T, "images": case.Z, "steps": case.labels, "scale": torch.tensor(4.6)}
        after = {k: v.clone() for k, v in before.items()}
        after["names"][:2] += 1.0
        after["images"][0, :3] *= 1 + 1e-6
        changed = {k: int((before[k] != after[k]).sum()) for k in before}
        size = {k: v.numel() for k, v in before.items()}
        count, total = sum(changed.values()), sum(size.values())
        touched = [k for k in before if changed[k]]
        whole = sum(size[k] for k in touched) / total
        mean = sum(changed[k] / size[k] for k in before) / len(before)
        mistakes = {
            "that is the number of entries. Divide by how many there are.": count,
            "that is the share of tensors that differ. Count their entries.": len(touched) / len(before),
            "every entry of a changed tensor was counted, those that are equal too.": whole,
            "the shares of the tensors were averaged: a small tensor counts like a large one.": mean,
            "a small change is a change: compare with !=, without a tolerance.": changed["names"] / total,
            "that is the share of entries that are equal.": 1 - count / total,
        }
        got, want = call(before, after).double(), torch.tensor(count / total).double()
        expect("changed_share(before, after)", got, want, mistakes, tolerance=1e-9)

    return run(function, body, "every entry counts once, and the smallest change counts.")


# --- lesson 07: the paper's protocol -------------------------------------------------------


def _made_up() -> list[Case]:
    """One case, whose arrays nobody looks at: numbers are made up in the body."""
    return [_synthetic("made-up", 0.0, 4, 8, seed=0)]


def check_protocol_score(function: Callable[..., Any]) -> Verdict:
    """``protocol_score(forget, retain, others)``: pairs (BF, AF), others a list of them (notebook 07)."""
    runs = [
        ((0.8, 0.0), (0.6, 0.57), [(0.5, 0.5), (0.7, 0.6), (0.9, 0.9)]),
        ((0.8, 0.2), (0.6, 0.66), [(0.5, 0.4), (0.7, 0.77), (0.9, 0.9)]),
        ((0.5, 0.5), (0.6, 0.3), [(0.5, 0.1), (0.4, 0.1)]),
    ]

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for forget, retain, others in runs:
            left = forget[1] / forget[0]
            drops = [(b - a) / b for b, a in [retain, *others]]
            clipped = [max(0.0, drop) for drop in drops]
            terms = [left, *clipped]
            points = [max(0.0, b - a) for b, a in [retain, *others]]
            mistakes = {
                "that is the sum of the terms, want their mean.": sum(terms),
                "a gain was counted as a negative drop: it counts as none, max(0, …).": sum([left, *drops])
                / len(terms),
                "drops are relative: divide each by its BF.": sum([left, *points]) / len(terms),
                "the forgotten classes enter as AF / BF, not as AF alone.": sum([forget[1], *clipped])
                / len(terms),
                "the forgotten classes enter as what is left, AF / BF, not as what is gone.": sum(
                    [1 - left, *clipped]
                )
                / len(terms),
                "that divides by 5, but here are fewer other data sets: divide by the number of terms.": sum(
                    terms
                )
                / 5,
                "the other data sets are averaged to one term; each is a term of its own.": (
                    left + clipped[0] + sum(clipped[1:]) / len(others)
                )
                / 3,
            }
            what = f"protocol_score({forget}, {retain}, {others})"
            got, want = call(forget, retain, others).double(), sum(terms) / len(terms)
            wrong = {k: torch.tensor(v).double() for k, v in mistakes.items()}
            expect(what, got, torch.tensor(want).double(), wrong, tolerance=1e-6)

    return run(function, body, "the protocol's score, whatever the number of data sets.", _made_up())


def check_fewest_pictures(function: Callable[..., Any]) -> Verdict:
    """``fewest_pictures(percent)``: the smallest n for which k / n rounds to it (notebook 07)."""

    def fewest(percent: float) -> int:
        """Smallest n with a whole k such that 100 k / n is ``percent`` to two decimals."""
        return next(
            n for n in range(1, 10_001) if abs(100 * round(percent * n / 100) / n - percent) < 0.00501
        )

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for percent in (78.95, 82.61, 26.19, 90.0, 58.82, 33.33, 100.0):
            want = fewest(percent)
            exact = 10_000 // math.gcd(10_000, round(100 * percent))
            mistakes: dict[str, int] = {
                "that takes the figure as exact. It was rounded to two decimals.": exact,
                "that is k, the pictures that were right. Want n, all of them.": round(percent * want / 100),
                "that is one less: does the count start at 1?": want - 1,
                "that is one more: does the count start at 1?": want + 1,
                "a larger number of pictures gives this figure too; want the smallest.": 2 * want,
            }
            got = call(percent)
            below = int(got) < want
            if below and got.numel() == 1 and not any(int(got) == wrong for wrong in mistakes.values()):
                raise Wrong(
                    f"fewest_pictures({percent}) is {int(got)}, but no k of {int(got)} pictures rounds to "
                    f"{percent}%."
                )
            expect(f"fewest_pictures({percent})", got, want, mistakes)

    return run(function, body, "the fewest pictures that a figure can stand for.", _made_up())


# --- notebook 05 -----------------------------------------------------------------------------


class _Embedded:
    """In place of a model for `clipnull.lab.Bench`: a case's rows, noisy so that some images are missed."""

    loaded_with = None

    def __init__(self, case: Case) -> None:
        noise = torch.randn(case.Z.shape, generator=torch.Generator().manual_seed(0))
        self.Z = F.normalize(case.Z + F.normalize(noise, dim=1), dim=1)
        self.names = {f"class {i}": row for i, row in enumerate(case.T)}

    def embed_text(self, names: Sequence[str], templates: Any = None) -> torch.Tensor:
        return torch.stack([self.names[name] for name in names])

    def embed_images(self, images: Any) -> torch.Tensor:
        return self.Z


def check_retain_change(function: Callable[..., Any]) -> Verdict:
    """Check ``retain_change(bench, name, method)`` -> number, in points (notebook 05)."""
    from clipnull.datasets import Images, LabelledImages
    from clipnull.lab import Bench

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        clip: Any = _Embedded(case)
        nothing: Any = Images(lambda _: None, range(len(case.Z)))  # type: ignore[arg-type, return-value]
        bench = Bench(clip, LabelledImages(nothing, case.labels, list(clip.names), ["{}"]))

        def change(name: str, method: str) -> float:
            r = bench.compute({"forget": [name], "method": method}, ["numbers"]).report
            return 100 * (r.retain_after - r.retain_before)

        for method in ("nullspace", "mean"):
            name = max(clip.names, key=lambda name: abs(change(name, method)))
            r = bench.compute({"forget": [name], "method": method}, ["numbers"]).report
            want = change(name, method)
            mistakes = {
                "that is a fraction; a point is a hundredth.": want / 100,
                "the sign: after less before.": -want,
                "the sign, and points are hundredths.": -want / 100,
                "that is the accuracy after; take the one before away.": 100 * r.retain_after,
                "that is the forget accuracy's change.": 100 * (r.forget_after - r.forget_before),
                "that is relative to the accuracy before; points are a difference.": 100 * (r.retained - 1),
                "the method is not passed on: that is the change with the default one.": change(name, "mean"),
            }
            said = f'retain_change(bench, "{name}", "{method}")'
            expect(said, call(bench, name, method).double(), want, mistakes, tolerance=1e-6)

    return run(function, body, "the retain accuracy after less before, in points, for several classes.")


# --- lesson 09: one style only -------------------------------------------------------------


def _two_styles(case: Case) -> torch.Tensor:
    """Cells [2, C, d] with class, style and interaction, around the names of a case."""
    g = torch.Generator().manual_seed(0)
    style = 0.4 * torch.randn(2, 1, case.T.shape[1], generator=g) / case.T.shape[1] ** 0.5
    own = 0.3 * torch.randn(2, *case.T.shape, generator=g) / case.T.shape[1] ** 0.5
    return case.T + style + own


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
