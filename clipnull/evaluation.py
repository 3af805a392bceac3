"""Forget/retain evaluation. Arrays in, numbers out; knows no model.

Accuracies are fractions in [0, 1] and become percent only when printed. BF is before
forgetting, AF after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.erasers import Edit

__all__ = [
    "Case",
    "ClassAccuracy",
    "Report",
    "Side",
    "argmax",
    "drop_label",
    "evaluate",
    "score_update",
    "zero_shot",
]

Side = Literal["image", "text", "both"]
SIDES: tuple[Side, ...] = ("image", "text", "both")
#: rows of Z scored at a time, so that n x C is never stored
BLOCK = 2048
#: scores nearer to each other than this are a tie where the best of them is as near to zero
TIE = 1e-5
#: scores that a rank-m update changes at a time: 1 MiB in float32, a block that fits a core's cache
CACHED = 2**18


class Case:
    """A question: these pictures, these names, and which names to forget. Every measurement takes one.

    Parameters
    ----------
    Z : array [n, d]
        Image embeddings. A memory-mapped array (``np.load(path, mmap_mode="r")``) is read block by
        block and never held as a whole.
    T : array [C, d]
        Text embeddings of all the candidate classes, forgotten ones included.
    labels : array of int [n]
    forget : list of int or of str
        Classes to forget; names need ``classes``.
    classes : list of str, optional
        Names of the rows of ``T``; their indices as text where there are none.

    Attributes
    ----------
    Z, T, labels
        Checked, as tensors; ``Z`` stays a memory-mapped array if it was one.
    forget, retain : list of int
        Class indices.
    classes : list of str

    Raises
    ------
    ValueError
        Dimensions that do not match, NaN or infinity, labels out of range, an unknown class, an
        empty or total forget set.

    Examples
    --------
    >>> import torch
    >>> from clipnull import nullspace
    >>> T = torch.eye(3)
    >>> case = Case(T + 0.1, T, [0, 1, 2], ["cat"], classes=["cat", "dog", "owl"])
    >>> report = case.evaluate(nullspace(case.T_f))
    >>> report.forget_before, report.forget_after, report.retain_after
    (1.0, 0.0, 1.0)
    """

    def __init__(
        self,
        Z: ArrayLike,
        T: ArrayLike,
        labels: ArrayLike,
        forget: ClassesLike,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.Z = _streamed(Z)
        T = _check.rows("T", T, self.Z.shape[1], nonzero=True).detach()
        self.T = T.to(self.Z) if isinstance(self.Z, torch.Tensor) else T.float()
        self.labels = _check.labels("labels", labels, len(self.Z), len(T)).to(self.T.device)
        if classes is not None and len(classes) != len(T):
            raise ValueError(f"classes: got {len(classes)} names, want {len(T)}, one per row of T")
        names = [str(i) for i in range(len(T))] if classes is None else _check.plain(classes)
        self.classes: list[str] = list(names)
        self.forget = _check.forget_set(forget, len(T), classes)

    def __repr__(self) -> str:
        n, d = self.Z.shape
        return f"Case({n} images, {len(self.T)} classes, d={d}, forget={[*self.forget_names]})"

    def forgetting(self, forget: ClassesLike) -> Case:
        """The same embeddings with another forget set; `scores` are shared."""
        other = object.__new__(Case)
        own = {"retain", "gone"}
        other.__dict__.update({k: v for k, v in self.__dict__.items() if k not in own})
        other.forget = _check.forget_set(forget, len(self.T), self.classes)
        return other

    @cached_property
    def retain(self) -> list[int]:
        """Indices of the classes to keep."""
        return _check.others(self.forget, len(self.T))

    @property
    def T_f(self) -> torch.Tensor:
        """Text embeddings [m, d] to forget."""
        return self.T[self.forget]

    @property
    def T_r(self) -> torch.Tensor:
        """Text embeddings [k, d] to retain."""
        return self.T[self.retain]

    @property
    def forget_names(self) -> list[str]:
        """Names of the forgotten classes."""
        return [self.classes[i] for i in self.forget]

    @property
    def forgotten(self) -> str:
        """The forgotten names in a phrase: the first five, and how many more."""
        more = f" and {len(self.forget) - 5} more" if len(self.forget) > 5 else ""
        return ", ".join(self.forget_names[:5]) + more

    @cached_property
    def gone(self) -> torch.Tensor:
        """Which images [n] are of a forgotten class."""
        return torch.isin(self.labels, torch.tensor(self.forget, device=self.labels.device))

    @cached_property
    def scores(self) -> torch.Tensor:
        """S = Z Tᵀ [n, C], computed once and kept; an edit then costs n C m instead of n C d."""
        return torch.as_tensor(self.Z).to(self.T) @ self.T.T

    @cached_property
    def predicted(self) -> torch.Tensor:
        """Classes [n] that the unedited model predicts."""
        if "scores" in self.__dict__:
            return argmax(self.scores)
        return torch.cat([argmax(z @ self.T.T) for z in _blocks(self.Z)])

    def recall(self, predicted: torch.Tensor) -> float:
        """Share of the forgotten classes' images that ``predicted [n]`` recognises; NaN without any."""
        return _check.share((predicted == self.labels)[self.gone])

    def accuracy(self, predicted: torch.Tensor) -> float:
        """Share of the other images that ``predicted [n]`` recognises; NaN without any."""
        return _check.share((predicted == self.labels)[~self.gone])

    def require(self, forgotten: bool = True, retained: bool = False) -> Case:
        """This case; a ValueError if it has no image of a forgotten, or retained, class as asked."""
        if forgotten and not bool(self.gone.any()):
            raise ValueError("labels: no image is of a forgotten class, want at least one")
        if retained and bool(self.gone.all()):
            raise ValueError("labels: no image of a retained class, want at least one")
        return self

    def evaluate(self, edit: Edit, side: Side = "image") -> Report:
        """What `evaluate` gives."""
        return evaluate(self, edit, side)


class ClassAccuracy(NamedTuple):
    """Accuracy of one class: fractions, and the number of images behind them."""

    index: int
    name: str
    forgotten: bool
    images: int
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Report:
    """What an edit did to zero-shot accuracy. Shows itself as a table in Jupyter and in a terminal.

    Attributes
    ----------
    case : Case
    predicted_before, predicted_after : torch.Tensor [n]
        Predicted class of each image.
    title : str
        What was done.
    """

    case: Case
    predicted_before: torch.Tensor
    predicted_after: torch.Tensor
    title: str = ""

    @property
    def forget_before(self) -> float:
        """Recall on images of the forgotten classes, before (fraction; NaN without such images)."""
        return self.case.recall(self.predicted_before)

    @property
    def forget_after(self) -> float:
        """Recall on images of the forgotten classes, after."""
        return self.case.recall(self.predicted_after)

    @property
    def retain_before(self) -> float:
        """Accuracy on the other images, forgotten classes still among the candidates, before."""
        return self.case.accuracy(self.predicted_before)

    @property
    def retain_after(self) -> float:
        """Accuracy on the other images, forgotten classes still among the candidates, after."""
        return self.case.accuracy(self.predicted_after)

    @property
    def retained(self) -> float:
        """Retain accuracy after as a fraction of before."""
        return self.retain_after / self.retain_before if self.retain_before else float("nan")

    @property
    def per_class(self) -> list[ClassAccuracy]:
        """Accuracy of every class that has images."""
        labels, classes, forget = self.case.labels, self.case.classes, set(self.case.forget)
        images = torch.bincount(labels, minlength=len(classes))
        before, after = (
            (torch.bincount(labels[p == labels], minlength=len(classes)) / images).tolist()
            for p in (self.predicted_before, self.predicted_after)
        )
        return [
            ClassAccuracy(c, name, c in forget, count, before[c], after[c])
            for c, (name, count) in enumerate(zip(classes, images.tolist(), strict=True))
            if count
        ]

    def destinations(self, k: int = 5) -> list[tuple[str, int]]:
        """Where the forgotten images went: the ``k`` classes most often predicted, with counts."""
        classes = self.case.classes
        counts = torch.bincount(self.predicted_after[self.case.gone], minlength=len(classes))
        order = torch.argsort(counts, descending=True, stable=True)[:k]
        return [(classes[i], int(counts[i])) for i in order.tolist() if counts[i]]

    def table(self) -> _show.Table:
        """Forget and retain accuracy in percent: before, after, change."""
        pairs = [
            ("forget", self.forget_before, self.forget_after),
            ("retain", self.retain_before, self.retain_after),
        ]
        rows = [[n, _show.tenths(b), _show.tenths(a), f"{100 * (a - b):+.1f}"] for n, b, a in pairs]
        went = ", ".join(f"{name} ({count})" for name, count in self.destinations(3))
        return _show.Table(
            ["accuracy, %", "before", "after", "change"],
            rows,
            caption=f"{self.title or 'edit'}: forget {self.case.forgotten}",
            notes=[f"forgotten images became: {went}"],
        )

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


# --- scores to predictions -----------------------------------------------------------------


def argmax(scores: torch.Tensor) -> torch.Tensor:
    """Index of the largest entry of each row of ``scores [n, C]``; of several near zero, the first.

    Names that are projected out score zero. Where they win, exact arithmetic would have a tie between
    them; rounding, which differs between processors, must not decide it.
    """
    if scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64):
        s = scores.numpy()
        best = s.argmax(1)  # several times faster than torch's
        top = s[np.arange(len(s)), best]
        if len(zero := np.flatnonzero(np.abs(top) <= TIE)):
            best[zero] = (s[zero] >= top[zero, None] - TIE).argmax(1)
        return torch.from_numpy(best)
    top, best = scores.max(1)
    tied = (top.abs() <= TIE)[:, None] & (scores >= top[:, None] - TIE)
    return torch.where(tied.any(1), tied.byte().argmax(1), best)


def zero_shot(Z: torch.Tensor, T: torch.Tensor) -> torch.Tensor:
    """Predicted classes [n] of image embeddings ``Z [n, d]`` among names ``T [C, d]``, block by block."""
    return torch.cat([argmax(z @ T.T) for z in Z.split(BLOCK)])


def _streamed(Z: ArrayLike) -> torch.Tensor | np.memmap:
    """``Z`` checked, except that a memory-mapped file is left on disk: its blocks are checked as read."""
    if isinstance(Z, np.memmap) and Z.ndim == 2 and Z.size and Z.dtype.kind == "f":
        return Z
    return _check.rows("Z", Z).detach()


def _blocks(Z: torch.Tensor | np.memmap) -> Iterator[torch.Tensor]:
    """Blocks of rows; those of a memory-mapped file as float32, read into one buffer."""
    if isinstance(Z, torch.Tensor):
        yield from Z.split(BLOCK)
        return
    buffer = np.empty((min(BLOCK, len(Z)), Z.shape[1]), np.float32)
    for i in range(0, len(Z), BLOCK):
        block = buffer[: len(Z) - i]
        np.copyto(block, Z[i : i + BLOCK], casting="same_kind")
        yield _check.rows(f"Z[{i}:{i + BLOCK}]", block)


def _predict(
    case: Case, score: Callable[[torch.Tensor, torch.Tensor], Iterable[torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions [n] before and after, from the two score matrices that ``score`` yields for a block.

    All blocks are scored in one buffer: allocated anew for each, they fragment the C library's heap
    until it holds nearly n x C.
    """
    Z, T = case.Z, case.T
    before, after = torch.empty(2, len(Z), dtype=torch.long, device=T.device)
    buffer, start = T.new_empty(min(BLOCK, len(Z)), len(T)), 0
    for z in _blocks(Z):
        for predicted, scores in zip((before, after), score(z, buffer[: len(z)]), strict=True):
            predicted[start : start + len(z)] = argmax(scores)
        start += len(z)
    return before, after


def score_update(
    edit: Edit, Z: torch.Tensor, T: torch.Tensor, side: Side = "image"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """A [n, m], B [C, m] and a scale [C] or None such that S' = (S - A Bᵀ) * scale.

    Image side and un-normalised text side share A = Z L, B = T R. Normalised names divide by
    ||W t||. Both sides: W W = I - L (2 I - Rᵀ L) Rᵀ has the same rank.
    """
    # an edit made of names with gradients has them too
    L, R = edit.left.detach().to(Z), edit.right.detach().to(Z)
    A, B = Z @ L, T @ R
    if side == "image":
        return A, B, None
    length = edit.apply_text(T).detach().norm(dim=1)
    scale = 1 / length.clamp_min(torch.finfo(T.dtype).tiny)
    if side == "both":
        A = 2 * A - A @ (R.T @ L)
    return A, B, scale


def _updated(case: Case, edit: Edit, side: Side) -> torch.Tensor:
    """Predicted classes [n] after the edit, from the scores that the case keeps."""
    A, B, scale = score_update(edit, torch.as_tensor(case.Z).to(case.T), case.T, side)
    predicted = torch.empty_like(case.labels)
    step = max(16, CACHED // len(case.T))
    buffer = case.scores.new_empty(min(step, len(case.scores)), len(case.T))
    for start in range(0, len(predicted), step):
        rows = slice(start, start + step)
        block = buffer[: len(A[rows])]
        torch.addmm(case.scores[rows], A[rows], B.T, alpha=-1, out=block)
        if scale is not None:
            block.mul_(scale)
        predicted[rows] = argmax(block)
    return predicted


# --- public --------------------------------------------------------------------------------


def evaluate(case: Case, edit: Edit, side: Side = "image") -> Report:
    """Zero-shot predictions before and after an edit, on the classes to forget and on the others.

    Parameters
    ----------
    case : Case
        Where its `Case.scores` were asked for before, they are used (a rank-m update); otherwise the
        images are scored block by block and no [n, C] matrix exists.
    edit : Edit
    side : {"image", "text", "both"}
        What is edited: Z -> Z W; T -> T Wᵀ re-normalised; or both.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        An edit of another dimension, an unknown side.

    Notes
    -----
    Of several scores that are zero up to rounding (1e-5) and above all others, the first class wins,
    as in exact arithmetic. Such are those of names that were projected out.

    References
    ----------
    Forget recall, and retain accuracy with the forgotten classes still candidates: Kravets and
    Namboodiri, arXiv 2407.07485.
    """
    _check.one_of("side", side, SIDES)
    T = case.T
    if edit.dim != T.shape[1]:
        raise ValueError(f"edit: acts on {edit.dim} dimensions, want {T.shape[1]} like Z")
    title = str(edit.info.get("method", "edit")) + ("" if side == "image" else f", {side} side")
    if "scores" in case.__dict__:
        after = _updated(case, edit, side)
        return Report(case, case.predicted, after, title)
    # an edit made of names with gradients has them too
    names = F.normalize(edit.apply_text(T).detach(), dim=1) if side != "image" else T
    # Z W T'ᵀ = Z T'ᵀ - (Z L)(T' R)ᵀ: the rank-m update of the scores
    L, TR = edit.left.detach().to(T), (names @ edit.right.detach().to(T)).T

    def score(z: torch.Tensor, scores: torch.Tensor) -> Iterator[torch.Tensor]:
        yield torch.mm(z, T.T, out=scores)
        if side != "image":
            torch.mm(z, names.T, out=scores)
        yield scores if side == "text" else scores.addmm_(z @ L, TR, alpha=-1)

    return Report(case, *_predict(case, score), title)


def drop_label(case: Case) -> Report:
    """The baseline that edits nothing: strike the forgotten names off the list of candidates.

    Forget recall is zero by construction; retain accuracy is the best that any edit which only
    silences these names could reach. It binds one caller's list, not the model.
    """

    def score(z: torch.Tensor, scores: torch.Tensor) -> Iterator[torch.Tensor]:
        yield torch.mm(z, case.T.T, out=scores)
        scores[:, case.forget] = -torch.inf
        yield scores

    return Report(case, *_predict(case, score), "drop the label")
