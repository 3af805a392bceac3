"""What survives an edit. Arrays in, numbers out; `audit` brings a model and its data to them.

Every measurement is made before the edit, after it, and on a control, and says in a sentence what
its numbers mean. Shares are fractions in [0, 1] and become percent only when printed.

An edit is an `Edit`, applied to image embeddings (Z -> Z W), or any function from embeddings
[n, d] to embeddings [n, d], such as what `leace` gives. Edited rows are scaled to unit length, as
CLIP itself does, unless said otherwise.
"""

from __future__ import annotations

import contextlib
import html
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.erasers import Edit, consistent, nullspace, random_subspace
from clipnull.evaluate import drop_label, evaluate
from clipnull.subspace import orthonormal_basis

if TYPE_CHECKING:
    from clipnull.datasets import LabelledImages
    from clipnull.models import Clip

__all__ = [
    "AuditReport",
    "Measurement",
    "audit",
    "calibration_error",
    "collateral",
    "confidence",
    "conformal_sets",
    "controls",
    "edited",
    "entropy",
    "knn",
    "leace",
    "linear_probe",
    "measure",
    "other_words",
    "probabilities",
    "prototypes",
    "readers",
    "rebuild",
    "retrieval",
    "span_names",
    "span_prototypes",
    "word_forms",
]

#: a fitted edit of image embeddings
Eraser = Edit | Callable[[torch.Tensor], torch.Tensor]
#: names to forget, names to retain -> edit
Builder = Callable[[torch.Tensor, torch.Tensor], Edit]


# --- what a measurement says ---------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    """One line of an audit.

    Attributes
    ----------
    name : str
        What is measured.
    before, after, control : float
        Fractions when ``unit`` is "%"; NaN where a measurement has no such value.
    against : str
        What the control is.
    means : str
        What the numbers mean, a sentence computed from them.
    source : str
        Where the question comes from: arXiv number, or "ours".
    unit : {"%", "bits", ""}
    spread : float
        Standard deviation of the control over seeds; NaN when it has none.
    details : dict
        The arrays behind the numbers, for figures.
    """

    name: str
    before: float
    after: float
    control: float
    against: str
    means: str
    source: str = "ours"
    unit: str = "%"
    spread: float = math.nan
    details: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def cells(self) -> list[str]:
        """Name, before, after, control as printed."""
        control = self._show(self.control)
        if not math.isnan(self.spread):
            control += f" ± {self._show(self.spread)}"
        return [self.name + (f", {self.unit}" if self.unit else ""), self._show(self.before),
                self._show(self.after), control]  # fmt: skip

    def _show(self, value: float) -> str:
        if math.isnan(value):
            return "–"
        return f"{100 * value:.1f}" if self.unit == "%" else f"{value:.2f}"


@dataclass(frozen=True)
class AuditReport:
    """All the measurements of one edit; shows itself as a table in Jupyter and in a terminal.

    Attributes
    ----------
    rows : list of Measurement
    skipped : dict of str to str
        Measurement -> why it was not made.
    title : str
    """

    rows: list[Measurement]
    skipped: dict[str, str] = field(default_factory=dict)
    title: str = "audit"

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name."""
        return self.rows[[r.name for r in self.rows].index(_check.one_of("name", name, self.names))]

    @property
    def names(self) -> list[str]:
        """What was measured."""
        return [r.name for r in self.rows]

    def __str__(self) -> str:
        head = ["measurement", "before", "after", "control"]
        cells = [head, *(r.cells() for r in self.rows)]
        wide = [max(len(row[i]) for row in cells) for i in range(4)]

        def line(row: list[str]) -> str:
            return row[0].ljust(wide[0]) + "".join(
                f"  {c.rjust(w)}" for c, w in zip(row[1:], wide[1:], strict=True)
            )

        lines = [self.title, "", line(head) + "  against"]
        for row, r in zip(cells[1:], self.rows, strict=True):
            lines.append(f"{line(row)}  {r.against}")
            lines.append(
                textwrap.fill(f"{r.means} [{r.source}]", 100, initial_indent="    ", subsequent_indent="    ")
            )
        lines += [f"not measured: {name} ({why})" for name, why in self.skipped.items()]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            align = ["left", "right", "right", "right", "left", "left", "left"]
            return "<tr>" + "".join(
                f"<{tag} style='text-align:{a}'>{html.escape(c)}</{tag}>" for a, c in zip(align, cells, strict=True)
            ) + "</tr>"  # fmt: skip

        head = row("th", ["measurement", "before", "after", "control", "against", "what it means", "source"])
        body = "".join(row("td", [*r.cells(), r.against, r.means, r.source]) for r in self.rows)
        left = "".join(
            f"<p>Not measured: {html.escape(n)} ({html.escape(w)}).</p>" for n, w in self.skipped.items()
        )
        caption = f"<caption style='text-align:left'>{html.escape(self.title)}</caption>"
        return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>{left}"


# --- what every measurement needs ----------------------------------------------------------


def edited(Z: ArrayLike, edit: Eraser, normalize: bool = True) -> torch.Tensor:
    """Image embeddings [n, d] after an edit, unit rows unless ``normalize`` is False."""
    raise NotImplementedError


def rebuild(edit: Edit, T_f: ArrayLike, T_r: ArrayLike) -> Edit:
    """The same kind of edit, by its ``info``, for other names.

    Raises
    ------
    ValueError
        An edit that does not say how it was made, or was anchored at given embeddings.
    """
    raise NotImplementedError


# --- 1 controls ----------------------------------------------------------------------------


def controls(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    builder: Builder | None = None,
    seeds: int = 10,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[Measurement]:
    """Zero-shot accuracy against random subspaces, other classes' names, and a struck label.

    Parameters
    ----------
    Z, T, labels, forget, classes
        As in `clipnull.evaluate`.
    edit : Edit or callable
    builder : callable, optional
        Makes the edit from ``(T_f, T_r)``, for the shuffled names; by default `rebuild`.
    seeds : int
        Random subspaces, and draws of other names.

    Returns
    -------
    list of Measurement
        "forgotten, zero-shot" (control: random subspaces of the same rank), "forgotten, other
        names" (control: the edit built from as many names of other classes), "retained,
        zero-shot" (control: dropping the label). ``details``: the control's values over seeds.
    """
    raise NotImplementedError


# --- 2 collateral --------------------------------------------------------------------------


def collateral(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    categories: Sequence[str] | None = None,
    nearest: int = 5,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[Measurement]:
    """Who pays: retained classes near the forget subspace, of its category, far, and at its boundary.

    Parameters
    ----------
    categories : list of str [C], optional
        Coarser classes; without them the same-category line is left out.
    nearest : int
        Classes counted as near; as many of the farthest are far.

    Returns
    -------
    list of Measurement
        "nearest names", "same category", "far names", "next to the boundary": accuracy, control a
        random subspace of the same rank. ``details`` of the first: similarity [R], change [R],
        index [R], spearman.
    """
    raise NotImplementedError


# --- 3 other words -------------------------------------------------------------------------


def word_forms(name: str, keywords: Sequence[str] = (), category: str = "") -> dict[str, list[str]]:
    """Other ways to say a name: kind -> texts.

    Kinds: keyword, plural, article, misspelling, category, description.
    """
    raise NotImplementedError


def other_words(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    words: ArrayLike,
    owner: ArrayLike,
    kinds: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Does another name bring the class back?

    Parameters
    ----------
    words : array [k, d]
        Embeddings of the other words.
    owner : array of int [k]
        The forgotten class that each of them stands for.
    kinds, texts : list of str [k], optional

    Returns
    -------
    list of Measurement
        One line a kind: recall of the owner's images when the word takes the place of its name
        among the candidates, mean over words. Control: a random subspace of the same rank.
        ``details``: text, kind, owner, cosine with the name, before, after, control, word by word.
    """
    raise NotImplementedError


def span_names(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    words: ArrayLike,
    owner: ArrayLike,
    builder: Builder | None = None,
    counts: Sequence[int] = (0, 1, 2, 4, 8),
    seed: int = 0,
) -> list[dict[str, float]]:
    """The cure for other words, and its price: span more names.

    Returns
    -------
    list of dict
        For each number of added names a class: added, rank, by_name, by_spanned, by_unseen
        (recall), retain (accuracy on the others).
    """
    raise NotImplementedError


# --- 4 other readers -----------------------------------------------------------------------


def linear_probe(
    X: ArrayLike, labels: ArrayLike, folds: int = 4, C: float = 100.0, balanced: bool = False, seed: int = 0
) -> torch.Tensor:
    """Cross-validated predictions [n] of a logistic regression on embeddings ``X [n, d]``."""
    raise NotImplementedError


def knn(X: ArrayLike, labels: ArrayLike, k: int = 5) -> torch.Tensor:
    """Majority vote [n] of the ``k`` nearest other images (cosine)."""
    raise NotImplementedError


def retrieval(X: ArrayLike, labels: ArrayLike, queries: ArrayLike, k: int | None = None) -> torch.Tensor:
    """Precision at k [q] of image-to-image search: share of the nearest k of the query's class."""
    raise NotImplementedError


def prototypes(X: ArrayLike, labels: ArrayLike, k: int = 1, draws: int = 10, seed: int = 0) -> torch.Tensor:
    """Predictions [draws, n] by the nearest class mean of ``k`` labelled images; -1 for those."""
    raise NotImplementedError


def readers(
    Z: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    draws: int = 10,
    folds: int = 4,
    seed: int = 0,
) -> list[Measurement]:
    """Other readers of the same features: probes, neighbours, retrieval, prototypes.

    Returns
    -------
    list of Measurement
        Recall on the forgotten classes' images. Control: chance.
    """
    raise NotImplementedError


def span_prototypes(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    counts: Sequence[int] = (0, 1, 2, 4),
    seed: int = 0,
) -> list[dict[str, float]]:
    """What falls when the edit spans labelled images of the forgotten classes too.

    Returns
    -------
    list of dict
        For each number of spanned images a class: images, rank, zero_shot, probe, knn (recall of
        the forgotten on images that were not spanned), retain.
    """
    raise NotImplementedError


def leace(
    X: ArrayLike, labels: ArrayLike, forget: Any, question: str = "is it"
) -> Callable[[torch.Tensor], torch.Tensor]:
    """LEACE fitted on labelled embeddings: no linear probe of them answers the question.

    Parameters
    ----------
    question : {"is it", "which"}
        "is it one of the forgotten" (yes or no for each), or "which class is it" (all classes).

    Raises
    ------
    ImportError
        ``concept-erasure`` is not installed.
    """
    raise NotImplementedError


# --- 7 confidence --------------------------------------------------------------------------


def probabilities(Z: ArrayLike, T: ArrayLike, scale: float = 100.0) -> torch.Tensor:
    """softmax(scale * cosines) [n, C]."""
    raise NotImplementedError


def entropy(p: ArrayLike) -> torch.Tensor:
    """Entropy [n] of each row of ``p [n, C]``, in bits."""
    raise NotImplementedError


def calibration_error(
    p: ArrayLike, labels: ArrayLike, bins: int = 10
) -> tuple[float, dict[str, torch.Tensor]]:
    """Expected calibration error, and its bins."""
    raise NotImplementedError


def conformal_sets(
    p: ArrayLike, calibration: ArrayLike, labels: ArrayLike, alpha: float = 0.1
) -> torch.Tensor:
    """Split-conformal prediction sets, bool [n, C].

    Parameters
    ----------
    p : array [n, C]
        Probabilities of the images to give sets for.
    calibration, labels : array [m, C], array of int [m]
        Probabilities and true classes of the calibration images.
    alpha : float in (0, 1)
        The sets hold the true label with probability at least 1 - alpha, if images are exchangeable
        with the calibration images.
    """
    raise NotImplementedError


def confidence(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    scale: float = 100.0,
    alpha: float = 0.1,
    bins: int = 10,
    seed: int = 0,
) -> list[Measurement]:
    """What the model says on forgotten images, and whether its confidence on the others still fits."""
    raise NotImplementedError


# --- all of it -----------------------------------------------------------------------------


def measure(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    classes: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    scale: float = 100.0,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """The part of the audit that needs embeddings alone: controls, collateral, readers, confidence."""
    raise NotImplementedError


def audit(
    clip: Clip,
    data: LabelledImages,
    edit: Edit,
    forget: Any = None,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """Everything that can be asked of an edit, in one table.

    Parameters
    ----------
    clip : Clip
        The model before the edit: nothing folded into it.
    data : LabelledImages
    edit : Edit
    forget : list of int or str, optional
        The classes that the edit was to forget. By default the names that it moves most, as many
        as it has columns.
    seed : int
    progress : bool, optional
        A progress bar on stderr; by default after two seconds, and never under a test runner.
    """
    raise NotImplementedError
