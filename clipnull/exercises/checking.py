"""How an exercise is checked: inputs, comparisons, a verdict in words."""

import contextlib
import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from clipnull.evaluation import Case

Inputs = Case
Call = Callable[..., Any]
Body = Callable[[Inputs, Call], None]
Check = Callable[[Call], "Verdict"]
Shape = tuple[float, int, int, int]
#: of `synthetic`: what functions are tried on; where the numbers do not matter, one is enough
SHAPES: dict[str, Shape] = {"random": (0.0, 12, 32, 0), "CLIP-shaped": (1.25, 20, 48, 1)}
MADE_UP = SHAPES["random"]


class Verdict(NamedTuple):
    """What a check found and printed. Truthy when solved; ``passed`` is None when not attempted."""

    passed: bool | None
    message: str

    def __bool__(self) -> bool:
        return bool(self.passed)

    def _ipython_display_(self) -> None:
        pass  # the message was printed


class Wrong(Exception):
    """Raised in the body of a check; its text is what the learner reads."""


def unit(x: torch.Tensor) -> torch.Tensor:
    """A vector, or the rows of a matrix, at length 1."""
    return torch.nn.functional.normalize(x, dim=-1)


def randn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def synthetic(shared: float, n_classes: int, dim: int, seed: int) -> Inputs:
    """Unit rows around one direction; ``shared`` is its length before normalising (0: no cone)."""
    labels = torch.arange(n_classes).repeat_interleave(4)
    rows = unit(randn(2 + 5 * n_classes, dim, seed=seed))
    center, gap, own, noise = rows.split([1, 1, n_classes, len(labels)])
    Z = unit(shared * (center + 0.7 * gap) + own[labels] + 0.5 * noise)
    return Inputs(Z, unit(shared * center + own), labels, [0, 1, 2])


def tensor(out: Any) -> torch.Tensor:
    """What a function returned as a tensor, or `Wrong`."""
    try:
        return torch.as_tensor(out)
    except (TypeError, ValueError, RuntimeError) as why:
        raise Wrong(f"your function returns {type(out).__name__}, which is no array ({why}).") from why


def expect_shape(what: str, got: torch.Tensor, want: Sequence[int]) -> None:
    """Raise `Wrong` unless ``got`` has the shape ``want``; a transposed one is named as such."""
    if tuple(got.shape) != tuple(want):
        turned = got.ndim == 2 and tuple(got.shape) == tuple(want)[::-1]
        hint = " It looks transposed: samples are rows, a basis is in columns." if turned else ""
        raise Wrong(f"{what} has shape {list(got.shape)}, want {list(want)}.{hint}")


def _slips(got: torch.Tensor, want: torch.Tensor, start: torch.Tensor | None) -> dict[str, torch.Tensor]:
    slips = {
        "the sign is wrong.": -want,
        "it is in percent, want a fraction.": 100 * want,
        "that is 1 minus the right answer.": 1 - want,
        "it is upside down.": 1 / want,
    }
    if start is not None:
        slips["that is what you were given, unchanged."] = start
        slips["that is the part to take away: subtract it."] = start - want
        slips["the sign is wrong: the part to take away was added."] = 2 * start - want
    if got.shape == want.shape and want.numel() > 1:
        slips["its rows were scaled to unit length."] = unit(want)
        factor = float((got * want).sum() / want.square().sum())
        slips[f"that is {factor:.3g} times the right answer."] = factor * want
    return slips


def expect(what: str, got: Any, want: Any, mistakes: Any = (), start: Any = None, mean: bool = False) -> None:
    """Raise `Wrong` unless ``got`` equals ``want`` to float32; ``mistakes``: wrong answers by hint.

    ``start``: what a part is taken away from. ``mean``: the mean of ``want`` is wanted, mistakes are such.
    """
    tolerance = 1e-5 if mean else 1e-4  # one entry of a mask, more or less, changes its mean
    got, want, hints = tensor(got).double(), tensor(want).double(), dict(mistakes)
    if mean:
        hints = {hint: x.double().mean() for hint, x in hints.items()}
        hints, want = hints | {"that is the sum, want the mean.": want.sum()}, want.mean()

    def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance)

    if equal(got, want):
        return
    if not torch.isfinite(got).all():
        raise Wrong(f"{what} holds NaN or infinity: is there a division by zero, a 0 · ∞ or an ∞ − ∞?")
    # a wrong answer may have another shape: look for it before complaining about shapes
    known = {hint: tensor(x).double() for hint, x in (hints | _slips(got, want, start)).items()}
    found = next((f": {hint}" for hint, x in known.items() if equal(got, x) and not equal(x, want)), ".")
    if found == ".":
        expect_shape(what, got, want.shape)
    if got.shape != want.shape:
        raise Wrong(f"{what} has shape {list(got.shape)}{found}")
    if want.numel() == 1:
        raise Wrong(f"{what} is {float(got):.4g}, want {float(want):.4g}{found}")
    raise Wrong(f"{what} differs from the right answer by up to {float((got - want).abs().max()):.2g}{found}")


def expect_basis(U: Any, want: torch.Tensor, count: str, counts: Any = (), mistakes: Any = ()) -> None:
    """Raise `Wrong` unless U is a basis of the span of ``want``; ``counts``: hints at numbers of columns."""
    U, want = tensor(U).double(), want.double()
    if U.ndim != 2 or len(U) != len(want):
        expect_shape("U", U, want.shape)
    k, P = U.shape[1], U @ U.T
    bases = {hint: V[:, :k] @ V[:, :k].T for hint, V in dict(mistakes).items()}
    if k != want.shape[1] and torch.isfinite(U).all():
        same = (hint for hint, X in bases.items() if torch.allclose(P, X, atol=1e-4))
        raise Wrong(f"U has {k} columns, want {want.shape[1]}: {next(same, dict(counts).get(k, count))}")
    hint = "want unit length, and right angles: a short residual, divided, has large rounding."
    expect("UᵀU", U.T @ U, torch.eye(k), {hint: U.T @ U})
    expect("UUᵀ", P, want @ want.T, bases | {"U does not span the rows.": P})


class Square(TorchDispatchMode):
    """Within it, torch may make no matrix (or stack) of ``size`` rows and columns but from a given one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, square = func(*args, **(kwargs or {})), (self.size, self.size)
        if any(isinstance(given, torch.Tensor) and given.shape[-2:] == square for given in args):
            return out
        for made in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(made, torch.Tensor) and made.shape[-2:] == square:
                raise Wrong(f"forms a {self.size} × {self.size} matrix")
        return out


def _run(function: Call, square: int, *args: Any) -> Any:
    """What the learner's function returns of copies; it may form no ``square`` by ``square`` matrix."""
    copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
    try:
        with Square(square) if square else contextlib.nullcontext():
            out = function(*copies)
    except NotImplementedError:
        raise
    except Exception as problem:
        own = traceback.extract_tb(problem.__traceback__)[1:2]
        line = "".join(f" in the line `{frame.line}`" for frame in own if frame.line)
        if isinstance(problem, Wrong):
            raise Wrong(f"your function {problem}{line}; products of thin ones need none.") from problem
        sizes = ", ".join(str(list(a.shape)) for a in args if isinstance(a, torch.Tensor))
        if sizes and not isinstance(problem, NameError):
            line += f". Arrays are {sizes}: take sizes from the arguments, not from the lesson"
        raise Wrong(f"your function raised {type(problem).__name__}: {problem}{line}") from problem
    for before, after in zip(args, copies, strict=True):
        if isinstance(before, torch.Tensor) and not torch.equal(before, after):
            raise Wrong("your function changes its input in place; work on a copy.")
    if out is None:
        raise Wrong("your function returns None: is the return statement missing?")
    return out


def pair(out: Any, names: str) -> list[torch.Tensor]:
    """The two arrays that a function returned; ``names`` are theirs, as in "L, R"."""
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise Wrong(f"your function returns {type(out).__name__}, want two arrays: return {names}")
    return [tensor(x).double() for x in out]


def _is_stub(function: Call) -> bool:
    with contextlib.suppress(OSError, TypeError):  # typed at a prompt, or no function
        lines = [line.strip() for line in inspect.getsource(function).splitlines()]
        return lines[-1] == "..." and not any(line.startswith("return ") for line in lines)
    return False


def check(solved: str, *made: Shape, thin: bool = False) -> Callable[[Body], Check]:
    """Make a check of its body, on `SHAPES` or those given; ``thin``: no d by d matrix may be formed."""

    def decorate(body: Body) -> Check:
        def checked(function: Call) -> Verdict:
            found = Verdict(True, f"✓ Solved: {solved}")
            try:
                if _is_stub(function):
                    raise NotImplementedError
                for name, shape in [("made-up", x) for x in made] or SHAPES.items():  # noqa: B007
                    case = synthetic(*shape)
                    body(case, functools.partial(_run, function, case.T.shape[1] if thin else 0))
            except NotImplementedError:
                found = Verdict(None, "not attempted yet")
            except Wrong as wrong:
                found = Verdict(False, f"✗ Not yet, on {name} inputs: {wrong}")
            print(found.message)
            return found

        checked.__name__ = checked.__qualname__ = body.__name__
        checked.__doc__, checked.__module__ = body.__doc__, body.__module__
        return checked

    return decorate
