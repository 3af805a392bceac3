"""Forget/retain evaluation. Arrays in, numbers out; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.edit import Edit
from clipnull.erasers import same_row
from clipnull.measures import winners
from clipnull.report import Report, Side, edited_scores

__all__ = ["Case", "candidate_masking", "evaluate"]

SIDES: tuple[Side, ...] = ("image", "text", "both")
NAMES_ALONE = "this case has names and no images, want image embeddings and labels for this"
MASKING = "candidate masking"  # what tables call it
#: scores that are changed at a time: 4 MiB in float32, a block that fits the cores' caches
CACHED = 2**20


class Case:
    """A question: these pictures, these names, and which names to forget. Every measurement takes one.

    ``Z`` [n, d] and ``labels`` [n] are of the images; both None: names alone. ``T`` [C, d] are the text
    embeddings of all the candidates, forgotten ones included, ``classes`` their names. ``forget``: indices or
    names; a ValueError for none, all, an unknown one, or one whose embedding is that of a kept name.
    ``listed``: the kept classes that an eraser is told of (T_r), all unless given. ``prompts`` [p, C, d]: the
    same names under other prompts or words; T_f then holds the forgotten ones under each. Half precision is
    scored in float32.

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
        self.Z = Z if Z is None else _check.rows("Z", Z).detach()
        if self.Z is not None:  # half precision is too coarse for scores
            self.Z = self.Z.to(torch.promote_types(self.Z.dtype, torch.float32))
        T = _check.rows("T", T, None if self.Z is None else self.Z.shape[1], nonzero=True).detach()
        self.T = T.float() if self.Z is None else T.to(self.Z)
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
        _ = None if self.Z is None else self.scores
        other, own = object.__new__(Case), {"retain", "gone", "predicted"}
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
    def images(self) -> torch.Tensor:
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

    def of(self, classes: Sequence[int]) -> torch.Tensor:
        return torch.isin(self.labels, torch.tensor(list(classes), device=self.labels.device))

    @cached_property
    def gone(self) -> torch.Tensor:
        """Which images [n] are of a forgotten class."""
        return self.of(self.forget)

    @cached_property
    def scores(self) -> torch.Tensor:
        """S = Z Tᵀ [n, C], computed once and kept; an edit then costs n C m instead of n C d."""
        return self.images @ self.T.T

    @cached_property
    def size(self) -> float:
        """The scores' size, to which ties are relative: the largest |score| of the unedited model."""
        return max(map(abs, map(float, torch.aminmax(self.scores))))

    @cached_property
    def predicted(self) -> torch.Tensor:
        """Classes [n] that the unedited model predicts."""
        return winners(self.scores, self.forget, self.size)

    def predict(self, X: torch.Tensor) -> torch.Tensor:
        """Classes [n] of image embeddings ``X [n, d]`` among this case's names."""
        scores = X @ self.T.T
        return winners(scores, self.forget, float(scores.abs().max()))

    def recall(self, predicted: torch.Tensor) -> float:
        """Share of the forgotten classes' images that ``predicted [n]`` recognises; NaN without any."""
        return _check.share((predicted == self.labels)[self.gone])

    def accuracy(self, predicted: torch.Tensor) -> float:
        """Share of the other images that ``predicted [n]`` recognises; NaN without any."""
        return _check.share((predicted == self.labels)[~self.gone])

    def require(self, retained: bool = False) -> Case:
        """This case; a ValueError if it has no image of a forgotten, or if asked of a retained, class."""
        if not bool(self.gone.any()):
            raise ValueError("labels: no image is of a forgotten class, want at least one")
        if retained and bool(self.gone.all()):
            raise ValueError("labels: no image of a retained class, want at least one")
        return self

    def evaluate(self, edit: Edit, side: Side = "image") -> Report:
        return evaluate(self, edit, side)


_check.TYPES["Case"] = _check.KINDS["case"] = _check.KINDS["test"] = _check.instance(Case)
_check.KINDS["side"] = lambda name, value: _check.one_of(name, value, SIDES)


@_check.by_name
def evaluate(case: Case, edit: Edit, side: Side = "image") -> Report:
    """Zero-shot predictions before and after an edit, on the classes to forget and on the others.

    On the image side Z -> Z W; on the text side T -> T Wᵀ, re-normalised. On the image side the kept
    `Case.scores` get a rank-m update, S - (Z L)(T R)ᵀ. A forgotten name wins where it leads by more than 1e-5
    of the largest |score| before the edit; within it the kept name does.

    Forget recall, and retain accuracy with the forgotten classes still candidates: arXiv 2407.07485.
    """
    S, T, Z, after = case.scores, case.T, case.images, []
    if side == "image":
        step = max(16, CACHED // len(T))
        buffer = S.new_empty(step, len(T))
        L, TR = edit.left.detach().to(T), T @ edit.right.detach().to(T)
        ZL = Z @ L.T.contiguous().T  # the rows of Lᵀ in a row each: twice as fast
        for zl, before, guess in zip(*(X.split(step) for X in (ZL, S, case.predicted)), strict=True):
            scores = torch.addmm(before, zl, TR.T, alpha=-1, out=buffer[: len(zl)])
            after.append(winners(scores, case.forget, case.size, guess))
    else:
        after.append(winners(edited_scores(edit, Z, T, side), case.forget, case.size))
    title = str(edit.info.get("method", "edit")) + ("" if side == "image" else f", {side} side")
    return Report(case, case.predicted, torch.cat(after), title, edit, side)


@_check.by_name
def candidate_masking(case: Case) -> Report:
    """The baseline that edits nothing: the forgotten names are struck off the list (of one caller).

    Forget recall is zero; retain accuracy is the best that an edit which only silences names could reach.
    """
    kept = torch.tensor(case.retain, device=case.T.device)
    return Report(case, case.predicted, kept[case.scores[:, kept].argmax(1)], MASKING)
