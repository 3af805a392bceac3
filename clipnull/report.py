"""What an edit did, in numbers: accuracy, n-way recall and search, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull.edit import Edit
from clipnull.measures import N_WAYS, TIE, n_way_recall, search_auc

if TYPE_CHECKING:
    from clipnull.evaluation import Case

__all__ = ["Change", "ClassAccuracy", "NWay", "Report", "Side"]

Side = Literal["image", "text", "both"]


class ClassAccuracy(NamedTuple):
    """Accuracy of one class (fractions), and the number of images behind it."""

    label: int
    name: str
    forgotten: bool
    images: int
    before: float
    after: float


class NWay(NamedTuple):
    """n-way recall of the forgotten classes' images: fractions; ``names`` are those of a list."""

    names: int
    chance: float
    before: float
    after: float


class Change(NamedTuple):
    """A measurement before forgetting and after (fractions)."""

    before: float
    after: float

    @property
    def kept(self) -> float:
        """After as a fraction of before; NaN where there was nothing before."""
        return self.after / self.before if self.before else float("nan")


def edited_scores(edit: Edit | None, Z: torch.Tensor, T: torch.Tensor, side: Side = "image") -> torch.Tensor:
    """Scores [n, C] of images [n, d] and names [C, d] after an edit, if any; image side: not normalised."""
    if edit is None:
        return Z @ T.T
    if side != "text":
        Z = edit.apply_image(Z).detach()
    return Z @ (T if side == "image" else F.normalize(edit.apply_text(T).detach(), dim=1)).T


@dataclass(frozen=True, eq=False, repr=False)
class Report(_show.Shown):
    """What an edit did to a case. Shows itself as a table in Jupyter and in a terminal.

    ``predicted_before``, ``predicted_after`` [n]. ``edit`` is None where the names were struck off instead.
    """

    case: Case
    predicted_before: torch.Tensor
    predicted_after: torch.Tensor
    title: str = ""
    edit: Edit | None = None
    side: Side = "image"

    @property
    def forget_before(self) -> float:
        """Recall on images of the forgotten classes (fraction; NaN without such images)."""
        return self.case.recall(self.predicted_before)

    @property
    def forget_after(self) -> float:
        return self.case.recall(self.predicted_after)

    @property
    def retain_before(self) -> float:
        """Accuracy on the other images, forgotten classes still among the candidates."""
        return self.case.accuracy(self.predicted_before)

    @property
    def retain_after(self) -> float:
        return self.case.accuracy(self.predicted_after)

    @property
    def retained(self) -> float:
        """Retain accuracy after as a fraction of before."""
        return self._kept(~self.case.gone)

    @property
    def retained_listed(self) -> float:
        """The same on images of the classes that T_r lists (`Case.listed`)."""
        return self._kept(self.case.of(self.case.listed))

    @property
    def retained_unlisted(self) -> float:
        """The same on images of kept classes that T_r does not list; NaN without any."""
        return self._kept(~self.case.of([*self.case.forget, *self.case.listed]))

    def _kept(self, mask: torch.Tensor) -> float:
        right = (p == self.case.labels for p in (self.predicted_before, self.predicted_after))
        return Change(*(_check.share(r[mask]) for r in right)).kept

    @property
    def per_class(self) -> list[ClassAccuracy]:
        y, names, forget = self.case.labels, self.case.classes, set(self.case.forget)
        right = (y[p == y] for p in (self.predicted_before, self.predicted_after))
        n, before, after = (torch.bincount(x, minlength=len(names)).tolist() for x in (y, *right))
        return [
            ClassAccuracy(c, names[c], c in forget, n[c], before[c] / n[c], after[c] / n[c])
            for c in range(len(names))
            if n[c]
        ]

    def destinations(self, k: int = 5) -> list[tuple[str, int]]:
        """Where the forgotten images went: the ``k`` classes most often predicted, with counts."""
        classes = self.case.classes
        counts = torch.bincount(self.predicted_after[self.case.gone], minlength=len(classes))
        order = torch.argsort(counts, descending=True, stable=True)[:k]
        return [(classes[i], int(counts[i])) for i in order.tolist() if counts[i]]

    def became(self, k: int = 3) -> str:
        """`destinations` in words, all images accounted for: the first ``k``, and how many others."""
        went = self.destinations(len(self.case.classes))
        named = went if len(went) == k + 1 else went[:k]
        rest = [count for _, count in went[len(named) :]]
        words = ", ".join(f"{name} ({count})" for name, count in named) or "nothing, for there are none"
        return words + (f" and {len(rest)} others ({sum(rest)})" if rest else "")

    def _rivals(self, edit: Edit | None) -> torch.Tensor:
        """How many kept names each forgotten image's own name does not beat [g]."""
        case = self.case
        rows = case.gone.nonzero()[:, 0]
        S = edited_scores(edit, case.images[rows], case.T, self.side)
        own = S.gather(1, case.labels[rows, None])
        return (S[:, case.retain] >= own - TIE * case.size).sum(1)

    @cached_property
    def n_way(self) -> dict[int | Literal["all"], NWay]:
        """n -> recall of the forgotten classes' images, own name against n - 1 kept names at random.

        Exact means over all draws. Of 2, 5, 10, 50 and "all", an n above the kept names + 1 is left out.
        Without the name among the candidates its recall is 0.
        """
        table: dict[int | Literal["all"], NWay] = {}
        if not bool(self.case.gone.any()):
            return table
        kept, before = len(self.case.retain), self._rivals(None)
        after = self._rivals(self.edit) if self.edit else before
        for n in N_WAYS:
            if (names := kept + 1 if n == "all" else n) <= kept + 1:
                was, is_now = (float(n_way_recall(rivals, kept, n).mean()) for rivals in (before, after))
                table[n] = NWay(names, 1 / names, was, is_now if self.edit else 0.0)
        return table

    @cached_property
    def search(self) -> Change:
        """AUC of the forgotten names as queries over all images, mean over those with images; chance 0.5."""
        before, size = self._search(None)
        return Change(before, float("nan") if self.edit is None else self._search(self.edit, size)[0])

    def _search(self, edit: Edit | None, size: float = 0.0) -> tuple[float, float]:
        """Mean AUC, and the cosines' size, ``size`` at least."""
        case, Z = self.case, self.case.images
        lengths = Z.norm(dim=1) if edit is None or self.side == "text" else edit.image_norms(Z)
        S = edited_scores(edit, Z, case.T, self.side)
        S = S / lengths[:, None].clamp_min(torch.finfo(S.dtype).tiny)
        size = max(size, float(S.abs().amax()))
        each = [search_auc(S[:, f], case.labels == f, size) for f in case.forget]
        return float(torch.tensor(each, dtype=torch.float64).nanmean()), size

    def table(self) -> _show.Table:
        gone = int(self.case.gone.sum())
        pairs = [
            (f"forget, {gone} images", self.forget_before, self.forget_after),
            (f"retain, {len(self.case.labels) - gone} images", self.retain_before, self.retain_after),
        ]
        if two := self.n_way.get(2):
            pairs += [("2-way recall, chance 50", *two[2:]), ("search AUC, chance 50", *self.search)]
        rows = [[name, *map(_show.tenths, ba), _show.change(*ba)] for name, *ba in pairs]
        notes = [f"forgotten images became: {self.became()}"]
        if len(self.case.retain) == 1:
            notes.append("with one kept name a mixture of kept names is that name: at best the two tie")
        caption = f"{self.title or 'edit'}: forget {self.case.forgotten}"
        return _show.Table(["%", "before", "after", "change"], rows, caption, notes)
