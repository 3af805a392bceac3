"""What one state of the lab gives; the parts that views draw are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from PIL import Image

from clipnull import _check
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.hull import certificate, nearest_mixture
from clipnull.lab.state import CURVES, dials
from clipnull.report import Report
from clipnull.subspace import orthonormal_basis

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

__all__ = ["LabResult"]

#: pictures that the geometry draws at most, half of them forgotten
DRAWN = 600


class Neighbour(NamedTuple):
    """A retained class: its name's cosine to the forget subspace, its change in accuracy (fraction)."""

    name: str
    cosine: float
    change: float


class Single(NamedTuple):
    """Five best names of an image with their cosines; it is a ``row`` of the data or a ``picture``."""

    before: list[tuple[str, float]]
    after: list[tuple[str, float]]
    true: str = ""
    row: int | None = None
    picture: Image.Image | None = None


class LabResult:
    """What one state gives: its ``report``, with the ``edit`` and the ``case``, and what views draw."""

    @_check.by_name
    def __init__(self, bench: Bench, state: Mapping[str, Any]) -> None:
        self.bench, self.state = bench, bench.check(state)
        self.report = bench.reported(self.state)
        self.case, self.edit = self.report.case, cast(Edit, self.report.edit)

    @cached_property
    def curve(self) -> tuple[str, list[float], dict[str, list[float]]]:
        """A method, values of its first hyperparameter, the measures there; for the projector: partial."""
        own = self.state["method"] if dials(self.state["method"]) else "partial"
        dial, state = dials(own)[0], self.bench.check({**self.state, "method": own})
        reports = [self.bench.reported({**state, dial: value}) for value in CURVES[dial]]
        return own, CURVES[dial], {
            "full recall": [r.forget_after for r in reports],
            "2-way recall": [r.n_way[2].after if r.n_way else float("nan") for r in reports],
            "kept": [r.retain_after for r in reports],
        }  # fmt: skip

    @cached_property
    def others(self) -> dict[str, Report]:
        """The reports of the other methods, but the control, at their defaults."""
        state = {**self.state, **dict.fromkeys(CURVES)}
        names = [m for m in METHODS if m not in (self.state["method"], "random")]
        return {m: self.bench.reported(self.bench.check({**state, "method": m})) for m in names}

    @cached_property
    def geometry(self) -> tuple[str, torch.Tensor, torch.Tensor, torch.Tensor, list[float]]:
        """The "pictures", or the "names" if these are edited, in the plane of two principal components.

        Points [k, 2] before and after the edit, which [k] are forgotten, and the shares of variance.
        """
        case, edit = self.case, self.edit
        if self.state["side"] == "text":
            what, X, gone = "names", case.T, torch.isin(torch.arange(len(case.T)), torch.tensor(case.forget))
            after = edit.apply_text(X, normalize=True)
        else:
            kinds, half = [mask.nonzero()[:, 0] for mask in (case.gone, ~case.gone)], DRAWN // 2
            some = [k[torch.linspace(0, len(k) - 1, half).long()] if len(k) > half else k for k in kinds]
            rows = torch.cat(some)
            what, X, gone = "pictures", case.images[rows], case.gone[rows]
            after = edit.apply_image(X, normalize=True)
        mean, axes, share = self.bench.plane(what, self.state["asked"], self.state["dimensions"])
        return what, (X.double() - mean) @ axes, (after.double() - mean) @ axes, gone, share

    @cached_property
    def destinations(self) -> list[tuple[int, int]]:
        """A picture of each name that forgotten ones are called now, the ten most frequent, and how many."""
        after, at = self.report.predicted_after, self.case.classes.index
        counts = self.report.destinations(10)
        return [(int((self.case.gone & (after == at(name))).nonzero()[0]), k) for name, k in counts]

    @cached_property
    def lost(self) -> list[int]:
        """Retained pictures that were named rightly before and are not now."""
        y, before, after = self.case.labels, self.report.predicted_before, self.report.predicted_after
        return (~self.case.gone & (before == y) & (after != y)).nonzero()[:, 0].tolist()

    @cached_property
    def neighbours(self) -> list[Neighbour]:
        """Every retained class that has pictures."""
        U = orthonormal_basis(self.bench.told(self.state).T_f)
        cosine = (self.case.T.double() @ U).norm(dim=1).tolist()
        rows = [row for row in self.report.per_class if not row.forgotten]
        return [Neighbour(r.name, cosine[r.label], r.after - r.before) for r in rows]

    @cached_property
    def mathematics(self) -> dict[str, float]:
        """The identities behind the edit, with their numbers; `clipnull.lab.views` says what each is."""
        names, edit, Z = self.bench.told(self.state), self.edit.to(torch.float64), self.case.images
        T_f, T_r, U = (x.double() for x in (names.T_f, names.T_r, orthonormal_basis(names.T_f)))
        gram = U.T @ U
        off = gram - torch.eye(len(gram)).double()
        return {
            "rank": edit.rank,
            # P² − P = U (UᵀU − I) Uᵀ, its norm without a d x d matrix
            "idempotence": float((off @ gram @ off @ gram).trace().clamp_min(0).sqrt()),
            "forget_residual": float(edit.apply_text(T_f).norm()),
            "retain_moved": float((edit.apply_text(T_r) - T_r).norm()),
            "norm_taken": float((1 - edit.image_norms(Z) / Z.norm(dim=1)).double().mean()),
            "certificate": float(self.certificate.max()),
            "shorter": self.shorter,
        }

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
        return _check.share(kept[self.case.scores[:, kept].argmax(1)] == self.report.predicted_after)

    @cached_property
    def triangle(self) -> tuple[torch.Tensor, torch.Tensor, tuple[float, float]]:
        """Weights [m, 2] of mean and nearest mixture that come nearest to each forgotten name.

        Before, and after with the anchors where the edit sends them; then the mean distances that are left.
        """
        names, case = self.bench.told(self.state), self.case
        t, m = case.T_f.double(), len(case.T_f)
        corners = [names.T_r.double().mean(0).expand(m, -1), nearest_mixture(names.T_f[:m], names.T_r).H]

        def weights(x: torch.Tensor, *anchors: torch.Tensor) -> tuple[torch.Tensor, float]:
            A = torch.stack(anchors, 2)
            w = torch.linalg.lstsq(A, x[:, :, None]).solution
            return w[:, :, 0], float((A @ w - x[:, :, None]).norm(dim=1).mean())

        edit = self.edit.to(torch.float64)
        before, off = weights(t, *corners)
        after, left = weights(*(edit.apply_text(x) for x in (t, *corners)))
        return before, after, (off, left)

    @cached_property
    def single(self) -> Single:
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
