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
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

__all__ = [
    "Case",
    "Verdict",
    "Wrong",
    "cases",
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
    data = cn.datasets.load(size=clip.image_size, scenes=1)
    T = clip.embed_text(data.classes, templates=data.templates).float().cpu()
    Z = clip.embed_images(data.images).float().cpu()
    return Case("PocketCLIP's", T, Z, torch.as_tensor(data.labels), [0, 1, 2])


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
