"""How an exercise is checked: cases, comparisons, a verdict in words."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.erasers import consistent

__all__ = ["Case", "Verdict", "Wrong", "cases", "expect", "expect_shape", "run"]

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


def _is_stub(function: Callable[..., Any]) -> bool:
    """Whether the source ends in the lesson's ``...`` and returns nothing."""
    try:
        lines = [line.strip() for line in inspect.getsource(function).splitlines()]
    except (OSError, TypeError):  # typed at a prompt, or no function
        return False
    return lines[-1] == "..." and not any(line.startswith("return ") for line in lines)


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


def _chances(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [n, C], neither all alike nor all certain, and labels [n], every third one wrong."""
    y = case.labels.clone()
    y[::3] = (y[::3] + 1) % len(case.T)
    return (12 * case.Z @ case.T.T).softmax(1).double(), y


def _ece(score: torch.Tensor, right: torch.Tensor, bins: int) -> torch.Tensor:
    which = (score * bins).ceil().long().clamp(1, bins)
    members = [which == b for b in which.unique()]
    return torch.stack([(m.double().mean() * (right[m] - score[m]).mean().abs()) for m in members]).sum()


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


def _lengths(n: int, seed: int) -> torch.Tensor:
    """Lengths [n, 1] from 0.3 to 3, to take unit rows apart."""
    g = torch.Generator().manual_seed(seed)
    return 10 ** (torch.rand(n, 1, generator=g) - 0.5)


def _accuracy(scores: torch.Tensor, labels: torch.Tensor) -> float:
    return float((scores.argmax(1) == labels).double().mean())


def _with_repeats(T: torch.Tensor) -> torch.Tensor:
    """Rows [m + 2, d]: the second is the first again, the last is the third, shorter. Rank as before."""
    return torch.cat([T[:1], T[:1], T[1:], 0.5 * T[-1:]])


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


def _small() -> list[Case]:
    """For functions that look at no embeddings: one case is enough, and no model is loaded."""
    return [_synthetic("small", 0.0, 12, 32, seed=0)]


def _made_up() -> list[Case]:
    """One case, whose arrays nobody looks at: numbers are made up in the body."""
    return [_synthetic("made-up", 0.0, 4, 8, seed=0)]


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


def _two_styles(case: Case) -> torch.Tensor:
    """Cells [2, C, d] with class, style and interaction, around the names of a case."""
    g = torch.Generator().manual_seed(0)
    style = 0.4 * torch.randn(2, 1, case.T.shape[1], generator=g) / case.T.shape[1] ** 0.5
    own = 0.3 * torch.randn(2, *case.T.shape, generator=g) / case.T.shape[1] ** 0.5
    return case.T + style + own
