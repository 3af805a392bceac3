"""What survives an edit. Arrays in, numbers out; `audit` brings a model and its data to them.

Every measurement is made before the edit, after it, and on a control, and says in a sentence what
its numbers mean. Shares are fractions in [0, 1] and become percent only when printed.

An edit is an `Edit`, applied to image embeddings (Z -> Z W), or any function from embeddings
[n, d] to embeddings [n, d], such as what `leace` gives. Edited rows are scaled to unit length, as
CLIP itself does, unless said otherwise.
"""

from __future__ import annotations

import contextlib
import functools
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
from clipnull.erasers import METHODS, Edit, nullspace, random_subspace
from clipnull.evaluate import BLOCK, _argmax, _inputs, drop_label
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
    "embed_words",
    "entropy",
    "guarded",
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
    unit : {"%", "bits", "steps"}
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
        if not math.isfinite(value):
            return "–" if math.isnan(value) else "never"
        return f"{100 * value:.1f}" if self.unit == "%" else f"{value:.2f}".removesuffix(".00")


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
            inner = (
                f"<{tag} style='text-align:{a}'>{html.escape(c)}</{tag}>"
                for a, c in zip(align, cells, strict=True)
            )
            return f"<tr>{''.join(inner)}</tr>"

        head = row("th", ["measurement", "before", "after", "control", "against", "what it means", "source"])
        body = "".join(row("td", [*r.cells(), r.against, r.means, r.source]) for r in self.rows)
        left = "".join(
            f"<p>Not measured: {html.escape(n)} ({html.escape(w)}).</p>" for n, w in self.skipped.items()
        )
        caption = f"<caption style='text-align:left'>{html.escape(self.title)}</caption>"
        return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>{left}"


# --- what every measurement needs ----------------------------------------------------------


def edited(Z: ArrayLike, edit: Eraser, normalize: bool = True) -> torch.Tensor:
    """Image embeddings after an edit.

    Parameters
    ----------
    Z : array [n, d]
    edit : Edit or callable
        An edit is applied on the image side, Z W.
    normalize : bool
        Scale rows to unit length, as CLIP does after its last layer.

    Returns
    -------
    torch.Tensor [n, d]

    Raises
    ------
    ValueError
        A callable that returns another shape, or NaN.
    """
    Z = _check.rows("Z", Z)
    with torch.no_grad():
        out = edit.apply_image(Z) if isinstance(edit, Edit) else _check.rows("edit(Z)", edit(Z), Z.shape[1])
    if len(out) != len(Z):
        raise ValueError(f"edit: returned {len(out)} rows for {len(Z)}, want as many")
    return F.normalize(out, dim=1) if normalize else out


def rebuild(edit: Eraser, T_f: ArrayLike, T_r: ArrayLike) -> Edit:
    """The same kind of edit, with the parameters in its ``info``, for other names.

    Parameters
    ----------
    edit : Edit
        From `clipnull.nullspace`, `clipnull.consistent` or `clipnull.random_subspace`.
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain.

    Raises
    ------
    ValueError
        An edit that does not say how it was made, or was anchored at given embeddings.

    Examples
    --------
    >>> import torch
    >>> T = torch.eye(4)
    >>> rebuild(nullspace(T[0], strength=0.5), T[1:2], T[2:])
    Edit(dim=4, rank=1, method=partial, strength=0.5)
    """
    info = edit.info if isinstance(edit, Edit) else {}
    if info.get("method") in METHODS and info.get("anchor") != "given":
        parameters = {k: info[k] for k in ("strength", "lam", "mu", "seed") if k in info}
        return METHODS[info["method"]].make(T_f, T_r, **parameters)
    raise ValueError(f"edit: cannot be made again from its info {info}; pass builder=(T_f, T_r) -> Edit")


@dataclass(frozen=True)
class _Case:
    """Checked inputs."""

    Z: torch.Tensor
    T: torch.Tensor
    y: torch.Tensor
    forget: list[int]
    classes: list[str]

    @property
    def retain(self) -> list[int]:
        gone = set(self.forget)
        return [c for c in range(len(self.T)) if c not in gone]

    @property
    def gone(self) -> torch.Tensor:
        """Which images [n] are of a forgotten class."""
        return torch.isin(self.y, torch.tensor(self.forget, device=self.y.device))

    def recall(self, predicted: torch.Tensor) -> float:
        """Share of the forgotten classes' images that are recognised."""
        return _share((predicted == self.y)[self.gone])

    def accuracy(self, predicted: torch.Tensor) -> float:
        """Share of the other images that are recognised."""
        return _share((predicted == self.y)[~self.gone])


def _case(
    Z: ArrayLike, T: ArrayLike, labels: ArrayLike, forget: Any, classes: Sequence[str] | None = None
) -> _Case:
    Z, T, y, index, names = _inputs(Z, T, labels, forget, classes)
    if not bool(torch.isin(y, torch.tensor(index, device=y.device)).any()):
        raise ValueError("labels: no image is of a forgotten class, want at least one")
    return _Case(Z, T, y, index, names)


def _want_retained(case: _Case) -> None:
    if bool(case.gone.all()):
        raise ValueError("labels: no image of a retained class, want at least one")


def _share(mask: torch.Tensor) -> float:
    return float(mask.double().mean()) if mask.numel() else math.nan


def _zero_shot(X: torch.Tensor, T: torch.Tensor) -> torch.Tensor:
    return torch.cat([_argmax(x @ T.T) for x in X.split(BLOCK)])


def _control(case: _Case, edit: Eraser, seed: int) -> Edit:
    """A random subspace of the edit's rank and, if it is a projection too, strength."""
    rank = edit.rank if isinstance(edit, Edit) else len(case.forget)
    info = edit.info if isinstance(edit, Edit) else {}
    # other edits mean something else by their strength
    projects = info.get("method") in ("nullspace", "partial", "random")
    strength = info.get("strength", 1.0) if projects else 1.0
    d = case.T.shape[1]
    return random_subspace(d, min(max(1, rank), d), seed, strength)


def _pc(x: float) -> str:
    return "–" if math.isnan(x) else f"{100 * x:.1f}%"


def _mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).mean()) if len(values) else math.nan


def _std(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).std()) if len(values) > 1 else math.nan


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
    seed : int

    Returns
    -------
    list of Measurement
        "forgotten, zero-shot" (control: random subspaces of the same rank), "forgotten, other
        names" (control: the edit built from as many names of other classes; left out when it can
        not be built), "retained, zero-shot" (control: dropping the label). ``details["values"]``:
        the control's values over seeds; of "retained", ``details["random"]``.

    Raises
    ------
    ValueError
        Bad arrays, an unknown class, no image of a forgotten class.
    """
    case = _case(Z, T, labels, forget, classes)
    before, after = (_zero_shot(X, case.T) for X in (case.Z, edited(case.Z, edit)))
    b, a = case.recall(before), case.recall(after)
    kept = case.accuracy(before), case.accuracy(after)

    drawn = [_zero_shot(edited(case.Z, _control(case, edit, seed + i)), case.T) for i in range(seeds)]
    random = [case.recall(p) for p in drawn]
    rows = [
        Measurement(
            "forgotten, zero-shot", b, a, _mean(random), "random subspaces of the same rank",
            _against(b, a, random, "random subspaces of the same rank"), "2407.07485; control ours",
            spread=_std(random), details=dict(values=random),
        )
    ]  # fmt: skip
    with contextlib.suppress(ValueError):
        others = [case.recall(p) for p in _shuffled(case, edit, builder, seeds, seed)]
        rows.append(
            Measurement(
                "forgotten, other names", b, a, _mean(others), "the edit built from other classes' names",
                _against(b, a, others, "edits built from other names"), spread=_std(others),
                details=dict(values=others),
            )
        )  # fmt: skip
    free = drop_label(case.Z, case.T, case.y, case.forget).retain_after
    cost = 100 * (kept[1] - kept[0])
    if math.isnan(cost):
        said = "There is no image of another class, so what they lose is not known."
    else:
        said = (
            f"The edit changes accuracy on the other classes by {cost:+.1f} points; striking the name off "
            f"the candidates, by {100 * (free - kept[0]):+.1f}, and that edits nothing."
        )
    rows.append(
        Measurement(
            "retained, zero-shot", *kept, free, "dropping the label", said,
            "2407.07485", details=dict(random=[case.accuracy(p) for p in drawn]),
        )
    )  # fmt: skip
    return rows


def _shuffled(
    case: _Case, edit: Eraser, builder: Builder | None, seeds: int, seed: int
) -> Iterator[torch.Tensor]:
    """Predictions after edits of the same kind that forget other classes, drawn at random."""
    g = torch.Generator().manual_seed(seed)
    m = min(len(case.forget), len(case.retain) - 1)
    for _ in range(seeds):
        order = torch.randperm(len(case.retain), generator=g)[:m].tolist()
        picked = {case.retain[i] for i in order}
        T_f, T_r = case.T[sorted(picked)], case.T[[c for c in range(len(case.T)) if c not in picked]]
        other = builder(T_f, T_r) if builder else rebuild(edit, T_f, T_r)
        yield _zero_shot(edited(case.Z, other), case.T)


def _against(before: float, after: float, values: Sequence[float], what: str) -> str:
    if not before:
        return "The model recognised none of these images to begin with, so there was nothing to forget."
    if after >= before:
        return f"Nothing was forgotten: recall goes from {_pc(before)} to {_pc(after)}."
    if after < min(values):
        return f"The names' own directions do it: {len(values)} {what} leave at least {_pc(min(values))}."
    return f"No effect to speak of: some {what} leave {_pc(min(values))} or less too."


# --- 2 collateral --------------------------------------------------------------------------


def collateral(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    categories: Sequence[str] | None = None,
    nearest: int = 5,
    seeds: int = 5,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[Measurement]:
    """Who pays: retained classes near the forget subspace, of its category, far, and at its boundary.

    Parameters
    ----------
    Z, T, labels, forget, classes
        As in `clipnull.evaluate`.
    edit : Edit or callable
    categories : list of str [C], optional
        Coarser classes; without them the line "same category" is left out.
    nearest : int
        Retained classes (that have images) counted as near; as many of the farthest are far.
    seeds, seed : int
        Random subspaces of the control.

    Returns
    -------
    list of Measurement
        "nearest names", "same category", "far names": accuracy on their images; control: random
        subspaces of the same rank. "next to the boundary": of the retained images that were right
        with a forgotten class as runner-up, the share still right; control: the other right ones.
        ``details`` of the first: index, similarity and change [R] of each retained class, and
        ``spearman``, their rank correlation.

    Notes
    -----
    The similarity of a name t to the forget subspace is ||U^T t|| / ||t||, the cosine of t with
    its projection on the span of the forgotten names, U its orthonormal basis.

    Raises
    ------
    ValueError
        As `controls`; ``categories`` of another length; no image of a retained class.

    References
    ----------
    Over-unlearning near the forget set: arXiv 2506.01318. Groups and correlation are ours.
    """
    from scipy.stats import spearmanr  # scikit-learn brings scipy

    case = _case(Z, T, labels, forget, classes)
    if categories is not None and len(categories) != len(case.T):
        raise ValueError(f"categories: got {len(categories)}, want {len(case.T)}, one a class")
    _want_retained(case)
    before, after = (_zero_shot(X, case.T) for X in (case.Z, edited(case.Z, edit)))
    drawn = [_zero_shot(edited(case.Z, _control(case, edit, seed + i)), case.T) for i in range(seeds)]
    U = orthonormal_basis(case.T[case.forget]).to(case.T)
    near = (F.normalize(case.T, dim=1) @ U).norm(dim=1)
    index = torch.tensor([c for c in case.retain if bool((case.y == c).any())])
    index = index[torch.argsort(near[index], descending=True, stable=True)]
    change = torch.tensor(
        [_share((after == c)[case.y == c]) - _share((before == c)[case.y == c]) for c in index]
    )
    rho = float(spearmanr(near[index], change).statistic) if len(index) > 2 and change.std() > 0 else math.nan
    groups = {"nearest names": index[:nearest], "far names": index[nearest:][-nearest:]}
    own = set() if categories is None else {categories[c] for c in case.forget} - {""}
    if own and categories is not None:
        groups["same category"] = torch.tensor([c for c in index.tolist() if categories[c] in own])
    details = dict(index=index, similarity=near[index], change=change, spearman=rho)

    rows = []
    for name, members in groups.items():
        if not len(members):
            continue
        mask = torch.isin(case.y, members)
        b, a, *c = (_share((p == case.y)[mask]) for p in (before, after, *drawn))
        rows.append(
            Measurement(
                name, b, a, _mean(c), "random subspaces of the same rank",
                _cost(name, members, case, b, a, c, rho),
                "2506.01318" if name == "nearest names" else "ours", spread=_std(c),
                details=details if name == "nearest names" else dict(index=members),
            )
        )  # fmt: skip
    return [*rows, _boundary(case, before, after)]


def _cost(
    name: str, members: torch.Tensor, case: _Case, b: float, a: float, c: Sequence[float], rho: float
) -> str:
    who = ", ".join(case.classes[i] for i in members[:3].tolist()) + (", …" if len(members) > 3 else "")
    verdict = "worse than under any random subspace" if a < min(c) else "no worse than under random subspaces"
    said = f"{len(members)} classes ({who}) change by {100 * (a - b):+.1f} points, {verdict}."
    if name == "nearest names" and not math.isnan(rho):
        said += f" Over all retained classes, similarity and change have rank correlation {rho:+.2f}."
    return said


def _boundary(case: _Case, before: torch.Tensor, after: torch.Tensor) -> Measurement:
    scores = torch.cat([(z @ case.T.T).topk(2, dim=1).indices for z in case.Z.split(BLOCK)])
    right = (before == case.y) & ~case.gone
    beside = right & torch.isin(scores[:, 1], torch.tensor(case.forget, device=scores.device))
    a, c = _share((after == case.y)[beside]), _share((after == case.y)[right & ~beside])
    n = int(beside.sum())
    if not n:
        means = "No image of a retained class had a forgotten one as its runner-up."
    else:
        worse = "more often than" if a < c else "no more often than"
        means = f"Of {n} such images {n - round(a * n)} are lost, {worse} images away from the boundary."
    return Measurement(
        "next to the boundary", 1.0 if n else math.nan, a, c, "right images elsewhere", means, "2506.01318",
        details=dict(images=beside.nonzero()[:, 0]),
    )  # fmt: skip


# --- 3 other words -------------------------------------------------------------------------

#: words without a meaning
MADE_UP = ["blorf", "wug", "dax", "snarp", "zill"]
#: prompts that no lesson builds its names from
TEMPLATES = ["this is a {}.", "a sketch of one {} on paper", "look, a {}!", "{}, icon", "the {} I saw"]


def word_forms(
    name: str, keywords: Sequence[str] = (), categories: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Other ways to say a name, by simple English rules.

    Parameters
    ----------
    name : str
    keywords : list of str
        Synonyms and related words.
    categories : list of str
        Coarser classes; ``"animal-mammal"`` gives two words.

    Returns
    -------
    dict of str to list of str
        plural, article, misspelling, keyword, category, description (the keywords in one phrase);
        kinds that have no text are left out.

    Examples
    --------
    >>> word_forms("fox", ["red", "vixen"], ["animal-mammal"])["plural"]
    ['foxes']
    """
    end = ("s", "x", "z", "ch", "sh")
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        plural = name[:-1] + "ies"
    else:
        plural = name + ("es" if name.endswith(end) else "s")
    i = len(name) // 2  # the middle: first letters matter most to a reader and to a tokenizer
    keys = [k for k in dict.fromkeys(keywords) if k.lower() != name.lower()]
    forms = {
        "plural": [plural],
        "article": [f"the {name}", f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"],
        "misspelling": [name[:i] + name[i + 1 :], name[:i] + name[i : i + 1] + name[i:],
                        name[: i - 1] + name[i : i + 1] + name[i - 1 : i] + name[i + 1 :]],
        "keyword": keys,
        "category": list(dict.fromkeys(w for c in categories for w in c.split("-") if w)),
        "description": [f"something with {', '.join(keys[:-1])} and {keys[-1]}"] if len(keys) > 1 else [],
    }  # fmt: skip
    return {k: [w for w in dict.fromkeys(v) if w and w != name] for k, v in forms.items() if any(v)}


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
    made_up: ArrayLike | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Does another name bring the class back?

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluate`.
    edit : Edit or callable
    words : array [k, d]
        Embeddings of the other words.
    owner : array of int [k]
        The forgotten class that each of them stands for.
    kinds, texts : list of str [k], optional
        What sort of word it is, and the word.
    made_up : array [q, d], optional
        Embeddings of words without a meaning: the control. An edit may leave images nowhere in
        particular, and then any word that is nowhere in particular takes them.
    seed : int
        Of the random subspace.

    Returns
    -------
    list of Measurement
        One line a kind: recall of the owner's images when the word takes the place of its name
        among the candidates, mean over words. Control: the made-up words after the edit; without
        them, the word after a random subspace of the same rank. ``details``, word by word: texts,
        owner, cosine (with the name), before, after, control, random (after the random subspace),
        back (whether it recalls half of what the name did, and more than any made-up word).

    Raises
    ------
    ValueError
        As `controls`; an owner that is not forgotten, lists of another length.

    References
    ----------
    Prompt variants reactivate what was erased: arXiv 2605.26992. Measurement and control are ours.
    """
    case = _case(Z, T, labels, forget)
    W, who = _words(case, words, owner)
    kinds = list(kinds) if kinds is not None else ["word"] * len(W)
    texts = list(texts) if texts is not None else [f"word {i}" for i in range(len(W))]
    if not len(kinds) == len(texts) == len(W):
        raise ValueError(f"kinds, texts: got {len(kinds)} and {len(texts)}, want {len(W)}, one a word")
    X = edited(case.Z, edit)
    sets = [case.Z, X, edited(case.Z, _control(case, edit, seed))]
    before, after, random = (_recall_by(case, rows, W, who) for rows in sets)
    cosine = (F.normalize(W, dim=1) * F.normalize(case.T[who], dim=1)).sum(1)
    named = case.recall(_zero_shot(case.Z, case.T))
    control, bar, against = random, torch.zeros_like(after), "a random subspace of the same rank"
    if made_up is not None:
        M = _check.rows("made_up", made_up, case.T.shape[1], nonzero=True).to(case.T)
        found = _recall_by_any(case, X, M)
        control = torch.stack([found[c].mean() for c in who.tolist()])
        bar, against = torch.stack([found[c].max() for c in who.tolist()]), "made-up words"
    back = (after >= 0.5 * named) & (after > bar)
    columns = dict(
        owner=who, cosine=cosine, before=before, after=after, control=control, random=random, back=back
    )
    rows = []
    for kind in dict.fromkeys(kinds):
        pick = torch.tensor([i for i, k in enumerate(kinds) if k == kind])
        b, a, c = (_mean(x[pick].tolist()) for x in (before, after, control))
        details = {k: v[pick] for k, v in columns.items()} | dict(texts=[texts[i] for i in pick])
        said = _back(details, named, made_up is not None)
        rows.append(
            Measurement(f"other words: {kind}", b, a, c, against, said, "2605.26992", details=details)
        )
    return rows


def _back(details: Mapping[str, Any], named: float, made_up: bool) -> str:
    back, after, n = details["back"], details["after"], len(details["texts"])
    if not details["before"].any() and not back.any():
        return "The model did not know the class by these words before either."
    more = " and more than a made-up word does" if made_up else ""
    said = f"{int(back.sum())} of {n} bring back half of what the name had ({_pc(named)}){more}"
    best = int((after + back).argmax())
    if after[best] > 0:
        verb = "the best is" if back[best] else "the most has"
        said += f"; {verb} {details['texts'][best]!r}, {_pc(float(after[best]))}"
    return said + "."


def _words(case: _Case, words: ArrayLike, owner: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    W = _check.rows("words", words, case.T.shape[1], nonzero=True).to(case.T)
    who = _check.labels("owner", owner, len(W), len(case.T))
    if strangers := sorted(set(who.tolist()) - set(case.forget)):
        raise ValueError(f"owner: classes {strangers} are not forgotten, want classes of the forget set")
    return W, who


def _recall_by(case: _Case, X: torch.Tensor, W: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
    """Recall [k] of the owner's images when each word of ``W`` replaces the owner's name."""
    out = torch.zeros(len(W), dtype=torch.float64)
    for c in who.unique().tolist():
        x, mine = X[case.y == c], (who == c).nonzero()[:, 0]
        scores = x @ case.T.T
        scores[:, c] = -torch.inf
        out[mine] = ((x @ W[mine].T) > scores.amax(1, keepdim=True)).double().mean(0).cpu()
    return out


def _recall_by_any(case: _Case, X: torch.Tensor, M: torch.Tensor) -> dict[int, torch.Tensor]:
    """Recall [q] of each forgotten class's images by each row of ``M``."""
    return {c: _recall_by(case, X, M, torch.full((len(M),), c)) for c in case.forget}


def span_names(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    words: ArrayLike,
    owner: ArrayLike,
    builder: Builder | None = None,
    counts: Sequence[int] = (0, 1, 2, 4, 8),
    made_up: ArrayLike | None = None,
    seed: int = 0,
) -> list[dict[str, float]]:
    """The cure for other words, and its price: an edit that spans more names.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluate`.
    words, owner
        As in `other_words`. A random half of each class's words may be spanned; the others are
        never spanned, so that they show whether the cure reaches words nobody thought of.
    builder : callable, optional
        ``(T_f, T_r) -> Edit``; by default the nullspace projector.
    counts : sequence of int
        Words added to the name of each class.
    made_up : array [q, d], optional
        Words without a meaning, as in `other_words`.
    seed : int
        Which half, in which order.

    Returns
    -------
    list of dict
        For each count: added, rank, by_name, by_spannable, by_unseen (recall of the forgotten
        classes' images by their name, by words of the first half, by words of the other half),
        by_made_up (NaN without such words), retain (accuracy on the others).
    """
    case = _case(Z, T, labels, forget)
    W, who = _words(case, words, owner)
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(W), generator=g)
    # every class's words in the shuffled order: even places may be spanned, odd ones never are
    of_class = {c: [i for i in order.tolist() if int(who[i]) == c] for c in case.forget}
    first = {c: ids[::2] for c, ids in of_class.items()}
    halves = [[i for ids in of_class.values() for i in ids[start::2]] for start in (0, 1)]
    nonsense = None if made_up is None else _check.rows("made_up", made_up, case.T.shape[1]).to(case.T)
    rows = []
    for count in counts:
        added = [i for ids in first.values() for i in ids[:count]]
        T_f, T_r = torch.cat([case.T[case.forget], W[added]]), case.T[case.retain]
        edit = builder(T_f, T_r) if builder else nullspace(T_f)
        X = edited(case.Z, edit)
        by = [_mean(_recall_by(case, X, W[half], who[half]).tolist()) for half in halves]
        idle = {} if nonsense is None else _recall_by_any(case, X, nonsense)
        predicted = _zero_shot(X, case.T)
        rows.append(
            dict(added=count, rank=edit.rank, by_name=case.recall(predicted), by_spannable=by[0],
                 by_unseen=by[1], by_made_up=_mean([float(r.mean()) for r in idle.values()]),
                 retain=case.accuracy(predicted))
        )  # fmt: skip
    return rows


# --- 4 other readers -----------------------------------------------------------------------


def _readable(X: ArrayLike, labels: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    X = _check.rows("X", X).detach()
    y = torch.as_tensor(labels)
    return X, _check.labels("labels", y, len(X), int(y.max()) + 1 if y.numel() else 1)


def linear_probe(
    X: ArrayLike, labels: ArrayLike, folds: int = 4, C: float = 100.0, balanced: bool = False, seed: int = 0
) -> torch.Tensor:
    """Cross-validated predictions of a linear probe, scikit-learn's logistic regression.

    Parameters
    ----------
    X : array [n, d]
        Embeddings, read as they are. Do not standardise them: that would amplify the rounding
        that an erased direction leaves behind until a probe can read it.
    labels : array of int [n]
    folds : int
        Each image is predicted by a probe fitted without its fold.
    C : float
        Inverse strength of the L2 penalty.
    balanced : bool
        Weigh classes equally, for yes-or-no questions about a rare class.
    seed : int
        Of the folds.

    Returns
    -------
    torch.Tensor [n]

    Raises
    ------
    ValueError
        Bad arrays, one class only, no class with as many images as folds.

    References
    ----------
    A linear probe recovers what was unlearned: arXiv 2604.08271.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    X, y = _readable(X, labels)
    counts = torch.bincount(y)
    if int((counts > 0).sum()) < 2 or int(counts.max()) < folds:
        raise ValueError(f"labels: want two classes or more, with {folds} images, one a fold")
    probe = LogisticRegression(C=C, class_weight="balanced" if balanced else None, max_iter=100, tol=1e-3)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    # products this small are slower on several threads than on one
    with warnings.catch_warnings(), threadpool_limits(1):
        # 100 steps are enough to rank classes; classes may be many, and smaller than the folds
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        predicted = cross_val_predict(probe, X.double().cpu().numpy(), y.cpu().numpy(), cv=split)
    return torch.as_tensor(predicted)


def _neighbours(X: torch.Tensor, k: int) -> torch.Tensor:
    """Indices [n, k] of the nearest other rows by cosine, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    unit = F.normalize(X.float(), dim=1).cpu().numpy()
    return torch.as_tensor(NearestNeighbors(n_neighbors=k).fit(unit).kneighbors(return_distance=False))


def knn(X: ArrayLike, labels: ArrayLike, k: int = 5) -> torch.Tensor:
    """Vote of the nearest other images.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    k : int
        Neighbours by cosine; a tie goes to the class of the nearer ones.

    Returns
    -------
    torch.Tensor [n]

    Raises
    ------
    ValueError
        Bad arrays, ``k`` not in 1 … n − 1.
    """
    X, y = _readable(X, labels)
    if not 1 <= k < len(X):
        raise ValueError(f"k: got {k}, want 1 to {len(X) - 1} for {len(X)} images")
    votes = torch.zeros(len(X), int(y.max()) + 1)
    weights = 1 + 1e-3 / torch.arange(1, k + 1)
    return votes.scatter_add_(1, y[_neighbours(X, k)], weights.expand(len(X), k)).argmax(1)


def retrieval(X: ArrayLike, labels: ArrayLike, queries: ArrayLike, k: int | None = None) -> torch.Tensor:
    """Precision at k of image-to-image search.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    queries : array of int [q]
        Rows that search among all the others, by cosine.
    k : int, optional
        By default, for each query, the number of other images of its class.

    Returns
    -------
    torch.Tensor [q], float64
        Share of the k nearest that are of the query's class; NaN for a class with one image.
    """
    X, y = _readable(X, labels)
    ask = _check.labels("queries", queries, len(torch.as_tensor(queries)), len(X))
    unit, out = F.normalize(X, dim=1), []
    for i in ask.tolist():
        scores = unit @ unit[i]
        scores[i] = -torch.inf
        n = int((y == y[i]).sum()) - 1 if k is None else k
        out.append(_share((y == y[i])[scores.topk(n).indices]) if n else math.nan)
    return torch.tensor(out, dtype=torch.float64)


def prototypes(X: ArrayLike, labels: ArrayLike, k: int = 1, draws: int = 10, seed: int = 0) -> torch.Tensor:
    """Predictions by the nearest class prototype, the mean of ``k`` labelled images.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    k : int
        Labelled images a class, drawn at random; classes with k images or fewer give all but one.
    draws, seed : int

    Returns
    -------
    torch.Tensor [draws, n]
        Predicted class; -1 for the images that the prototypes were made of.

    References
    ----------
    Prototypical relearning from a few samples: arXiv 2506.01318.
    """
    X, y = _readable(X, labels)
    k = int(_check.number("k", k, 1, len(X)))
    X, present = F.normalize(X, dim=1), y.unique()
    g = torch.Generator().manual_seed(seed)
    out = torch.full((draws, len(X)), -1)
    for predicted in out:
        order = torch.randperm(len(X), generator=g)
        of_class = [order[y[order] == c] for c in present]
        support = [rows[: max(1, min(k, len(rows) - 1))] for rows in of_class]
        P = F.normalize(torch.stack([X[rows].mean(0) for rows in support]), dim=1)
        predicted[:] = present[_zero_shot(X, P)]
        predicted[torch.cat(support)] = -1
    return out


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

    Parameters
    ----------
    Z : array [n, d]
    labels : array of int [n]
    forget : list of int
    edit : Edit or callable
    shots : sequence of int
        k of the prototypes; those that leave a forgotten class no image to test on are left out.
    draws : int
        Choices of the k images.
    folds, seed : int
        Of the cross-validation.

    Returns
    -------
    list of Measurement
        "linear probe", "k nearest images", "prototypes, k = …": recall on the forgotten classes'
        images, control 1 / C. "linear probe, yes or no": balanced accuracy of "is it forgotten?",
        control 50%. "image search": precision at k, control the share of such images.

    Raises
    ------
    ValueError
        Bad arrays; a forgotten class with fewer than two images.

    References
    ----------
    Linear probe: arXiv 2604.08271. Prototypes: arXiv 2506.01318.
    """
    Z, y = _readable(Z, labels)
    index = _check.forget_set(forget, int(y.max()) + 1)
    gone, C = torch.isin(y, torch.tensor(index)), len(y.unique())
    fewest = min(int((y == c).sum()) for c in index)
    if fewest < 2:
        raise ValueError(
            "labels: a forgotten class has fewer than 2 images, want one to learn from and one to test"
        )
    folds, k, d, n = min(folds, fewest), min(5, fewest), Z.shape[1], int(gone.sum())
    sets = [Z, edited(Z, edit)]

    def recall(predicted: torch.Tensor) -> float:
        return _share((predicted == y)[gone])

    b, a = (recall(linear_probe(X, y, folds, seed=seed)) for X in sets)
    rank = edit.rank if isinstance(edit, Edit) else len(index)
    why = f"The edit takes {rank} of {d} directions; a probe may use any of the other {d - rank}."
    rows = [
        Measurement("linear probe", b, a, 1 / C, "chance", f"{_survives(b, a, 1 / C, n)} {why}", "2604.08271")
    ]

    answers = [linear_probe(X, gone.long(), folds, balanced=True, seed=seed).bool() for X in sets]
    b, a = ((_share(p[gone]) + _share(~p[~gone])) / 2 for p in answers)
    rows.append(
        Measurement(
            "linear probe, yes or no", b, a, 0.5, "chance",
            _survives(b, a, 0.5, n, len(y) - n), "2604.08271",
        )
    )  # fmt: skip
    b, a = (recall(knn(X, y, k)) for X in sets)
    rows.append(
        Measurement("nearest images", b, a, 1 / C, "chance", f"{_survives(b, a, 1 / C, n)} ({k} neighbours.)")
    )

    queries = gone.nonzero()[:, 0]
    b, a = (_mean(retrieval(X, y, queries).tolist()) for X in sets)
    chance = _mean([(int((y == y[i]).sum()) - 1) / (len(y) - 1) for i in queries])
    rows.append(Measurement("image search", b, a, chance, "chance", _survives(b, a, chance, n)))

    for k in shots:
        if k >= fewest:
            continue
        b, a = (_prototype_recall(X, y, gone, k, draws, seed) for X in sets)
        means = _survives(b, a, 1 / C, n)
        rows.append(Measurement(f"prototypes, k = {k}", b, a, 1 / C, "chance", means, "2506.01318"))
    return rows


def _prototype_recall(
    X: torch.Tensor, y: torch.Tensor, gone: torch.Tensor, k: int, draws: int, seed: int
) -> float:
    predicted = prototypes(X, y, k, draws, seed)
    asked = (predicted >= 0) & gone
    return _share((predicted == y)[asked])


def _survives(before: float, after: float, chance: float, images: int, others: int | None = None) -> str:
    """How much of what a reader found above chance is still found; two standard errors count as none.

    ``images`` are those whose recall is ``before`` and ``after``; with ``others`` these are means of
    two recalls, the other one over ``others`` images.
    """
    parts = [images] if others is None else [images, others]
    room = 2 * math.sqrt(sum(chance * (1 - chance) / n for n in parts)) / len(parts)
    if before <= chance + room:
        return (
            f"On {images} images, {_pc(before)} before the edit cannot be told from chance ({_pc(chance)})."
        )
    left = (after - chance) / (before - chance)
    if after <= chance + room:
        return f"Gone: no better than chance ({_pc(chance)})."
    if left >= 0.95:
        return "Nothing is gone for this reader."
    return f"{100 * left:.0f}% of what it found above chance is still there."


def span_prototypes(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    counts: Sequence[int] = (0, 1, 2),
    builder: Builder | None = None,
    folds: int = 4,
    seed: int = 0,
) -> list[dict[str, float]]:
    """What falls when the edit spans labelled images of the forgotten classes too.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluate`.
    counts : sequence of int
        Spanned images a class. Readers only meet images that no count spans.
    builder : callable, optional
        ``(names and images to forget, names to retain) -> Edit``; by default the nullspace
        projector of the names and images together.
    folds, seed : int

    Returns
    -------
    list of dict
        For each count: images, rank, zero_shot, probe, knn (recall of the forgotten),
        probe_before, knn_before (the same without an edit), retain (zero-shot accuracy on the
        others).

    Raises
    ------
    ValueError
        As `controls`; fewer than two images of a forgotten class left for the readers.
    """
    case = _case(Z, T, labels, forget)
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(case.Z), generator=g)
    of_class = {c: order[case.y[order] == c] for c in case.forget}
    most = max(counts)
    if (fewest := min(map(len, of_class.values())) - most) < 2:
        raise ValueError(f"counts: spanning {most} images leaves {max(fewest, 0)} of a class, want 2 or more")
    read = torch.ones(len(case.Z), dtype=torch.bool)
    read[torch.cat([ids[:most] for ids in of_class.values()])] = False
    y, gone, rows = case.y[read], case.gone[read], []

    def found(X: torch.Tensor) -> tuple[float, float]:
        predicted = linear_probe(X[read], y, min(folds, fewest), seed=seed), knn(X[read], y, min(5, fewest))
        probe, near = (_share((p == y)[gone]) for p in predicted)
        return probe, near

    first = found(case.Z)
    for count in counts:
        spanned = torch.cat([ids[:count] for ids in of_class.values()])
        T_f = torch.cat([case.T[case.forget], case.Z[spanned]])
        edit = builder(T_f, case.T[case.retain]) if builder else nullspace(T_f)
        X = edited(case.Z, edit)
        predicted = _zero_shot(X, case.T)
        probe, near = found(X)
        rows.append(
            dict(images=count, rank=edit.rank, zero_shot=_share((predicted == case.y)[read & case.gone]),
                 probe=probe, probe_before=first[0], knn=near, knn_before=first[1],
                 retain=case.accuracy(predicted))
        )  # fmt: skip
    return rows


def leace(
    X: ArrayLike, labels: ArrayLike, forget: Any, question: str = "is it"
) -> Callable[[torch.Tensor], torch.Tensor]:
    """LEACE of the ``concept-erasure`` package, fitted on labelled embeddings.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    forget : list of int
    question : {"is it", "which"}
        What no linear probe of the result can answer better than a constant: for each forgotten
        class, "is it this one?"; or, for all the classes, "which one is it?".

    Returns
    -------
    callable [n, d] -> [n, d]
        x - A (x - mean), A of rank at most the number of forgotten classes, or of classes.

    Raises
    ------
    ImportError
        ``concept-erasure`` is not installed.
    ValueError
        Bad arrays, an unknown question.

    Notes
    -----
    The package drops directions whose whitened cross-covariance with the labels is below
    ``svd_tol``, 0.01 by default. That of one class in a hundred is; we ask for 1e-6.

    The guarantee holds on the embeddings it was fitted on, as they leave the eraser. Scaling them
    to unit length afterwards is not linear, and can bring the class back.

    References
    ----------
    arXiv 2306.03819.
    """
    _check.one_of("question", question, ["is it", "which"])
    X, y = _readable(X, labels)
    C = int(y.max()) + 1
    index = _check.forget_set(forget, C) if question == "is it" else y.unique().tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        try:
            from concept_erasure import LeaceEraser
        except ImportError as error:
            raise ImportError('concept-erasure is not installed: pip install -e ".[leace]"') from error
    concept = (y[:, None] == torch.tensor(index)).double()
    eraser = LeaceEraser.fit(X.double(), concept, svd_tol=1e-6)
    return lambda Z: eraser(Z.double()).to(Z.dtype)


def guarded(
    Z: ArrayLike, T: ArrayLike, labels: ArrayLike, forget: Any, folds: int = 4, seed: int = 0
) -> list[Measurement]:
    """LEACE as the extreme: what a guarantee against linear probes costs, and what it does not cover.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluate`.
    folds, seed : int

    Returns
    -------
    list of Measurement
        "LEACE: is it" (balanced accuracy of a yes-or-no probe) and "LEACE: which" (recall by a
        probe over all classes), on embeddings as they leave the eraser. ``details``: normalized
        (the same after scaling to unit length), classes (recall by a probe over all classes),
        nearest (by nearest images), forget, retain (zero-shot after), retain_before.

    Raises
    ------
    ImportError, ValueError
        As `leace` and `controls`.
    """
    case = _case(Z, T, labels, forget)
    y, gone = case.y, case.gone
    fewest = min(int((y == c).sum()) for c in case.forget)
    folds = max(2, min(folds, fewest))

    def yes_no(X: torch.Tensor) -> float:
        p = linear_probe(X, gone.long(), folds, balanced=True, seed=seed).bool()
        return (_share(p[gone]) + _share(~p[~gone])) / 2

    def which(X: torch.Tensor) -> float:
        return case.recall(linear_probe(X, y, folds, seed=seed))

    kept, rows, n = case.accuracy(_zero_shot(case.Z, case.T)), [], int(gone.sum())
    asked: list[tuple[str, Callable[[torch.Tensor], float], float, int | None]] = [
        ("is it", yes_no, 0.5, int((~gone).sum())),
        ("which", which, 1 / len(y.unique()), None),
    ]
    for question, probe, chance, others in asked:
        eraser = leace(case.Z, y, case.forget, question)
        X = edited(case.Z, eraser, normalize=False)
        unit, predicted = F.normalize(X, dim=1), _zero_shot(X, case.T)
        b, a, scaled = probe(case.Z), probe(X), probe(unit)
        found = dict(
            normalized=scaled,
            classes=which(X),
            nearest=case.recall(knn(X, y, min(5, fewest))),
            forget=case.recall(predicted),
            retain=case.accuracy(predicted),
            retain_before=kept,
        )
        said = (
            f"{_survives(b, a, chance, n, others)} After scaling to unit length the probe has {_pc(scaled)}. "
            f"Zero-shot, the others go from {_pc(kept)} to {_pc(found['retain'])}."
        )
        rows.append(
            Measurement(f"LEACE: {question}", b, a, chance, "chance", said, "2306.03819", details=found)
        )
    return rows


# --- 7 confidence --------------------------------------------------------------------------


def probabilities(Z: ArrayLike, T: ArrayLike, scale: float = 100.0) -> torch.Tensor:
    """What a CLIP says: softmax(scale * cosines) [n, C], of ``Z [n, d]`` with ``T [C, d]``.

    ``scale`` is the model's ``logit_scale``.
    """
    Z = _check.rows("Z", Z)
    T = _check.rows("T", T, Z.shape[1], nonzero=True).to(Z)
    return (scale * F.normalize(Z, dim=1) @ F.normalize(T, dim=1).T).softmax(1)


def entropy(p: ArrayLike) -> torch.Tensor:
    """Entropy [n] of each row of ``p [n, C]``, in bits.

    Examples
    --------
    >>> entropy([[0.5, 0.5], [1.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    p = _check.rows("p", p)
    return torch.special.entr(p).sum(1) / math.log(2) + 0.0


def calibration_error(
    p: ArrayLike, labels: ArrayLike, bins: int = 10
) -> tuple[float, dict[str, torch.Tensor]]:
    """Expected calibration error: how far confidence is from accuracy.

    Parameters
    ----------
    p : array [n, C]
        Probabilities.
    labels : array of int [n]
    bins : int
        Of equal width over the top-1 confidence, (0, 1/bins], …, (1 - 1/bins, 1].

    Returns
    -------
    ece : float
        sum_b n_b / n |accuracy_b - confidence_b|, a fraction.
    table : dict of str to torch.Tensor [bins]
        count, confidence and accuracy of each bin (0 in an empty one).

    Examples
    --------
    >>> calibration_error([[0.75, 0.25]] * 4, [0, 0, 0, 1])[0]
    0.0
    """
    p = _check.rows("p", p).double()
    y = _check.labels("labels", labels, len(p), p.shape[1])
    bins = int(_check.number("bins", bins, 1))
    top, predicted = p.max(1)
    which = (top * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(which, minlength=bins)
    sums = [torch.bincount(which, x, bins) for x in (top, (predicted == y).double())]
    conf, accuracy = (s / count.clamp_min(1) for s in sums)
    ece = float((count * (accuracy - conf).abs()).sum() / len(p))
    return ece, dict(count=count, confidence=conf, accuracy=accuracy)


def conformal_sets(
    p: ArrayLike, calibration: ArrayLike, labels: ArrayLike, alpha: float = 0.1
) -> torch.Tensor:
    """Split-conformal prediction sets.

    Parameters
    ----------
    p : array [n, C]
        Probabilities of the images to give sets for.
    calibration, labels : array [m, C], array of int [m]
        Probabilities and true classes of the calibration images.
    alpha : float in (0, 1)

    Returns
    -------
    torch.Tensor [n, C], bool
        The classes whose probability is at least 1 - q, q the ceil((m + 1)(1 - alpha))-th smallest
        of the calibration scores 1 - p[true class]; every class when m is too small for that. A set
        holds the true class with probability at least 1 - alpha if its image is exchangeable with
        the calibration images.

    References
    ----------
    Conformal sets as a test of forgetting: arXiv 2501.19403. Score and split are the textbook's.
    """
    cal = _check.rows("calibration", calibration).double()
    p = _check.rows("p", p, cal.shape[1]).double()
    y = _check.labels("labels", labels, len(cal), cal.shape[1])
    if not 0 < (alpha := _check.number("alpha", alpha, 0, 1)) < 1:
        raise ValueError(f"alpha: got {alpha}, want a number between 0 and 1")
    scores = (1 - cal[torch.arange(len(cal)), y]).sort().values
    rank = math.ceil((len(cal) + 1) * (1 - alpha))
    q = float(scores[rank - 1]) if rank <= len(cal) else math.inf
    return 1 - p <= q


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
    """What the model says on forgotten images, and whether its confidence on the others still fits.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluate`.
    edit : Edit or callable
    scale : float
        The model's ``logit_scale``.
    alpha : float in (0, 1)
        Conformal sets are to hold the true class with probability 1 - alpha. They are calibrated
        on a random half of the retained images, each model on its own probabilities.
    bins : int
        Of `calibration_error`.
    seed : int

    Returns
    -------
    list of Measurement
        "entropy" (bits) and "top-1 confidence" (mean over forgotten images), "true class in the
        conformal set" (share of forgotten images; ``details``: coverage and size, of the retained
        images not calibrated on, before, after, control; ``size_forget``), "calibration error"
        (retained images; ``details``: the bins before and after). Control: a random subspace of
        the same rank.

    Raises
    ------
    ValueError
        As `controls`; no image of a retained class.
    """
    case = _case(Z, T, labels, forget)
    _want_retained(case)
    edits = (case.Z, edited(case.Z, edit), edited(case.Z, _control(case, edit, seed)))
    P = [probabilities(X, case.T, scale) for X in edits]
    gone, y, C = case.gone, case.y, len(case.T)
    against, source = "a random subspace of the same rank", "2501.19403"

    b, a, c = (float(entropy(p[gone]).mean()) for p in P)
    more = "less sure" if a > b else "no less sure"
    said = f"On forgotten images the model is {more} than before; a blind guess has {math.log2(C):.2f} bits."
    rows = [Measurement("entropy, forgotten", b, a, c, against, said, source, "bits")]

    b, a, c = (float(p[gone].amax(1).mean()) for p in P)
    wrong = _share((P[1].argmax(1) != y)[gone])
    said = f"{_pc(wrong)} of the forgotten images get a wrong name, said with {_pc(a)} confidence on average."
    rows.append(Measurement("top-1 confidence, forgotten", b, a, c, against, said, source))

    others = (~gone).nonzero()[:, 0]
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))]
    cal, rest = order[: len(order) // 2], order[len(order) // 2 :]
    sets = [conformal_sets(p, p[cal], y[cal], alpha) for p in P]
    hit = [s[torch.arange(len(y)), y] for s in sets]
    b, a, c = (_share(h[gone]) for h in hit)
    details: dict[str, Any] = dict(
        coverage=[_share(h[rest]) for h in hit],
        size=[float(s[rest].double().sum(1).mean()) for s in sets],
        size_forget=[float(s[gone].double().sum(1).mean()) for s in sets],
        alpha=alpha,
    )
    said = (
        f"The sets hold the true class of {_pc(details['coverage'][1])} of the retained images "
        f"({_pc(1 - alpha)} wanted), and of {_pc(a)} of the forgotten ones: "
    )
    kept = "hidden from the first place, not from the set."
    said += "out of the set as well." if a == 0 else "most are out of the set." if a < 0.5 * b else kept
    rows.append(Measurement("true class in conformal set", b, a, c, against, said, source, details=details))

    tables = [calibration_error(p[~gone], y[~gone], bins) for p in P]
    b, a, c = (t[0] for t in tables)
    said = (
        f"On retained images confidence and accuracy are {100 * a:.1f} points apart, "
        f"{100 * (a - b):+.1f} by the edit."
    )
    rows.append(
        Measurement("calibration error, retained", b, a, c, against, said, "ours",
                    details=dict(before=tables[0][1], after=tables[1][1]))
    )  # fmt: skip
    return rows


# --- all of it -----------------------------------------------------------------------------


def embed_words(
    clip: Clip, data: LabelledImages, forget: Any, more: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Other words for some classes, embedded.

    Parameters
    ----------
    clip : Clip
    data : LabelledImages
        Its ``keywords``, ``subcategories`` and ``categories`` are words too (see `word_forms`);
        those that are another class's name are left out.
    forget : list of int or str
    more : dict of str to list of str, optional
        Class name -> texts of your own, such as descriptions.

    Returns
    -------
    dict
        Arguments of `other_words`: words [k, d], owner [k], kinds, texts, made_up [q, d]. Words stand
        in the data's prompt templates, names in `TEMPLATES` too, your own texts as they are.
    """
    index = _check.class_indices("forget", forget, len(data.classes), data.classes)
    taken = {c.lower() for c in data.classes}
    found: dict[tuple[int, str], str] = {}
    for c in index:
        coarse = [data.subcategories[c], data.categories[c]]
        for kind, forms in word_forms(data.classes[c], data.keywords[c], coarse).items():
            for text in forms:
                if text.lower() not in taken:
                    found.setdefault((c, text), kind)
    owner, texts, kinds = [c for c, _ in found], [t for _, t in found], list(found.values())
    W = [clip.embed_text(texts, templates=data.templates)] if texts else []
    plain = [(c, t.format(data.classes[c]), "template") for t in TEMPLATES for c in index]
    plain += [(c, t, "yours") for c in index for t in (more or {}).get(data.classes[c], ())]
    W.append(clip.embed_text([t for _, t, _ in plain]))
    owner += [c for c, _, _ in plain]
    texts += [t for _, t, _ in plain]
    kinds += [k for _, _, k in plain]
    made_up = clip.embed_text(MADE_UP, templates=data.templates)
    return dict(words=torch.cat(W), owner=torch.tensor(owner), kinds=kinds, texts=texts, made_up=made_up)


#: images that the readers look at, at most; more would only make them slower
AT_MOST = 4000
#: classes whose other words are tried, at most
WORDS_OF = 10
#: images whose features are taken at every layer, and classes that are relearned, at most
LAYERS_AT_MOST, RELEARN_OF = 1000, 5


def measure(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    classes: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    words: Mapping[str, Any] | None = None,
    scale: float = 100.0,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """The part of the audit that embeddings alone allow.

    Parameters
    ----------
    Z, T, labels, forget, classes
        As in `clipnull.evaluate`.
    edit : Edit or callable
    categories : list of str [C], optional
        See `collateral`.
    words : dict, optional
        Arguments of `other_words`: words, owner, kinds, texts, made_up.
    scale : float
        The model's ``logit_scale``.
    seed : int
    progress : bool, optional
        As in `audit`.

    Returns
    -------
    AuditReport
        A measurement that cannot be made is in ``skipped`` with the reason.
    """
    case = _case(Z, T, labels, forget, classes)
    return AuditReport(
        *_run(_steps(case, edit, categories, words, scale, seed), progress), _title(case, edit)
    )


Step = tuple[str, Callable[[], list[Measurement]]]


def _steps(
    case: _Case,
    edit: Eraser,
    categories: Sequence[str] | None,
    words: Mapping[str, Any] | None,
    scale: float,
    seed: int,
) -> list[Step]:
    everything = (case.Z, case.T, case.y, case.forget)
    few = _thin(case, AT_MOST, seed)
    sample = (case.Z[few], case.T, case.y[few], case.forget)
    named = categories is not None and any(categories)
    steps: list[Step] = [
        ("controls", lambda: controls(*everything, edit, seed=seed, classes=case.classes)),
        (
            "collateral",
            lambda: collateral(
                *everything, edit, categories if named else None, seed=seed, classes=case.classes
            ),
        ),
    ]
    if words is not None:
        steps += [
            ("other words", lambda: other_words(*everything, edit, **words, seed=seed)),
            ("spanning names", lambda: [_cured(case, edit, words["words"], words["owner"], seed)]),
        ]
    return [
        *steps,
        ("other readers", lambda: readers(sample[0], sample[2], case.forget, edit, seed=seed)),
        ("spanning images", lambda: [_with_images(*sample, seed=seed)]),
        ("LEACE", lambda: guarded(*sample, seed=seed)),
        ("confidence", lambda: confidence(*everything, edit, scale, seed=seed)),
    ]


def _model_steps(clip: Clip, data: LabelledImages, case: _Case, edit: Edit, seed: int) -> list[Step]:
    """What needs the model's weights: the attacks of `clipnull.attacks`, as lines of the table."""
    from clipnull import attacks
    from clipnull.model import folded, last_layer

    rows = _thin(case, LAYERS_AT_MOST, seed)
    y = case.y[rows]

    @functools.cache
    def features() -> dict[str, torch.Tensor]:
        return attacks.layers(clip, [data.images[i] for i in rows.tolist()])

    def fingerprint() -> list[Measurement]:
        P, m = last_layer(clip), len(case.forget)
        found = [attacks.fingerprint(P, e.apply_image(P), case.T) for e in (edit, _control(case, edit, seed))]
        a, c = (len({str(i) for i in case.forget} & set(f.ranking()[:m])) / m for f in found)
        said = (
            f"The weights differ by a matrix of rank {found[0].rank}; of the {len(case.T)} names, the "
            f"{m} that fit it best hold {round(m * a)} of the {m} forgotten."
        )
        return [
            Measurement(
                "name read off the weights", math.nan, a, c, "a random subspace of the same rank", said,
                "2604.07386", details=dict(fingerprint=found[0]),
            )
        ]  # fmt: skip

    def relearning() -> list[Measurement]:
        targets = case.forget[:RELEARN_OF]
        k = min(4, min(int((y == c).sum()) for c in targets) // 2)
        ran = attacks.relearning(
            features()[attacks.HIDDEN], y, last_layer(clip), case.T, {c: edit for c in targets}, [k],
            arms=["un-edited", "edited", "new name"], seed=seed,
        )  # fmt: skip
        b, a, c = (r["steps"] for r in ran)
        said = (
            f"With {k} labelled images a class, recall goes from {_pc(ran[1]['recall_start'])} to "
            f"{_pc(ran[1]['recall_end'])}, and {_pc(ran[1]['back'])} of the classes reach the goal"
        )
        said += ", in fewer steps than a new name." if a < c else ", in no fewer steps than a new name."
        return [
            Measurement("relearned", b, a, c, "the class under a new name", said, "2506.01318", "steps",
                        details=dict(rows=ran))
        ]  # fmt: skip

    def before_the_projection() -> list[Measurement]:
        with folded(clip, edit):
            after = attacks.layers(clip, [data.images[i] for i in rows.tolist()])
        name = attacks.HIDDEN
        fewest = min(int((y == c).sum()) for c in case.forget)
        (p,) = attacks.layer_probe(
            {name: features()[name]}, {name: after[name]}, y, case.forget, classes=case.classes,
            folds=min(4, fewest), seed=seed,
        )  # fmt: skip
        same = "untouched, bit by bit" if p.identical else "not the same as before"
        said = f"The features in front of the last layer are {same}: whoever holds the model can read them."
        return [
            Measurement("probe before the last layer", p.before, p.after, p.control, "shuffled labels", said,
                        "2405.17878", details=dict(probe=p))
        ]  # fmt: skip

    return [
        ("fingerprint", fingerprint),
        ("relearning", relearning),
        ("before the last layer", before_the_projection),
    ]


def _thin(case: _Case, at_most: int, seed: int) -> torch.Tensor:
    """Rows of at most about ``at_most`` images, as even over classes as can be, two a class at least."""
    order = torch.randperm(len(case.y), generator=torch.Generator().manual_seed(seed))
    if len(order) <= at_most:
        return torch.arange(len(case.y))
    each = max(2, at_most // len(case.T))
    picked = [order[case.y[order] == c][:each] for c in range(len(case.T))]
    return torch.cat(picked).sort().values


def _cured(case: _Case, edit: Eraser, words: ArrayLike, owner: ArrayLike, seed: int) -> Measurement:
    """`span_names` with half of the words against none of them, as a line of the table."""
    count = -(-max(torch.bincount(torch.as_tensor(owner)).tolist()) // 2)

    def builder(T_f: torch.Tensor, T_r: torch.Tensor) -> Edit:
        return rebuild(edit, T_f, T_r)

    none, all_ = span_names(
        case.Z, case.T, case.y, case.forget, words, owner, builder, counts=(0, count), seed=seed
    )
    said = (
        f"Spanning half of the words (rank {none['rank']:.0f} → {all_['rank']:.0f}) takes recall by the "
        f"other half from {_pc(none['by_unseen'])} to {_pc(all_['by_unseen'])}, and the retained classes "
        f"from {_pc(none['retain'])} to {_pc(all_['retain'])}."
    )
    before = _recall_by(case, case.Z, *_words(case, words, owner))
    return Measurement(
        "other words, half spanned", _mean(before.tolist()), all_["by_unseen"], none["by_unseen"],
        "spanning the names alone", said, "2605.26992", details=dict(rows=[none, all_]),
    )  # fmt: skip


def _with_images(
    Z: torch.Tensor, T: torch.Tensor, y: torch.Tensor, forget: list[int], seed: int
) -> Measurement:
    """`span_prototypes` with one image a class against none, as a line of the table."""
    none, one = span_prototypes(Z, T, y, forget, counts=(0, 1), seed=seed)
    said = (
        f"Projecting one labelled image a class out too (rank {none['rank']:.0f} → {one['rank']:.0f}, and "
        f"no longer data-free) takes the retained classes from {_pc(none['retain'])} to {_pc(one['retain'])}."
    )
    return Measurement(
        "linear probe, images spanned", none["probe_before"], one["probe"], none["probe"],
        "projecting the names alone out", said, "2604.08271", details=dict(rows=[none, one]),
    )  # fmt: skip


def _title(case: _Case, edit: Eraser) -> str:
    how = edit.info.get("method", "edit") if isinstance(edit, Edit) else getattr(edit, "__name__", "edit")
    names = ", ".join(case.classes[i] for i in case.forget[:5])
    more = f" and {len(case.forget) - 5} more" if len(case.forget) > 5 else ""
    return f"Audit of '{how}', forgetting {names}{more}: {len(case.Z)} images, {len(case.T)} classes"


def _run(steps: Sequence[Step], progress: bool | None) -> tuple[list[Measurement], dict[str, str]]:
    rows: list[Measurement] = []
    skipped: dict[str, str] = {}
    with _bar(len(steps), progress) as bar:
        for name, step in steps:
            bar(name)
            try:
                rows += step()
            except (ValueError, ImportError) as error:  # what cannot be measured here is said, not hidden
                skipped[name] = " ".join(str(error).split())
    return rows, skipped


@contextlib.contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Callable[[str], Any]]:
    silent = {"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys()
    if progress is False or (progress is None and silent):
        yield lambda name: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="audit", delay=0.0 if progress else 2.0, leave=False, file=sys.stderr) as bar:

        def begin(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        yield begin


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
        The classes that the edit was to forget. By default those in ``edit.info["classes"]``, else
        the names that it moves most, as many as it has columns.
    seed : int
    progress : bool, optional
        A progress bar on stderr; by default after two seconds, and never under a test runner
        (or with ``CLIPNULL_NO_PROGRESS``).

    Returns
    -------
    AuditReport

    Raises
    ------
    ValueError
        An edit of another dimension, an unknown class, no image of a forgotten class.

    Examples
    --------
    >>> import clipnull as cn
    >>> clip, data = cn.load(), cn.datasets.load("twemoji", scenes=2)
    >>> T = clip.embed_text(data.classes, data.templates)
    >>> report = cn.audit(clip, data, cn.nullspace(T[[3]]), forget=[3])
    >>> report["forgotten, zero-shot"].after
    0.0
    """
    T = clip.embed_text(data.classes, templates=data.templates)
    if edit.dim != T.shape[1]:
        raise ValueError(
            f"edit: acts on {edit.dim} dimensions, want {T.shape[1]} like the model's embeddings"
        )
    chosen = edit.info.get("classes") if forget is None else forget
    index = _moved_most(edit, T) if chosen is None else _check.forget_set(chosen, len(T), data.classes)
    Z = clip.embed_images(data.images, progress=progress)
    case = _case(Z, T, data.labels, index, data.classes)
    words = embed_words(clip, data, index[:WORDS_OF])
    steps = _steps(case, edit, data.categories, words, clip.logit_scale, seed)
    steps += _model_steps(clip, data, case, edit, seed)
    return AuditReport(*_run(steps, progress), _title(case, edit))


def _moved_most(edit: Edit, T: torch.Tensor) -> list[int]:
    moved = (edit.apply_text(T) - T).norm(dim=1)
    return moved.argsort(descending=True, stable=True)[: edit.left.shape[1]].tolist()
