"""What the lab computes from its state; views draw parts of a result, computed when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from PIL import Image

from clipnull import _check
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.pictures import PHOTO, Images, LabelledImages
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.evaluation import SIDES, Case
from clipnull.hull import certificate, nearest_mixture
from clipnull.lab.state import CURVES, DEFAULT_STATE, EVERY, EXAMPLES, PARTS, TITLES, dials
from clipnull.model.clip import Clip
from clipnull.report import Report
from clipnull.solver import ConsistentSolver
from clipnull.subspace import fix_signs, orthonormal_basis

__all__ = ["Bench", "LabResult"]

DRAWN = 600  # pictures that the geometry draws at most, half of them forgotten


class Bench:
    """A table to play at: embeddings of pictures and names, and everything the lab asks of them.

    ``clip`` is None where ``data`` are embeddings, of images too. Class names are distinct, for the lab knows
    a class by its name. ``Z`` [n, d] and ``labels`` [n] are of the images.
    """

    @_check.by_name
    def __init__(self, clip: Clip | None, data: LabelledImages | Embeddings) -> None:
        if not isinstance(data, (LabelledImages, Embeddings)):
            raise ValueError(f"data: got {type(data).__name__}, want LabelledImages or Embeddings")
        if twice := [name for name in data.classes if data.classes.count(name) > 1]:
            way = "want distinct names; give them with dataclasses.replace(data, classes=[...])"
            raise ValueError(f"data: more than one class is called {twice[0]!r}, {way}")
        if isinstance(data, LabelledImages):
            if clip is None:
                raise ValueError("clip: got None, want a model for these pictures")
            self.Z, self.labels = clip.embed_images(data.images), data.labels
        elif data.Z is None or data.labels is None:
            raise ValueError("data: has names and no images, want image embeddings too")
        else:
            self.Z, self.labels, clip = data.Z, data.labels, None
        self.clip, self.data = clip, data
        self.categories: list[str] = getattr(data, "categories", [])
        self.images: Images | None = getattr(data, "images", None)
        self.names, self.plane = lru_cache(None)(self._names), lru_cache(4)(self._plane)
        self.scored, self._read = lru_cache(4)(self._scored), lru_cache(4)(self._told)
        self._reports = lru_cache(32)(self._report)
        self._solver = lru_cache(4)(lambda told: ConsistentSolver(told.T_f, told.T_r))  # for all λ and μ

    @cached_property
    def prompts(self) -> list[str]:
        """What names can be asked with; "", the first, is the table's own prompt."""
        if isinstance(self.data, Embeddings):
            return ["", *self.data.prompts]
        others = dict.fromkeys([*PHOTO, "{}", *self.data.templates])
        return ["", *(template for template in others if [template] != self.data.templates)]

    def _names(self, prompt: str = "") -> torch.Tensor:
        if isinstance(self.data, Embeddings):
            return self.data.prompts[prompt] if prompt else self.data.T
        templates = [prompt] if prompt else self.data.templates
        return self.clip.embed_text(self.data.classes, templates=templates)  # type: ignore[union-attr]

    @cached_property
    def _main(self) -> torch.Tensor:
        """Principal directions [d, C] of the names, the largest first."""
        return torch.linalg.svd(self.names(), full_matrices=False).Vh.T

    def squeezed(self, X: torch.Tensor, dimensions: int | None) -> torch.Tensor:
        """Rows of X [n, d] in the main dimensions of the names, unit rows again; all of them: as they are."""
        return X if dimensions is None else F.normalize(X @ self._main[:, :dimensions], dim=1)

    def embed_picture(self, image: Image.Image) -> torch.Tensor:
        """Embedding [1, d] of a picture that is not in the data, for `LabResult.top5`."""
        if self.clip is None:
            raise ValueError("picture: this table has embeddings and no model, want one with pictures")
        return F.normalize(self.clip.embed_images([image]), dim=1)

    def where(self, name: str) -> list[int]:
        return (self.labels == self.data.classes.index(name)).nonzero()[:, 0].tolist()

    def _scored(self, prompt: str = "", dimensions: int | None = None) -> Case:
        """The `Case` of all images and of names under a prompt, scored once, its first class to forget."""
        Z, T = (self.squeezed(X, dimensions) for X in (self.Z, self.names(prompt)))
        case = Case(Z, T, self.labels, [0], classes=self.data.classes)
        assert len(case.scores) == len(case.predicted)  # now: other forget sets share what is there
        return case

    @property
    def first(self) -> dict[str, Any]:
        """`DEFAULT_STATE`; where its class has no images, with the one that has most."""
        known = all(name in self.data.classes and self.where(name) for name in DEFAULT_STATE["forget"])
        most = self.data.classes[int(torch.bincount(self.labels).argmax())]
        return {**DEFAULT_STATE, "forget": DEFAULT_STATE["forget"] if known else [most]}

    @_check.by_name
    def check(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state`` completed from `first` and checked: a category becomes names, a hyperparameter that is
        None, or "auto" where the method has no such rule, its default, and one that it has not None."""
        if unknown := set(state) - set(DEFAULT_STATE):
            raise ValueError(f"state: unknown key {sorted(unknown)[0]!r}, want {', '.join(DEFAULT_STATE)}")
        full, names, asked = {**self.first, **state}, self.data.classes, self.prompts
        options = {"method": TITLES, "side": SIDES, "asked": asked, "told": [*asked, EVERY]}
        for key, known in options.items():
            _check.one_of(key, full[key], known)
        method, own = METHODS[full["method"]], dials(full["method"])
        for key in CURVES:
            rule = full[key] == "auto" and key == "mu"
            if key not in own:
                full[key] = None
            elif full[key] is None or (rule and "lam" in own):  # the rule is for λ = ∞ alone
                full[key] = method.defaults.get(key, 1.0)
            elif not rule:
                high = 1.0 if key in PARTS else float("inf")
                full[key] = _check.number(key, full[key], 0.0, high, allow_inf=key == "lam")
        full["listed"] = _check.number("listed", full["listed"], 0.0, 1.0)
        if full["dimensions"] is not None:
            full["dimensions"] = _check.whole("dimensions", full["dimensions"], 2, self.Z.shape[1])
        full["seed"] = _check.whole("seed", full["seed"], 0, 2**31 - 1)
        forget = _check.plain(full["forget"])
        if isinstance(forget, str) and forget in self.categories:
            forget = [i for i, category in enumerate(self.categories) if category == forget]
        full["forget"] = [names[i] for i in _check.forget_set(forget, len(names), names)]
        if full["image"] is None:
            full["image"] = next(iter(self.where(full["forget"][0])), 0)
        full["image"] = _check.whole("image", full["image"], 0, len(self.Z) - 1)
        return full

    def listed(self, state: Mapping[str, Any]) -> tuple[int, ...] | None:
        """The kept classes that the eraser of a checked state is told of; None: all."""
        if state["listed"] == 1:
            return None
        kept = [i for i, name in enumerate(self.data.classes) if name not in state["forget"]]
        told = torch.randperm(len(kept), generator=torch.Generator().manual_seed(state["seed"]))
        return tuple(sorted(kept[i] for i in told[: max(1, round(state["listed"] * len(kept)))].tolist()))

    def told(self, state: Mapping[str, Any]) -> Case:
        """The names that the eraser of a checked state reads, with T_f and T_r."""
        return self._read(tuple(state["forget"]), self.listed(state), state["told"], state["dimensions"])

    def _told(self, forget: Any, listed: Any, prompt: str, dimensions: int | None) -> Case:
        own, *others = self.prompts if prompt == EVERY else [prompt]
        T, *more = (self.squeezed(self.names(p), dimensions) for p in (own, *others))
        return Case(None, T, None, forget, self.data.classes, listed, torch.stack(more) if more else None)

    def reported(self, state: Mapping[str, Any]) -> Report:
        """The `Report` of a checked state, kept; the picture shown does not change it."""
        items = ((k, tuple(v) if k == "forget" else v) for k, v in state.items() if k != "image")
        return self._reports(tuple(items))

    def _report(self, items: tuple[tuple[str, Any], ...]) -> Report:
        state = dict(items)
        scored, told = self.scored(state["asked"], state["dimensions"]), self.told(state)
        method, chosen = METHODS[state["method"]], {k: state[k] for k in dials(state["method"])}
        if "lam" in method.defaults:
            edit = self._solver(told).edit(**{**method.defaults, **chosen})
        else:
            edit = method.make(told.T_f, told.T_r, state["seed"], **chosen)
        return scored.forgetting(state["forget"], self.listed(state)).evaluate(edit, state["side"])

    def compute(self, state: Mapping[str, Any]) -> LabResult:
        """Everything that the views draw for a state. Pure: the same state, the same result."""
        return LabResult(self, state)

    def _plane(self, what: str, prompt: str, dimensions: int | None) -> tuple[Any, Any, list[float]]:
        """Mean [d] and principal axes [d, 2] of "pictures" or "names", and the axes' shares of variance."""
        case = self.scored(prompt, dimensions)
        every = (case.images if what == "pictures" else case.T).double()
        variance, V = torch.linalg.eigh(torch.cov(every.T, correction=0))
        share = variance.flip(0)[:2].clamp_min(0) / variance.sum().clamp_min(1e-300)
        return every.mean(0), fix_signs(V.flip(1)[:, :2]), share.tolist()

    def example(self, name: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
        """The full state of one of `EXAMPLES` at this table, with changes; a seed draws its classes."""
        case = EXAMPLES[_check.one_of("name", name, EXAMPLES)]
        state = {**case.changes, "forget": self.drawn(case.draws, seed), "seed": seed}
        half = max(2, min(len(self.data.classes) // 2, self.Z.shape[1]))
        state |= {k: x for k, x in (("asked", self.prompts[-1]), ("dimensions", half)) if k in state}
        return self.check({**state, **changes})

    def drawn(self, kind: str | int, seed: int = 0) -> list[str]:
        """Class names: so many at random, or the next "twin" or name "alone", nearest or farthest first."""
        T, names, C = self.names(), self.data.classes, len(self.data.classes)
        images = torch.bincount(self.labels, minlength=C)
        seen = images.nonzero()[:, 0].tolist() or [0]
        if isinstance(kind, int):
            order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed)).tolist()
            return [names[seen[i]] for i in sorted(order[: min(kind, max(1, C // 4))])]
        case = self.scored()
        right = torch.bincount(self.labels[case.predicted == self.labels], minlength=C) / images
        near, nearest = (T @ T.T).fill_diagonal_(-1).max(1)
        known = right >= 0.7  # for the cases of one name
        known &= (kind == "alone") | known[nearest]
        again = (nearest[nearest] == torch.arange(C)) & (nearest < torch.arange(C))  # a pair counts once
        order = [i for i in near.argsort(descending=kind == "twin").tolist() if known[i] and not again[i]]
        order = order or seen
        return [names[order[seed % len(order)]]]


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
        self.told, self.report = bench.told(self.state), bench.reported(self.state)
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
        """The "pictures" or, if these are edited, "names"; in the plane of two principal components, points
        [k, 2] before and after the edit, which [k] are forgotten, and the shares of variance."""
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
        U = orthonormal_basis(self.told.T_f)
        cosine = (self.case.T.double() @ U).norm(dim=1).tolist()
        rows = [row for row in self.report.per_class if not row.forgotten]
        return [Neighbour(r.name, cosine[r.label], r.after - r.before) for r in rows]

    @cached_property
    def mathematics(self) -> dict[str, float]:
        """The identities behind the edit, with their numbers; `clipnull.lab.views` says what each is."""
        names, edit, Z = self.told, self.edit.to(torch.float64), self.case.images
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
        """Weights [m, 2] of mean and nearest mixture that come nearest to each forgotten name, before, and
        after with the anchors where the edit sends them; then the mean distances that are left."""
        names, t, m = self.told, self.case.T_f.double(), len(self.case.forget)
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
        i, case = self.state["image"], self.case
        return self.top5(self.bench.Z[[i]])._replace(true=case.classes[int(case.labels[i])], row=i)

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
_check.TYPES["Bench"] = _check.instance(Bench)
