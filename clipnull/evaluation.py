"""Forget/retain evaluation. Arrays in, numbers out; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.edit import Edit
from clipnull.erasers import same_row
from clipnull.measures import Winners
from clipnull.report import Report, Side

__all__ = ["Case", "candidate_masking", "evaluate"]

SIDES: tuple[Side, ...] = ("image", "text", "both")
NAMES_ALONE = "this case has names and no images, want image embeddings and labels for this"
#: what tables call `candidate_masking`
MASKING = "candidate masking"
#: rows of Z scored at a time, so that n x C is never stored
BLOCK = 2048
#: scores that a rank-m update changes at a time: 1 MiB in float32, a block that fits a core's cache
CACHED = 2**18
#: images z [b, d] and their scores [b, C], which it changes
InPlace = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Case:
    """A question: these pictures, these names, and which names to forget. Every measurement takes one.

    Parameters
    ----------
    Z : array [n, d] or None
        Image embeddings; None: names alone. A memory-mapped array (``np.load(path, mmap_mode="r")``) is read
        block by block and never held as a whole; half precision is scored in float32.
    T : array [C, d]
        Text embeddings of all the candidate classes, forgotten ones included.
    labels : array of int [n] or None
    forget : list of int or of str
        A ValueError for none, all, an unknown one, or one that equals a kept name.
    classes : list of str, optional
        Names of the rows of ``T``; their indices as text where there are none.
    listed : list of int or of str, optional
        The kept classes that an eraser is told of (T_r); by default all of them.
    prompts : array [p, C, d], optional
        The same names under other prompts or words: T_f then holds the forgotten ones under each.

    Examples
    --------
    >>> from clipnull import nullspace
    >>> T = torch.eye(3)
    >>> case = Case(T + 0.1, T, [0, 1, 2], ["cat"], classes=["cat", "dog", "owl"])
    >>> report = case.evaluate(nullspace(case.T_f))
    >>> report.forget_before, report.forget_after, report.retain_after
    (1.0, 0.0, 1.0)
    """

    def __init__(
        self,
        Z: ArrayLike | None,
        T: ArrayLike,
        labels: ArrayLike | None,
        forget: ClassesLike,
        classes: Sequence[str] | None = None,
        listed: ClassesLike | None = None,
        prompts: ArrayLike | None = None,
    ) -> None:
        if (Z is None) != (labels is None):
            raise ValueError("labels: want them where Z is given, and None where it is None")
        self.Z: torch.Tensor | np.memmap | None = None
        if isinstance(Z, np.memmap) and Z.ndim == 2 and Z.size and Z.dtype.kind == "f":
            self.Z = Z  # left on disk: its blocks are checked as they are read
        elif Z is not None:
            self.Z = _full(_check.rows("Z", Z).detach())
        T = _check.rows("T", T, None if self.Z is None else self.Z.shape[1], nonzero=True).detach()
        self.T = _full(T.to(self.Z) if isinstance(self.Z, torch.Tensor) else T.float())
        self._labels = None
        if labels is not None:
            self._labels = _check.labels("labels", labels, len(self.images), len(T)).to(self.T.device)
        self.classes = _check.names("classes", range(len(T)) if classes is None else classes, len(T))
        self._named = classes is not None
        self._listed: list[int] | None = None
        self.prompts: torch.Tensor | None = None
        if prompts is not None:
            P = _check.array("prompts", prompts)
            if P.ndim != 3 or P.shape[1:] != T.shape or not len(P):
                raise ValueError(f"prompts: got shape {tuple(P.shape)}, want [p, {len(T)}, {T.shape[1]}]")
            self.prompts = _check.rows("prompts", P.flatten(0, 1), nonzero=True).reshape(P.shape).to(self.T)
        self._forget(forget, listed)

    def _forget(self, forget: ClassesLike, listed: ClassesLike | None) -> None:
        names = self.classes if self._named else None
        self.forget = _check.forget_set(forget, len(self.T), names)
        if listed is not None:
            self._listed = _check.class_indices("listed", listed, len(self.T), names)
        if both := sorted({*(self._listed or [])} & {*self.forget}):
            raise ValueError(f"listed: {self.classes[both[0]]!r} is to be forgotten, want kept classes alone")
        if (twin := same_row(self.T[self.forget], self.T[self.retain])) is not None:
            own, other = self.classes[self.forget[twin[0]]], self.classes[self.retain[twin[1]]]
            why = f"has the embedding of {other!r}, which is kept, and no linear edit can part them"
            raise ValueError(f"forget: {own!r} {why}; want both forgotten, or other names or prompts")

    def __repr__(self) -> str:
        (C, d), n = self.T.shape, "no" if self.Z is None else len(self.Z)
        return f"Case({n} images, {C} classes, d={d}, forget={self.forget_names})"

    def forgetting(self, forget: ClassesLike, listed: ClassesLike | None = None) -> Case:
        """The same embeddings with another forget set, and other ``listed`` ones; `scores` are shared."""
        other = object.__new__(Case)
        own = {"retain", "gone", "predicted"}
        other.__dict__.update({k: v for k, v in self.__dict__.items() if k not in own})
        other._forget(forget, listed)
        return other

    @cached_property
    def retain(self) -> list[int]:
        return _check.others(self.forget, len(self.T))

    @property
    def listed(self) -> list[int]:
        """Indices of the kept classes that T_r holds."""
        return self.retain if self._listed is None else self._listed

    @property
    def T_f(self) -> torch.Tensor:
        """Text embeddings [m, d] to forget; with p prompts [(1 + p) m, d], prompt by prompt."""
        if self.prompts is None:
            return self.T[self.forget]
        return torch.cat([self.T[self.forget], *self.prompts[:, self.forget]])

    @property
    def T_r(self) -> torch.Tensor:
        return self.T[self.listed]

    @property
    def forget_names(self) -> list[str]:
        return [self.classes[i] for i in self.forget]

    @property
    def forgotten(self) -> str:
        """The forgotten names in a phrase: the first five, and how many more."""
        return _show.few(self.forget_names, 5)

    @property
    def images(self) -> torch.Tensor | np.memmap:
        """``Z``; a ValueError where there are no images."""
        if self.Z is None:
            raise ValueError(f"Z: {NAMES_ALONE}")
        return self.Z

    @property
    def labels(self) -> torch.Tensor:
        """True class [n] of each image; a ValueError where there are no images."""
        if self._labels is None:
            raise ValueError(f"labels: {NAMES_ALONE}")
        return self._labels

    @property
    def loaded(self) -> torch.Tensor:
        return self.rows(slice(None))

    def rows(self, index: torch.Tensor | slice) -> torch.Tensor:
        """Image embeddings [k, d] of some images, by index [k]."""
        Z = self.images
        if isinstance(Z, torch.Tensor):
            return Z[index]
        where = index if isinstance(index, slice) else index.cpu().numpy()
        return torch.from_numpy(np.array(Z[where])).to(self.T)  # copied: torch warns of a read-only file

    def blocks(self, X: torch.Tensor | np.memmap | None = None) -> Iterator[torch.Tensor]:
        """Image embeddings, or ``X [n, d]``, block by block; of a mapped file in one float32 buffer."""
        Z = self.images if X is None else X
        if isinstance(Z, torch.Tensor):
            yield from Z.split(BLOCK)
            return
        buffer = np.empty((min(BLOCK, len(Z)), Z.shape[1]), np.float32)
        for i in range(0, len(Z), BLOCK):
            block = buffer[: len(Z) - i]
            np.copyto(block, Z[i : i + BLOCK], casting="same_kind")
            yield _check.rows(f"Z[{i}:{i + BLOCK}]", block)

    def of(self, classes: Sequence[int]) -> torch.Tensor:
        return torch.isin(self.labels, torch.tensor(list(classes), device=self.labels.device))

    @cached_property
    def gone(self) -> torch.Tensor:
        """Which images [n] are of a forgotten class."""
        return self.of(self.forget)

    @cached_property
    def scores(self) -> torch.Tensor:
        """S = Z Tᵀ [n, C], computed once and kept; an edit then costs n C m instead of n C d."""
        return self.loaded @ self.T.T

    @cached_property
    def size(self) -> float:
        """The scores' size, to which ties are relative: the largest |score| of the unedited model."""
        kept = self.__dict__.get("scores")
        blocks = [kept] if kept is not None else (z @ self.T.T for z in self.blocks())
        return max(float(torch.stack(torch.aminmax(S)).abs().amax()) for S in blocks)

    @cached_property
    def predicted(self) -> torch.Tensor:
        """Classes [n] that the unedited model predicts."""
        return _predicted(self, None)[0]

    def predict(self, X: torch.Tensor | np.memmap, T: torch.Tensor | None = None) -> torch.Tensor:
        """Classes [n] of image embeddings ``X [n, d]`` among this case's names, or ``T [C, d]`` for them."""
        winners, start = Winners(len(X), self.forget, self.T), 0
        for x in self.blocks(X):
            winners.add(start, x @ (self.T if T is None else T).T)
            start += len(x)
        return winners.predicted(winners.size)

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
        return evaluate(self, edit, side)


_check.TYPES["Case"] = _check.KINDS["case"] = _check.KINDS["test"] = _check.instance(Case)
_check.KINDS["side"] = lambda name, value: _check.one_of(name, value, SIDES)


def _full(x: torch.Tensor) -> torch.Tensor:
    """``x`` in float32 at least: half precision is too coarse for scores."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def score_update(
    edit: Edit, T: torch.Tensor, side: Side = "image"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """L [d, m], B [C, m] and a scale [C] or None such that S' = (S - (Z L) Bᵀ) * scale."""
    # an edit made of names with gradients has them too
    L, R = edit.left.detach().to(T), edit.right.detach().to(T)
    if side == "image":
        return L, T @ R, None
    # normalised names divide by ||W t||; both sides: W W = I - L (2 I - Rᵀ L) Rᵀ has the same rank
    scale = 1 / edit.apply_text(T).detach().norm(dim=1).clamp_min(torch.finfo(T.dtype).tiny)
    return 2 * L - L @ (R.T @ L) if side == "both" else L, T @ R, scale


def _change(case: Case, edit: Edit, side: Side) -> InPlace:
    if side == "image" or "scores" in case.__dict__:
        L, B, scale = score_update(edit, case.T, side)
        if scale is None:
            return lambda z, scores: scores.addmm_(z @ L, B.T, alpha=-1)
        return lambda z, scores: scores.addmm_(z @ L, B.T, alpha=-1).mul_(scale)
    names = F.normalize(edit.apply_text(case.T).detach(), dim=1)
    if side == "text":
        return lambda z, scores: torch.mm(z, names.T, out=scores)
    L, B, _ = score_update(edit, names)
    return lambda z, scores: torch.mm(z, names.T, out=scores).addmm_(z @ L, B.T, alpha=-1)


def _predicted(case: Case, *changes: InPlace | None) -> list[torch.Tensor]:
    """Classes [n] after each of some changes of the scores, in turn; only the first may be none."""
    S, T, start = case.__dict__.get("scores"), case.T, 0
    found = [Winners(len(case.images), case.forget, T) for _ in changes]
    step = BLOCK if S is None else max(16, CACHED // len(T))
    # one buffer: allocated anew for each block, they fragment the heap until it holds nearly n x C
    buffer = T.new_empty(min(step, len(case.images)), len(T))
    for z in case.blocks() if S is None else case.loaded.split(step):
        block = buffer[: len(z)]
        scores = torch.mm(z, T.T, out=block) if S is None else block.copy_(S[start : start + len(z)])
        for winners, change in zip(found, changes, strict=True):
            if change is not None:
                change(z, scores)
            winners.add(start, scores)
        start += len(z)
    if changes[0] is None:
        case.size = found[0].size
    return [winners.predicted(case.size) for winners in found]


@_check.by_name
def evaluate(case: Case, edit: Edit, side: Side = "image") -> Report:
    """Zero-shot predictions before and after an edit, on the classes to forget and on the others.

    On the image side Z -> Z W; on the text side T -> T Wᵀ, re-normalised. Where `Case.scores` were asked for
    before, they are used (a rank-m update); otherwise the images are scored block by block and no [n, C]
    matrix exists. A forgotten name wins where it leads by more than 1e-5 of the largest |score| before the
    edit; within it the kept name does.

    Forget recall, and retain accuracy with the forgotten classes still candidates: arXiv 2407.07485.
    """
    change = _change(case, edit, side)
    if {"scores", "predicted"} & case.__dict__.keys():
        (after,) = _predicted(case, change)
    else:
        case.predicted, after = _predicted(case, None, change)
    title = str(edit.info.get("method", "edit")) + ("" if side == "image" else f", {side} side")
    return Report(case, case.predicted, after, title, edit, side)


@_check.by_name
def candidate_masking(case: Case) -> Report:
    """The baseline that edits nothing: the forgotten names are struck off the list (of one caller).

    Forget recall is zero; retain accuracy is the best that an edit which only silences names could reach.
    """
    kept = torch.tensor(case.retain, device=case.T.device)
    names = case.T[kept].T
    after = [kept[(z @ names).argmax(1)] for z in case.blocks()]
    return Report(case, case.predicted, torch.cat(after), MASKING)
