"""Forget/retain evaluation. Arrays in, numbers out; knows no model."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.erasers import Edit

__all__ = ["Evaluator", "Report", "drop_label", "evaluate"]

#: rows of Z scored at a time, so that n x C is never stored
BLOCK = 2048


#: scores nearer to each other than this are a tie where the best of them is as near to zero
TIE = 1e-5


#: scores an `Evaluator` updates at a time: 1 MiB in float32, a block that fits a core's cache
CACHED = 2**18


@dataclass(frozen=True)
class Report:
    """What an edit did to zero-shot accuracy. Shows itself as a table in Jupyter and in a terminal.

    Attributes
    ----------
    classes : list of str
        Class names (their indices as text when none were given).
    forget : list of int
        Indices of the forgotten classes.
    labels, predicted_before, predicted_after : torch.Tensor [n]
        True and predicted class of each image.
    title : str
        What was done.
    """

    classes: list[str]
    forget: list[int]
    labels: torch.Tensor
    predicted_before: torch.Tensor
    predicted_after: torch.Tensor
    title: str = ""

    @property
    def is_forget(self) -> torch.Tensor:
        """Which images [n] belong to a forgotten class."""
        return torch.isin(self.labels, torch.tensor(self.forget, device=self.labels.device))

    def _accuracy(self, predicted: torch.Tensor, mask: torch.Tensor) -> float:
        return float((predicted == self.labels)[mask].double().mean()) if bool(mask.any()) else float("nan")

    @property
    def forget_before(self) -> float:
        """Recall on images of the forgotten classes, before (fraction; NaN without such images)."""
        return self._accuracy(self.predicted_before, self.is_forget)

    @property
    def forget_after(self) -> float:
        """Recall on images of the forgotten classes, after."""
        return self._accuracy(self.predicted_after, self.is_forget)

    @property
    def retain_before(self) -> float:
        """Accuracy on the other images, forgotten classes still among the candidates, before."""
        return self._accuracy(self.predicted_before, ~self.is_forget)

    @property
    def retain_after(self) -> float:
        """Accuracy on the other images, forgotten classes still among the candidates, after."""
        return self._accuracy(self.predicted_after, ~self.is_forget)

    @property
    def retained(self) -> float:
        """Retain accuracy after as a fraction of before."""
        return self.retain_after / self.retain_before if self.retain_before else float("nan")

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """One row a class that has images: index, name, forgotten, images, before, after (fractions)."""
        C, forget = len(self.classes), set(self.forget)
        images = torch.bincount(self.labels, minlength=C)
        before, after = (
            (torch.bincount(self.labels[p == self.labels], minlength=C) / images).tolist()
            for p in (self.predicted_before, self.predicted_after)
        )
        return [
            dict(index=c, name=name, forgotten=c in forget, images=count, before=before[c], after=after[c])
            for c, (name, count) in enumerate(zip(self.classes, images.tolist(), strict=True))
            if count
        ]

    def destinations(self, k: int = 5) -> list[tuple[str, int]]:
        """Where the forgotten images went: the ``k`` classes most often predicted, with counts."""
        counts = torch.bincount(self.predicted_after[self.is_forget], minlength=len(self.classes))
        order = torch.argsort(counts, descending=True, stable=True)[:k]
        return [(self.classes[i], int(counts[i])) for i in order.tolist() if counts[i]]

    @property
    def forget_names(self) -> list[str]:
        """Names of the forgotten classes."""
        return [self.classes[i] for i in self.forget]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Table rows: label, before, after, change, in percent."""
        pairs = [
            ("forget", self.forget_before, self.forget_after),
            ("retain", self.retain_before, self.retain_after),
        ]
        return [(n, f"{100 * b:.1f}", f"{100 * a:.1f}", f"{100 * (a - b):+.1f}") for n, b, a in pairs]

    def _heading(self) -> str:
        names = ", ".join(self.forget_names[:5]) + (
            f" and {n} more" if (n := len(self.forget) - 5) > 0 else ""
        )
        return f"{self.title or 'edit'}: forget {names}"

    def _went(self) -> str:
        return ", ".join(f"{name} ({count})" for name, count in self.destinations(3))

    def __str__(self) -> str:
        head = ("accuracy, %", "before", "after", "change")
        lines = [f"{a:<12}{b:>8}{c:>8}{d:>8}" for a, b, c, d in [head, *self.rows()]]
        return "\n".join([self._heading(), *lines, f"forgotten images became: {self._went()}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th style='text-align:left'>{a}</th>"
            + "".join(f"<td style='text-align:right'>{x}</td>" for x in (b, c, d))
            + "</tr>"
            for a, b, c, d in self.rows()
        )
        return (
            f"<table><caption style='text-align:left'>{html.escape(self._heading())}</caption>"
            "<thead><tr><th>accuracy, %</th><th>before</th><th>after</th><th>change</th></tr></thead>"
            f"<tbody>{body}</tbody></table><p>Forgotten images became: {html.escape(self._went())}.</p>"
        )


def _inputs(
    Z: ArrayLike, T: ArrayLike, labels: ArrayLike, forget: Any, classes: Sequence[str] | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int], list[str]]:
    Z = _check.rows("Z", Z).detach()
    return Z, *_candidates(Z, T, labels, forget, classes)


def _candidates(
    Z: torch.Tensor | np.memmap, T: ArrayLike, labels: ArrayLike, forget: Any, classes: Sequence[str] | None
) -> tuple[torch.Tensor, torch.Tensor, list[int], list[str]]:
    T = _check.rows("T", T, Z.shape[1], nonzero=True).detach()
    T = T.to(Z) if isinstance(Z, torch.Tensor) else T.float()
    labels = _check.labels("labels", labels, len(Z), len(T)).to(T.device)
    if classes is not None and len(classes) != len(T):
        raise ValueError(f"classes: got {len(classes)} names, want {len(T)}, one a row of T")
    index = _check.forget_set(forget, len(T), classes)
    names = [str(i) for i in range(len(T))] if classes is None else list(_check.plain(classes))
    return T, labels, index, names


def _streamed(Z: ArrayLike) -> torch.Tensor | np.memmap:
    """``Z`` checked, except that a memory-mapped file is left on disk: its blocks are checked as read."""
    if isinstance(Z, np.memmap) and Z.ndim == 2 and Z.size and Z.dtype.kind == "f":
        return Z
    return _check.rows("Z", Z).detach()


def _blocks(Z: torch.Tensor | np.memmap) -> Iterator[torch.Tensor]:
    """Blocks of rows; one block of a memory-mapped file is copied at a time."""
    if isinstance(Z, torch.Tensor):
        yield from Z.split(BLOCK)
        return
    buffer = np.empty((min(BLOCK, len(Z)), Z.shape[1]), np.float32)
    for i in range(0, len(Z), BLOCK):
        block = buffer[: len(Z) - i]
        np.copyto(block, Z[i : i + BLOCK], casting="same_kind")
        yield _check.rows(f"Z[{i}:{i + BLOCK}]", block)


def _argmax(scores: torch.Tensor) -> torch.Tensor:
    """Index of the largest entry of each row; of several that are zero up to rounding, the first.

    Names that are projected out score zero. Where they win, exact arithmetic would have a tie between
    them; rounding, which differs between processors, shall not decide it.
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


def _predict(
    score: Callable[[torch.Tensor, torch.Tensor], Iterable[torch.Tensor]],
    Z: torch.Tensor | np.memmap,
    T: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions [n] before and after, from the two score matrices that ``score`` yields for a block.

    All blocks are scored in one buffer: allocated anew for each, they fragment the C library's heap
    until it holds nearly n x C.
    """
    before, after = torch.empty(2, len(Z), dtype=torch.long, device=T.device)
    buffer, start = T.new_empty(min(BLOCK, len(Z)), len(T)), 0
    for z in _blocks(Z):
        for predicted, scores in zip((before, after), score(z, buffer[: len(z)]), strict=True):
            predicted[start : start + len(z)] = _argmax(scores)
        start += len(z)
    return before, after


def evaluate(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Edit,
    side: str = "image",
    classes: Sequence[str] | None = None,
) -> Report:
    """Zero-shot predictions before and after an edit, on the classes to forget and on the others.

    Parameters
    ----------
    Z : array [n, d]
        Image embeddings. A memory-mapped array (``np.load(path, mmap_mode="r")``) is read block by
        block and never held as a whole.
    T : array [C, d]
        Text embeddings of all the candidate classes, forgotten ones included.
    labels : array of int [n]
    forget : list of int or of str
        Classes forgotten; names need ``classes``.
    edit : Edit
    side : {"image", "text", "both"}
        What is edited: Z -> Z W; T -> T W^T re-normalised; or both.
    classes : list of str, optional
        Names of the rows of ``T``.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        Dimensions that do not match, NaN or infinity, labels out of range, an unknown class,
        an empty or total forget set, an unknown side.

    Notes
    -----
    Of several scores that are zero up to rounding (1e-5) and above all others, the first class wins,
    as in exact arithmetic. Such are those of names that were projected out.

    References
    ----------
    Forget recall, and retain accuracy with the forgotten classes still candidates: Kravets and
    Namboodiri, arXiv 2407.07485.

    Examples
    --------
    >>> import torch
    >>> from clipnull import evaluate, nullspace
    >>> T = torch.eye(3)
    >>> Z = T + 0.1
    >>> report = evaluate(Z, T, [0, 1, 2], ["cat"], nullspace(T[:1]), classes=["cat", "dog", "owl"])
    >>> report.forget_before, report.forget_after, report.retain_after
    (1.0, 0.0, 1.0)
    """
    _check.one_of("side", side, ["image", "text", "both"])
    Z = _streamed(Z)
    T, labels, index, names = _candidates(Z, T, labels, forget, classes)
    if edit.dim != T.shape[1]:
        raise ValueError(f"edit: acts on {edit.dim} dimensions, want {T.shape[1]} like Z")
    # an edit made of names with gradients has them too
    after = F.normalize(edit.apply_text(T).detach(), dim=1) if side != "image" else T
    # Z W T'^T = Z T'^T - (Z L)(T' R)^T: the rank-m update of the scores
    L, TR = edit.left.detach().to(T), (after @ edit.right.detach().to(T)).T

    def score(z: torch.Tensor, scores: torch.Tensor) -> Iterator[torch.Tensor]:
        yield torch.mm(z, T.T, out=scores)
        if side != "image":
            torch.mm(z, after.T, out=scores)
        yield scores if side == "text" else scores.addmm_(z @ L, TR, alpha=-1)

    return Report(names, index, labels, *_predict(score, Z, T), _title(edit, side))


class Evaluator:
    """`evaluate` for many edits of the same embeddings: scores once, then rank-m updates.

    S = Z T^T is computed and kept; each edit then costs n C m instead of n C d, in blocks that
    stay in the processor's cache, so that no second [n, C] matrix exists.

    Parameters
    ----------
    Z, T, labels, classes
        As in `evaluate`.

    Attributes
    ----------
    scores : torch.Tensor [n, C]
    predicted_before : torch.Tensor [n]
    """

    def __init__(
        self, Z: ArrayLike, T: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None
    ) -> None:
        self.Z, self.T, self.labels, _, self.classes = _inputs(Z, T, labels, [0], classes)
        self.scores = self.Z @ self.T.T
        self.predicted_before = _argmax(self.scores)
        rows = max(16, CACHED // len(self.T))
        self._blocks = [slice(i, i + rows) for i in range(0, len(self.Z), rows)]
        self._buffer = self.scores.new_empty(min(rows, len(self.Z)), len(self.T))

    def factors(
        self, edit: Edit, side: str = "image"
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """A [n, m], B [C, m] and a scale [C] or None such that S' = (S - A B^T) * scale.

        Image side and un-normalised text side share A = Z L, B = T R. Normalised names divide by
        ||W t||. Both sides: W W = I - L (2 I - R^T L) R^T has the same rank.
        """
        # an edit made of names with gradients has them too
        L, R = edit.left.detach().to(self.Z), edit.right.detach().to(self.Z)
        A, B = self.Z @ L, self.T @ R
        if side == "image":
            return A, B, None
        length = edit.apply_text(self.T).detach().norm(dim=1)
        scale = 1 / length.clamp_min(torch.finfo(self.T.dtype).tiny)
        if side == "both":
            A = 2 * A - A @ (R.T @ L)
        return A, B, scale

    def predict(self, edit: Edit, side: str = "image") -> torch.Tensor:
        """Predicted classes [n] after the edit."""
        _check.one_of("side", side, ["image", "text", "both"])
        if edit.dim != self.Z.shape[1]:
            raise ValueError(f"edit: acts on {edit.dim} dimensions, want {self.Z.shape[1]} like Z")
        A, B, scale = self.factors(edit, side)
        predicted = torch.empty_like(self.labels)
        for rows in self._blocks:
            block = self._buffer[: len(A[rows])]
            torch.addmm(self.scores[rows], A[rows], B.T, alpha=-1, out=block)
            if scale is not None:
                block.mul_(scale)
            predicted[rows] = _argmax(block)
        return predicted

    def report(self, forget: Any, edit: Edit, side: str = "image") -> Report:
        """The `Report` that `evaluate` gives for the same arguments."""
        index = _check.forget_set(forget, len(self.T), self.classes)
        after = self.predict(edit, side)
        return Report(self.classes, index, self.labels, self.predicted_before, after, _title(edit, side))


def _title(edit: Edit, side: str) -> str:
    return str(edit.info.get("method", "edit")) + ("" if side == "image" else f", {side} side")


def drop_label(
    Z: ArrayLike, T: ArrayLike, labels: ArrayLike, forget: Any, classes: Sequence[str] | None = None
) -> Report:
    """The baseline that edits nothing: strike the forgotten names off the list of candidates.

    Forget recall is zero by construction; retain accuracy is the best that any edit which only
    silences these names could reach. It binds one caller's list, not the model.

    Parameters and errors as in `evaluate`.
    """
    Z = _streamed(Z)
    T, labels, index, names = _candidates(Z, T, labels, forget, classes)

    def score(z: torch.Tensor, scores: torch.Tensor) -> Iterator[torch.Tensor]:
        yield torch.mm(z, T.T, out=scores)
        scores[:, index] = -torch.inf
        yield scores

    return Report(names, index, labels, *_predict(score, Z, T), "drop the label")
