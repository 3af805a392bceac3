"""How an exercise is checked: inputs, comparisons, a verdict in words."""

import contextlib
import functools
import inspect
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from clipnull.evaluation import Case

__all__ = ["Inputs", "Verdict", "cases"]

#: largest error that passes, relative to the largest entry wanted; float32 work stays below it
TOLERANCE = 1e-4
#: what an error says of arrays whose sizes do not fit
SIZES = ("must match", "size mismatch", "cannot be multiplied", "incompatible", "not aligned", "broadcast")


@dataclass(frozen=True)
class Verdict:
    """What a check found and printed. Truthy when solved; ``passed`` is None when not attempted."""

    passed: bool | None
    message: str

    def __bool__(self) -> bool:
        return bool(self.passed)

    def _ipython_display_(self) -> None:
        """Show nothing more: the message was printed."""


class Wrong(Exception):
    """Raised in the body of a check; its text is what the learner reads."""


class Inputs(Case):
    """What a function is tried on: a `Case` of unit rows in memory, named as in "on random inputs"."""

    Z: torch.Tensor

    def __init__(self, name: str, Z: torch.Tensor, T: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__(Z, T, labels, [0, 1, 2])
        self.name = name


def synthetic(name: str, shared: float, n_classes: int, dim: int, seed: int) -> Inputs:
    """Unit rows around one direction; ``shared`` is its length before normalising (0: no cone)."""
    g = torch.Generator().manual_seed(seed)
    center = F.normalize(torch.randn(dim, generator=g), dim=0)
    gap = F.normalize(torch.randn(dim, generator=g), dim=0)
    own = F.normalize(torch.randn(n_classes, dim, generator=g), dim=1)
    labels = torch.arange(n_classes).repeat_interleave(4)
    noise = F.normalize(torch.randn(len(labels), dim, generator=g), dim=1)
    T = F.normalize(shared * center + own, dim=1)
    Z = F.normalize(shared * (center + 0.7 * gap) + own[labels] + 0.5 * noise, dim=1)
    return Inputs(name, Z, T, labels)


def made_up() -> list[Inputs]:
    """For functions of made-up numbers, which look at no embeddings: no model is loaded."""
    return [synthetic("made-up", 0.0, 12, 32, seed=0)]


def many_names(shared: float) -> Callable[[], list[Inputs]]:
    """Sixty: their counts and shares seldom coincide, so that a hint fits."""
    return lambda: [synthetic("made-up", shared, 60, 96, seed=0)]


@functools.lru_cache(maxsize=1)
def _real(*asked: str | None) -> list[Inputs]:
    """Embeddings of some everyday classes, a picture of each; none of a few. Kept while the same is asked."""
    from clipnull.datasets import registry
    from clipnull.model import loading

    clip = loading.load()
    data = registry.load(size=clip.image_size)
    # some 25 classes with one picture each are enough to tell a wrong answer, and quick to embed
    data = data.subset(range(0, len(data.classes), max(1, len(data.classes) // 25)))
    first = [int(data.where(c)[0]) for c in range(len(data.classes))]
    T = clip.embed_text(data.classes, templates=data.templates).float().cpu()
    Z = clip.embed_images(data.images[first]).float().cpu()
    # checks forget three names, and want others to keep
    return [Inputs("the model's", Z, T, torch.arange(len(T)))] if len(T) >= 8 else []


def cases() -> list[Inputs]:
    """The inputs that most checks use: random, CLIP-shaped, and the model's own, of 8 classes or more."""
    return [
        synthetic("random", 0.0, 12, 32, seed=0),
        synthetic("CLIP-shaped", 1.25, 20, 48, seed=1),
        *_real(*map(os.environ.get, ("CLIPNULL_MODEL", "CLIPNULL_DATA"))),
    ]


def expect_shape(what: str, got: torch.Tensor, want: Sequence[int]) -> None:
    """Raise `Wrong` unless ``got`` has the shape ``want``; a transposed one is named as such."""
    if tuple(got.shape) == tuple(want):
        return
    turned = got.ndim == 2 and tuple(got.shape) == tuple(want)[::-1]
    hint = " It looks transposed: samples are rows, a basis is in columns." if turned else ""
    raise Wrong(f"{what} has shape {list(got.shape)}, want {list(want)}.{hint}")


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest entry of ``|got - want|``; infinite when an entry is NaN."""
    if got.numel() == 0:
        return 0.0
    gap = float((got.double() - want.double()).abs().max())
    return gap if gap == gap else float("inf")


def expect(
    what: str, got: Any, want: Any, mistakes: Mapping[str, Any] | None = None, tolerance: float = TOLERANCE
) -> None:
    """Raise `Wrong` unless ``got`` equals ``want`` to ``tolerance`` times its largest entry (or 1).

    ``mistakes``: usual wrong answers by the hint that helps. The first one that equals ``got`` is the
    hint; one that equals ``want`` is no mistake on these inputs. Booleans count as 0 and 1.
    """
    got, want = (torch.as_tensor(x).double() for x in (got, want))
    room = tolerance * max(1.0, float(want.abs().max()) if want.numel() else 1.0)

    def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and error(a, b) <= room

    if equal(got, want):
        return
    # a wrong answer may have another shape: look for it before complaining about shapes
    for hint, mistake in (mistakes or {}).items():
        wrong = torch.as_tensor(mistake).double()
        if equal(got, wrong) and not equal(wrong, want):
            same = got.shape == want.shape
            size = f"differs by {error(got, want):.2g}" if same else f"has shape {list(got.shape)}"
            raise Wrong(f"{what} {size}: {hint}")
    expect_shape(what, got, want.shape)
    if not torch.isfinite(got).all():
        raise Wrong(f"{what} holds NaN or infinity: is there a division by zero?")
    if want.numel() == 1:
        raise Wrong(f"{what} is {float(got):.4g}, want {float(want):.4g}.")
    raise Wrong(f"{what} differs from the right answer by up to {error(got, want):.2g}.")


class Square(TorchDispatchMode):
    """Within it, no torch function may make a matrix of ``size`` rows and columns, or a stack of them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(made, torch.Tensor) and made.shape[-2:] == (self.size, self.size):
                raise Wrong(f"forms a {self.size} × {self.size} matrix")
        return out


class Call:
    """The learner's function, called on copies; what goes wrong in it is said clearly."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def raw(self, *args: Any, square: int = -1) -> Any:
        """What the function returns, whatever it is; it may form no ``square`` by ``square`` matrix."""
        copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
        try:
            with Square(square) if square > 0 else contextlib.nullcontext():
                out = self.function(*copies)
        except NotImplementedError:
            raise
        except Exception as problem:
            where = traceback.extract_tb(problem.__traceback__)
            own = [f for f in where[1:] if f.name == getattr(self.function, "__name__", "")] or where[-1:]
            line = f" in the line `{own[-1].line}`" if own[-1].line else ""
            what = problem if isinstance(problem, Wrong) else f"raised {type(problem).__name__}: {problem}"
            sizes = any(words in str(problem) for words in SIZES)
            hint = ". The check has sizes of its own: take them from the arguments, not from the lesson"
            raise Wrong(f"your function {what}{line}{hint if sizes else ''}") from problem
        for before, after in zip(args, copies, strict=True):
            if isinstance(before, torch.Tensor) and not torch.equal(before, after):
                raise Wrong("your function changes its input in place; work on a copy.")
        if out is Ellipsis:
            raise NotImplementedError
        if out is None:
            raise Wrong("your function returns None: is the return statement missing?")
        return out

    def __call__(self, *args: Any, square: int = -1) -> torch.Tensor:
        """What the function returns, as a tensor."""
        return self.tensor(self.raw(*args, square=square))

    def pair(self, want: str, *args: Any, square: int = -1) -> tuple[Any, Any]:
        """The two things that it returns; ``want`` names them, as in "two arrays: return L, R"."""
        out = self.raw(*args, square=square)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise Wrong(f"your function returns {type(out).__name__}, want {want}")
        return out[0], out[1]

    def thin(self, *args: Any, square: int, instead: str) -> None:
        """Raise `Wrong` if a function that was right forms a ``square`` by ``square`` matrix on the way."""
        try:
            self.raw(*args, square=square)
        except Wrong as wrong:
            raise Wrong(f"the numbers are right, but {wrong}. {instead}") from wrong

    @staticmethod
    def tensor(out: Any) -> torch.Tensor:
        """``out`` as a tensor."""
        try:
            return torch.as_tensor(out)
        except (TypeError, ValueError, RuntimeError) as problem:
            kind = type(out).__name__
            raise Wrong(f"your function returns {kind}, which is not an array ({problem}).") from problem


def _is_stub(function: Callable[..., Any]) -> bool:
    """Whether the source ends in the lesson's ``...`` and returns nothing."""
    try:
        lines = [line.strip() for line in inspect.getsource(function).splitlines()]
    except (OSError, TypeError):  # typed at a prompt, or no function
        return False
    return lines[-1] == "..." and not any(line.startswith("return ") for line in lines)


#: what says that an answer is wrong, by raising `Wrong`; and what a lesson calls
Body = Callable[[Inputs, Call], None]
Check = Callable[[Callable[..., Any]], Verdict]


def check(solved: str, inputs: Callable[[], Sequence[Inputs]] | None = None) -> Callable[[Body], Check]:
    """Make a check of its body: a function of the learner's function that prints and returns a `Verdict`.

    ``solved`` says what the learner has shown; ``inputs`` are others than `cases`.
    """

    def verdict(function: Callable[..., Any], body: Body) -> Verdict:
        if _is_stub(function):  # before any model is loaded
            return Verdict(None, "not attempted yet")
        for case in (inputs or cases)():
            try:
                body(case, Call(function))
            except NotImplementedError:
                return Verdict(None, "not attempted yet")
            except Wrong as wrong:
                return Verdict(False, f"✗ Not yet, on {case.name} inputs: {wrong}")
        return Verdict(True, f"✓ Solved: {solved}")

    def decorate(body: Body) -> Check:
        def checked(function: Callable[..., Any]) -> Verdict:
            found = verdict(function, body)
            print(found.message)
            return found

        checked.__name__ = checked.__qualname__ = body.__name__
        checked.__doc__, checked.__module__ = body.__doc__, body.__module__
        return checked

    return decorate
