"""What one state of the lab gives; the parts that views draw are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from clipnull import _check
from clipnull.erasers import METHODS
from clipnull.hull import certificate
from clipnull.lab.state import CURVES, dials

if TYPE_CHECKING:
    from PIL import Image

    from clipnull.lab.bench import Bench
    from clipnull.report import Report

__all__ = ["LabResult"]

#: pictures that the geometry draws at most, half of them forgotten
DRAWN = 600


class Line(NamedTuple):
    """Full and 2-way recall and retain accuracy after (fractions) along a hyperparameter's values."""

    values: list[float]
    forget: list[float]
    two_way: list[float]
    retain: list[float]


class Geometry(NamedTuple):
    """Points [k, 2] of "pictures" or "names" before and after the edit, and which [k] are forgotten."""

    what: str
    before: torch.Tensor
    after: torch.Tensor
    forgotten: torch.Tensor
    explained: list[float]

    @property
    def step(self) -> tuple[float, float]:
        """Mean distance from before to after, of the forgotten points and of the others; NaN without any."""
        step = (self.after - self.before).norm(dim=1)
        return float(step[self.forgotten].mean()), float(step[~self.forgotten].mean())


class Triangle(NamedTuple):
    """Weights [m, 2] of mean and nearest mixture that come nearest to each forgotten name, before and after.

    The anchors are taken where the edit sends them; ``off`` are the mean distances that are left.
    """

    before: torch.Tensor
    after: torch.Tensor
    off: tuple[float, float]


class Became(NamedTuple):
    """A picture that is called ``now`` and how many are; ``row`` and ``now_row``: pictures of the data."""

    row: int
    true: str
    now: str
    now_row: int | None
    times: int = 1


class Neighbour(NamedTuple):
    """A retained class: its name's cosine to the forget subspace, its change in accuracy (fraction)."""

    name: str
    cosine: float
    change: float


class Mathematics(NamedTuple):
    """The identities behind an edit; `clipnull.lab.draw.IDENTITIES` says what each is."""

    rank: float
    idempotence: float
    forget_residual: float
    retain_moved: float
    norm_taken: float
    certificate: float
    shorter: float


class Single(NamedTuple):
    """Five best names of an image with their cosines; it is a ``row`` of the data or a ``picture``."""

    before: list[tuple[str, float]]
    after: list[tuple[str, float]]
    true: str = ""
    row: int | None = None
    picture: Image.Image | None = None


class LabResult:
    """What one state gives.

    Attributes
    ----------
    state : dict
    edit : Edit
    case : Case
    report : Report
    """

    @_check.by_name
    def __init__(self, bench: Bench, state: Mapping[str, Any]) -> None:
        state = bench.check(state)
        self.bench, self.state = bench, state
        self.edit, self.case = bench.edit(state), bench.case(state)
        self.report = self.case.evaluate(self.edit, state["side"])

    @cached_property
    def curve(self) -> tuple[str, Line]:
        """The method, and accuracies along its first hyperparameter; of the projector, the partial one's."""
        own = self.state["method"] if dials(self.state["method"]) else "partial"
        state, dial = self.bench.check({**self.state, "method": own}), dials(own)[0]
        reports = [self.bench.reported({**state, dial: value}) for value in CURVES[dial]]
        two_way = [r.n_way[2].after if r.n_way else float("nan") for r in reports]
        forget, retain = [r.forget_after for r in reports], [r.retain_after for r in reports]
        return own, Line(CURVES[dial], forget, two_way, retain)

    @cached_property
    def others(self) -> dict[str, Report]:
        """The reports of the other methods, but the control, at their defaults."""
        state = {**self.state, **dict.fromkeys(CURVES)}
        names = [m for m in METHODS if m not in (self.state["method"], "random")]
        return {m: self.bench.reported(self.bench.check({**state, "method": m})) for m in names}

    @cached_property
    def geometry(self) -> Geometry:
        """The pictures, or if the texts are edited the names, in the plane of two principal components."""
        case, edit = self.case, self.edit
        if self.state["side"] == "text":
            what, X, gone = "names", case.T, torch.isin(torch.arange(len(case.T)), torch.tensor(case.forget))
            after = edit.apply_text(X, normalize=True)
        else:
            kinds = (case.gone.nonzero()[:, 0], (~case.gone).nonzero()[:, 0])
            rows = torch.cat([_spread(kind, DRAWN // 2) for kind in kinds])
            what, X, gone = "pictures", case.images[rows], case.gone[rows]
            after = edit.apply_image(X, normalize=True)
        mean, axes, share = self.bench.plane(what, self.state["asked"], self.state["dimensions"])
        return Geometry(what, (X.double() - mean) @ axes, (after.double() - mean) @ axes, gone, share)

    def _became(self, i: int, times: int = 1) -> Became:
        """Row ``i`` beside the first picture of the class that it is called now."""
        now = int(self.report.predicted_after[i])
        names = self.case.classes
        there = self.bench.where(names[now])
        return Became(i, names[int(self.case.labels[i])], names[now], there[0] if there else None, times)

    @cached_property
    def destinations(self) -> list[Became]:
        """One picture for each name that forgotten ones are called now, the ten most frequent."""
        after, at = self.report.predicted_after, self.case.classes.index
        counts = self.report.destinations(10)
        return [self._became(int((self.case.gone & (after == at(n))).nonzero()[0]), k) for n, k in counts]

    @cached_property
    def lost(self) -> list[Became]:
        """Retained pictures that were named rightly before and are not now."""
        y, before, after = self.case.labels, self.report.predicted_before, self.report.predicted_after
        lost = ~self.case.gone & (before == y) & (after != y)
        return [self._became(i) for i in lost.nonzero()[:, 0].tolist()]

    @cached_property
    def neighbours(self) -> list[Neighbour]:
        """Every retained class that has pictures."""
        cosine = (self.case.T.double() @ self.bench.erasers(self.state).basis).norm(dim=1).tolist()
        rows = [row for row in self.report.per_class if not row.forgotten]
        return [Neighbour(r.name, cosine[r.label], r.after - r.before) for r in rows]

    @cached_property
    def mathematics(self) -> Mathematics:
        """The identities behind the edit, with their numbers."""
        names, edit, Z = self.bench.erasers(self.state), self.edit.to(torch.float64), self.case.images
        T_f, T_r, U = (x.double() for x in (names.T_f, names.T_r, names.basis))
        gram = U.T @ U
        off = gram - torch.eye(len(gram)).double()
        return Mathematics(
            rank=float(edit.rank),
            # P² − P = U (UᵀU − I) Uᵀ, its norm without a d x d matrix
            idempotence=float((off @ gram @ off @ gram).trace().clamp_min(0).sqrt()),
            forget_residual=float(edit.apply_text(T_f).norm()),
            retain_moved=float((edit.apply_text(T_r) - T_r).norm()),
            norm_taken=float((1 - edit.image_norms(Z) / Z.norm(dim=1)).double().mean()),
            certificate=float(self.certificate.max()),
            shorter=self.shorter,
        )

    @cached_property
    def certificate(self) -> torch.Tensor:
        """`clipnull.hull.certificate` [m] of the forgotten names among all kept ones."""
        case, image = self.case, self.state["side"] == "image"
        kept = case.T[case.retain]
        return certificate(self.edit, case.T[case.forget], kept, "image" if image else "text")

    @property
    def shorter(self) -> float:
        """Share of images whose answer is that of the unedited model without the forgotten names."""
        kept = torch.tensor(self.case.retain)
        return float(
            (kept[self.case.scores[:, kept].argmax(1)] == self.report.predicted_after).double().mean()
        )

    @cached_property
    def triangle(self) -> Triangle:
        """Where the forgotten names stand between the origin, the mean and their nearest mixtures."""
        names, case = self.bench.erasers(self.state), self.case
        t, m = case.T_f.double(), len(case.T_f)
        corners = [names.T_r.double().mean(0).expand(m, -1), names.mixtures.H[:m]]

        def weights(x: torch.Tensor, *anchors: torch.Tensor) -> tuple[torch.Tensor, float]:
            A = torch.stack(anchors, 2)
            w = torch.linalg.lstsq(A, x[:, :, None]).solution
            return w[:, :, 0], float((A @ w - x[:, :, None]).norm(dim=1).mean())

        edit = self.edit.to(torch.float64)
        before, off = weights(t, *corners)
        after, left = weights(*(edit.apply_text(x) for x in (t, *corners)))
        return Triangle(before, after, (off, left))

    @cached_property
    def single(self) -> Single:
        """The picture that the state names."""
        i = self.state["image"]
        true = self.case.classes[int(self.case.labels[i])]
        return self.top5(self.bench.Z[i : i + 1])._replace(true=true, row=i)

    def top5(self, z: torch.Tensor) -> Single:
        """Five best names with their cosines before and after, for one embedding ``z [1, d]``."""
        T, side, z = self.case.T, self.state["side"], self.bench.squeezed(z, self.state["dimensions"])
        z_after = self.edit.apply_image(z, normalize=True) if side != "text" else z
        T_after = self.edit.apply_text(T, normalize=True) if side != "image" else T

        def best(scores: torch.Tensor) -> list[tuple[str, float]]:
            top = scores.topk(min(5, len(T)))
            names = [self.case.classes[i] for i in top.indices.tolist()]
            return list(zip(names, top.values.tolist(), strict=True))

        return Single(best((z @ T.T)[0]), best((z_after @ T_after.T)[0]))


_check.TYPES["LabResult"] = lambda name, value: _check.having(name, [value], "state report edit")[0]


def _spread(rows: torch.Tensor, k: int) -> torch.Tensor:
    """At most ``k`` of the rows, evenly spaced."""
    return rows[torch.linspace(0, len(rows) - 1, k).long()] if len(rows) > k else rows
