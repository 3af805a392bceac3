"""All methods, all measurements, one table: what an edit buys and what it does not.

Every method forgets the same classes and meets the same readers, so that a row is a method's
character and a column is a question. The measurements are those of `clipnull.audit` and
`clipnull.attacks`, in their quick settings.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from clipnull import _check, attacks
from clipnull._check import ArrayLike
from clipnull.audit import (
    Builder,
    Eraser,
    calibration_error,
    collateral,
    confidence,
    edited,
    leace,
    other_words,
    probabilities,
    prototypes,
)
from clipnull.erasers import Edit, build, consistent, nullspace
from clipnull.evaluate import _argmax, drop_label

__all__ = ["MEASURES", "METHODS", "Measure", "Scorecard", "scorecard"]

#: shares of names in a span that are nearer to each other than this are the same
TIED = 1e-8


@dataclass(frozen=True)
class Measure:
    """A column of the scorecard.

    Attributes
    ----------
    title : str
        As a table shows it.
    means : str
    low : bool
        Whether low is better.
    unit : {"%", "steps"}
    """

    title: str
    means: str
    low: bool
    unit: str = "%"

    def show(self, value: float) -> str:
        """A value as printed; fractions in percent."""
        if math.isnan(value):
            return "–"
        return f"{100 * value:.0f}" if self.unit == "%" else f"{value:.0f}"


#: what is measured, in the order of the table
MEASURES: dict[str, Measure] = {
    "forget": Measure("forgotten,\nby name", "zero-shot recall of the forgotten classes", True),
    "retain": Measure("others kept", "accuracy on the others, as a share of that before", False),
    "neighbours": Measure("nearest\nkept", "the same for the five nearest classes", False),
    "words": Measure("other\nwords", "share of unseen words that bring the class back", True),
    "probe": Measure("linear\nprobe", "recall by a ridge probe on the edited embeddings", True),
    "one image": Measure("one image\na class", "recall by the nearest of one-image prototypes", True),
    "conformal": Measure("conformal\nset", "forgotten images whose 90% set holds the true class", True),
    "calibration": Measure("calibration\nerror", "expected calibration error on the others", True),
    "weights": Measure("named by\nweights", "share of the forgotten names read off the two layers", True),
    "relearn": Measure(
        "steps to\nrelearn", "steps to half recall, with one image of the class", False, "steps"
    ),
}

#: rows of the table
METHODS: dict[str, str] = {
    "no edit": "the model as it was",
    "nullspace": "names projected out, α = 1",
    "partial": "the same at α = 0.5",
    "ccup": "CCUP",
    "anchored": "anchored at the mean",
    "multi-name": "anchored at the mean, spanning half of the other words too",
    "with images": "nullspace of the names and one labelled image a class",
    "leace": "LEACE, fitted on labelled images of all classes",
    "drop the label": "no edit; the names struck off the candidates",
    "random": "control: a random subspace of the names' rank",
}


@dataclass(frozen=True)
class Scorecard:
    """Methods by measurements, for several numbers of forgotten classes.

    Attributes
    ----------
    values : dict of (size, method) to dict of str to float
        Fractions, or steps; NaN where a method has no such value.
    new_name : dict of int to float
        By size, the steps in which the un-edited model learns a made-up name for the same classes:
        what "relearn" would be if nothing of the name were left.
    skipped : dict of str to str
        Method -> why it is not in the table.
    draws : dict of int to int
        By size, forget sets averaged over.
    """

    values: dict[tuple[int, str], dict[str, float]]
    new_name: dict[int, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    draws: dict[int, int] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        """Numbers of forgotten classes."""
        return list(dict.fromkeys(size for size, _ in self.values))

    @property
    def methods(self) -> list[str]:
        """Methods in the table."""
        return list(dict.fromkeys(method for _, method in self.values))

    @property
    def measures(self) -> dict[str, Measure]:
        """`MEASURES`, the columns."""
        return MEASURES

    def __getitem__(self, key: tuple[int, str]) -> dict[str, float]:
        """Measurements of ``scorecard[size, method]``."""
        return self.values[key]

    def cells(self, size: int) -> list[list[str]]:
        """One row a method: its name and its values as printed."""
        return [[m, *(k.show(self[size, m][n]) for n, k in MEASURES.items())] for m in self.methods]

    def goodness(self, size: int) -> torch.Tensor:
        """How good each value is [methods, measures], from 0 to 1; NaN where there is none.

        Recalls are read against the un-edited model (0) and zero (1); what is kept, from half of it
        (0) to all of it (1); calibration, from 25 points of error (0) to none (1); steps, against a
        new name (1).
        """
        bare = self[size, "no edit"]

        def one(name: str, value: float) -> float:
            if name in ("retain", "neighbours"):
                return 2 * value - 1
            if name == "relearn":
                return value / max(self.new_name.get(size, math.nan), 1e-9)
            if name == "calibration":
                return 1 - 4 * value
            return 1 - value / (1.0 if name == "weights" else max(bare[name], 1e-9))

        rows = [[one(name, self[size, m][name]) for name in MEASURES] for m in self.methods]
        return torch.tensor(rows, dtype=torch.float64).clamp(0, 1)

    def best(self, size: int, by: str, **limits: tuple[str, float]) -> str | None:
        """The edit that does best in one measurement among those within limits; None if there is none.

        Parameters
        ----------
        size : int
        by : str
            Key of `MEASURES`.
        **limits : ("<=" or ">=", float)
            For instance ``forget=("<=", 0.05)``. Keys of `MEASURES`, spaces as underscores.

        Notes
        -----
        "no edit", "drop the label" and the control are no edits and are never the answer. Of equals the one
        that keeps most of the others is.
        """
        _check.one_of("by", by, MEASURES)
        fitting = []
        for method in self.methods:
            row = self[size, method]
            if method in ("no edit", "drop the label", "random") or math.isnan(row[by]):
                continue
            for name, (relation, bound) in limits.items():
                value = row[name.replace("_", " ")]
                if not (value <= bound if relation == "<=" else value >= bound):
                    break
            else:
                fitting.append(method)
        sign = 1 if MEASURES[by].low else -1
        return min(fitting, key=lambda m: (sign * self[size, m][by], -self[size, m]["retain"]), default=None)

    def __str__(self) -> str:
        heads = [m.title.replace("\n", " ") for m in MEASURES.values()]
        blocks = []
        for size in self.sizes:
            cells = [[f"{size} forgotten", *heads], *self.cells(size)]
            wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
            lines = [
                row[0].ljust(wide[0]) + "".join(f"  {c:>{w}}" for c, w in zip(row[1:], wide[1:], strict=True))
                for row in cells
            ]
            blocks.append("\n".join(lines))
        return "\n\n".join([*blocks, *(f"not measured: {m} ({why})" for m, why in self.skipped.items())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            return "<tr>" + "".join(
                f"<{tag} style='text-align:{'left' if i == 0 else 'right'}'>{html.escape(c)}</{tag}>"
                for i, c in enumerate(cells)
            ) + "</tr>"  # fmt: skip

        units = [
            f"{m.title.replace(chr(10), ' ')}, {m.unit} ({'low' if m.low else 'high'})"
            for m in MEASURES.values()
        ]
        body = ""
        for size in self.sizes:
            body += row("th", [f"{size} forgotten", *units])
            body += "".join(row("td", cells) for cells in self.cells(size))
        left = "".join(
            f"<p>Not measured: {html.escape(m)} ({html.escape(w)}).</p>" for m, w in self.skipped.items()
        )
        return f"<table>{body}</table>{left}"


#: forget sets of a size
DRAWS = {1: 4, 10: 1, 50: 1}
#: classes that are trained back, at most, in each forget set
RELEARN_OF = 3


def scorecard(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    H: ArrayLike,
    weight: ArrayLike,
    words: ArrayLike,
    owner: ArrayLike,
    made_up: ArrayLike,
    sizes: Sequence[int] = (1, 10, 50),
    draws: Mapping[int, int] | int | None = None,
    methods: Sequence[str] = tuple(METHODS),
    extra: Mapping[str, Builder] | None = None,
    scale: float = 100.0,
    folds: int = 3,
    seed: int = 0,
) -> Scorecard:
    """Compare the methods across all measurements.

    Parameters
    ----------
    Z, T, labels
        As in `clipnull.evaluate`; at least six images of each class.
    H, weight : array [n, w], array [w, d]
        Features before the projection and the last layer (`clipnull.attacks.layers`,
        `clipnull.model.last_layer`).
    words, owner : array [k, d], array of int [k]
        Other words and the class that each stands for (`clipnull.audit.embed_words`). Of each
        class's words every other one may be spanned; only the rest is tried on the edits.
    made_up : array [q, d]
        Embeddings of words without a meaning: the control of the words, and new names to learn.
    sizes : sequence of int
        Numbers of forgotten classes.
    draws : int or mapping of int to int, optional
        Random forget sets of each size; by default `DRAWS`, else 1. Classes with words are drawn.
    methods : sequence of str
        Keys of `METHODS`; "no edit" is added, as the rest is read against it.
    extra : dict of str to callable, optional
        Methods of your own: name -> ``(T_f, T_r) -> Edit``.
    scale : float
        The model's ``logit_scale``.
    folds : int
        Of the probe's cross-validation.
    seed : int

    Returns
    -------
    Scorecard

    Raises
    ------
    ValueError
        Bad arrays, an unknown method, a size that leaves no class, too few classes with words.

    Notes
    -----
    Half of each class's images, drawn at random, may be used to make an edit, and no method is
    measured on them: LEACE is fitted on them, "with images" spans the first one of each forgotten
    class. LEACE's guarantee is for the embeddings it was fitted on, as they leave the eraser; here it
    meets new ones, and all embeddings are scaled to unit length after the edit, as CLIP does. It is
    affine and no edit of the last layer, so "named by weights" and "steps to relearn" are left out.
    """
    Z = _check.rows("Z", Z).detach()
    T = _check.rows("T", T, nonzero=True).detach().to(Z)
    y = _check.labels("labels", labels, len(Z), len(T))
    H = _check.rows("H", H).detach().to(Z)
    P = _check.rows("weight", weight, T.shape[1]).detach().to(Z)
    W = _check.rows("words", words, T.shape[1], nonzero=True).detach().to(Z)
    nonsense = _check.rows("made_up", made_up).detach().to(Z)
    who = _check.labels("owner", owner, len(W), len(T))
    own = dict(extra or {})
    asked = list(dict.fromkeys(["no edit", *(_check.one_of("methods", m, METHODS) for m in methods), *own]))
    able = who.unique()
    if not 1 <= max(sizes) <= len(able) or max(sizes) >= len(T):
        raise ValueError(
            f"sizes: got {list(sizes)}, want 1 to {min(len(able), len(T) - 1)}, the classes with other words"
        )
    counts = {m: draws if isinstance(draws, int) else (draws or DRAWS).get(m, 1) for m in sizes}
    g = torch.Generator().manual_seed(seed)
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    fresh: dict[int, list[float]] = {m: [] for m in sizes}
    skipped: dict[str, str] = {}
    for size in sizes:
        for _ in range(counts[size]):
            forget = sorted(able[torch.randperm(len(able), generator=g)[:size]].tolist())
            trial = _Trial(Z, T, y, H, P, W, who, nonsense, forget, own, scale, folds, g)
            fresh[size].append(trial.relearn(None, "new name"))
            for method in asked:
                try:
                    row = trial.row(method)
                except ImportError as error:
                    skipped[method] = str(error)
                else:
                    found.setdefault((size, method), []).append(row)
    values = {key: {k: _mean([r[k] for r in rows]) for k in MEASURES} for key, rows in found.items()}
    return Scorecard(values, {m: _mean(x) for m, x in fresh.items()}, skipped, counts)


def _mean(values: Sequence[float]) -> float:
    """Mean of the values there are."""
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _ratio(after: float, before: float) -> float:
    return after / before if before else math.nan


class _Trial:
    """One forget set, and every method's row for it."""

    def __init__(
        self,
        Z: torch.Tensor,
        T: torch.Tensor,
        y: torch.Tensor,
        H: torch.Tensor,
        P: torch.Tensor,
        W: torch.Tensor,
        who: torch.Tensor,
        made_up: torch.Tensor,
        forget: list[int],
        own: Mapping[str, Builder],
        scale: float,
        folds: int,
        generator: torch.Generator,
    ) -> None:
        self.seed = int(torch.randint(2**31, (), generator=generator))
        # half of each class's images may be used to make an edit; the other half is measured on
        order = torch.randperm(len(Z), generator=generator)
        of_label = [order[y[order] == c] for c in range(len(T))]
        use = torch.cat([ids[: len(ids) // 2] for ids in of_label])
        rest = torch.cat([ids[len(ids) // 2 :] for ids in of_label])
        self.Z, self.y, self.T, self.P = Z[rest], y[rest], T, P
        self.used, self.used_y = Z[use], y[use]
        first = torch.stack([of_label[c][0] for c in forget])
        self.images, trained = Z[first], torch.ones(len(Z), dtype=torch.bool)
        trained[first] = False
        self.H, self.H_y = H[trained], y[trained]
        self.forget, self.retain = forget, [c for c in range(len(T)) if c not in forget]
        of_class = [(who == c).nonzero()[:, 0] for c in forget]
        # a word alone is measured; of more, every other one may be spanned
        unseen = torch.cat([ids[::2] for ids in of_class])
        self.spanned = W[torch.cat([ids[1::2] for ids in of_class])]
        self.words: dict[str, Any] = dict(words=W[unseen], owner=who[unseen], made_up=made_up)
        self.made_up, self.own, self.scale, self.folds = made_up, own, scale, folds
        self.gone = torch.isin(self.y, torch.tensor(forget))
        bare = drop_label(self.Z, T, self.y, forget)
        self.kept, self.dropped = bare.retain_before, bare.predicted_after
        near = collateral(self.Z, T, self.y, forget, self.edit("no edit"), seeds=1)[0]
        self.beside, self.beside_kept = torch.isin(self.y, near.details["index"][:5]), near.before
        self.inverse, self.numbers = attacks._inverse(P), [str(c) for c in range(len(T))]

    def edit(self, method: str) -> Eraser:
        """The edit of a row of the table."""
        T_f, T_r = self.T[self.forget], self.T[self.retain]
        if method in ("no edit", "drop the label"):
            nothing = self.T.new_zeros(self.T.shape[1], 0)
            return Edit(nothing, nothing, {"method": method})
        if method == "multi-name":
            return consistent(torch.cat([T_f, self.spanned]), T_r, anchor="mean")
        if method == "with images":
            return nullspace(torch.cat([T_f, self.images]))
        if method in self.own:
            return self.own[method](T_f, T_r)
        if method == "leace":
            return leace(self.used, self.used_y, self.forget)
        return build(method, T_f, T_r, seed=self.seed)

    def row(self, method: str) -> dict[str, float]:
        """All measurements of one method."""
        edit, struck = self.edit(method), method == "drop the label"
        everything = (self.Z, self.T, self.y, self.forget)
        X = edited(self.Z, edit)
        predicted = self.dropped if struck else _argmax(X @ self.T.T)
        sure = {m.name: m for m in confidence(*everything, edit, self.scale, seed=self.seed)}
        p = probabilities(X, self.T, self.scale)
        if struck:
            p[:, self.forget] = 0
            p = p / p.sum(1, keepdim=True)
        prototype = prototypes(X, self.y, 1, draws=3, seed=self.seed)
        tried = (prototype >= 0) & self.gone
        return {
            "forget": self._share(predicted, self.gone),
            "retain": _ratio(self._share(predicted, ~self.gone), self.kept),
            "neighbours": _ratio(self._share(predicted, self.beside), self.beside_kept),
            "words": self._words(edit),
            "probe": self._share(
                attacks.ridge_probe(X, self.y, self.folds, self.seed), self.gone
            ),
            "one image": float((prototype == self.y)[tried].double().mean()),
            "conformal": 0.0 if struck else sure["true class in conformal set"].after,
            "calibration": calibration_error(p[~self.gone], self.y[~self.gone])[0],
            "weights": self._named(edit),
            "relearn": self.relearn(edit, "edited") if isinstance(edit, Edit) else math.nan,
        }  # fmt: skip

    def _share(self, predicted: torch.Tensor, mask: torch.Tensor) -> float:
        return float((predicted == self.y)[mask].double().mean())

    def _words(self, edit: Eraser) -> float:
        (row,) = other_words(self.Z, self.T, self.y, self.forget, edit, **self.words, seed=self.seed)
        return float(row.details["back"].double().mean())

    def _named(self, edit: Eraser) -> float:
        """Share of the forgotten names among as many first ones of the fingerprint.

        An edit of high rank may hold all names, so that they tie: then this is what a draw gives on
        average.
        """
        if not isinstance(edit, Edit):
            return math.nan
        found = attacks._read(self.P, self.inverse, edit.apply_image(self.P), self.T.double(), self.numbers)
        if not found.rank:
            return 0.0
        score, k = found.scores["either"], len(self.forget)
        last = score.topk(k).values[-1]
        sure, tied = score > last + TIED, (score - last).abs() <= TIED
        drawn = (k - sure.sum()) / tied.sum()
        return float((sure[self.forget].sum() + drawn * tied[self.forget].sum()) / k)

    def relearn(self, edit: Edit | None, arm: str) -> float:
        """Steps to half recall with one image, mean over classes; those never back count the most."""
        steps, most = [], 40
        for i, c in enumerate(self.forget[:RELEARN_OF]):
            layer, names = (self.P if edit is None else edit.apply_image(self.P)), self.T
            if arm == "new name":
                names = self.T.clone()
                names[c] = self.made_up[i % len(self.made_up)]
            run = attacks.relearn(
                self.H, self.H_y, layer, names, c, 1, goal=0.5, max_steps=most, norm=float(self.P.norm()),
                scale=self.scale, others=1, seed=self.seed,
            )  # fmt: skip
            steps.append(most if run.steps is None else run.steps)
        return _mean(steps)
