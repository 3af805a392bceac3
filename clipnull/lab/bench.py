"""What the lab computes from its state."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from clipnull import _check
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.pictures import PHOTO, Images, LabelledImages
from clipnull.erasers import METHODS
from clipnull.evaluation import SIDES, Case
from clipnull.lab.result import LabResult
from clipnull.lab.state import CURVES, DEFAULT_STATE, EVERY, EXAMPLES, PARTS, TITLES, dials
from clipnull.model.clip import Clip
from clipnull.report import Report
from clipnull.solver import ConsistentSolver
from clipnull.subspace import fix_signs

__all__ = ["Bench"]

#: a class that is recognised at least this often is drawn for the cases of one name
KNOWN = 0.7


class Bench:
    """A table to play at: embeddings of pictures and names, and everything the lab asks of them.

    ``clip`` is None where ``data`` are embeddings; these have images. Class names are distinct: the lab knows
    a class by its name. A ValueError otherwise. ``Z`` [n, d] and ``labels`` [n] are the images' embeddings
    and classes; ``categories`` (coarser classes, one per class) and ``images`` are not of embeddings.
    """

    @_check.by_name
    def __init__(self, clip: Clip | None, data: LabelledImages | Embeddings) -> None:
        if not isinstance(data, (LabelledImages, Embeddings)):
            raise ValueError(f"data: got {type(data).__name__}, want LabelledImages or Embeddings")
        if twice := [name for name, count in Counter(data.classes).items() if count > 1]:
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
        self.names = lru_cache(None)(self._names)
        self.scored, self._names_told = lru_cache(4)(self._scored), lru_cache(4)(self._told)
        self.plane, self._reports = lru_cache(4)(self._plane), lru_cache(32)(self._report)
        # λ and μ move on one factorisation
        self._solver = lru_cache(4)(lambda told: ConsistentSolver(told.T_f, told.T_r))

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
        """``state`` completed from `first` and checked; a ValueError's message is fit for the reader.

        A category to ``forget`` becomes names. A hyperparameter that is None, or a ``mu`` of "auto" where
        the method has no such rule, gets the method's default; one that the method has not becomes None.
        """
        if unknown := set(state) - set(DEFAULT_STATE):
            raise ValueError(f"state: unknown key {sorted(unknown)[0]!r}, want {', '.join(DEFAULT_STATE)}")
        full, names = {**self.first, **state}, self.data.classes
        method = _check.one_of("method", full["method"], TITLES)
        _check.one_of("side", full["side"], SIDES)
        _check.one_of("asked", full["asked"], self.prompts)
        _check.one_of("told", full["told"], [*self.prompts, EVERY])
        own = dials(method)
        for key in CURVES:
            rule = full[key] == "auto" and key == "mu"
            if key not in own:
                full[key] = None
            elif full[key] is None or (rule and "lam" in own):  # the rule is for λ = ∞ alone
                full[key] = METHODS[method].defaults.get(key, 1.0)
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
        forget, listed = tuple(state["forget"]), self.listed(state)
        return self._names_told(forget, listed, state["told"], state["dimensions"])

    def _told(self, forget: Any, listed: Any, prompt: str, dimensions: int | None) -> Case:
        own, *others = self.prompts if prompt == EVERY else [prompt]
        T, *more = (self.squeezed(self.names(p), dimensions) for p in (own, *others))
        return Case(None, T, None, forget, self.data.classes, listed, torch.stack(more) if more else None)

    def _report(self, items: tuple[tuple[str, Any], ...]) -> Report:
        state = dict(items)
        scored, told = self.scored(state["asked"], state["dimensions"]), self.told(state)
        method, chosen = METHODS[state["method"]], {k: state[k] for k in dials(state["method"])}
        if "lam" in method.defaults:
            edit = self._solver(told).edit(**{**method.defaults, **chosen})
        else:
            edit = method.make(told.T_f, told.T_r, state["seed"], **chosen)
        return scored.forgetting(state["forget"], self.listed(state)).evaluate(edit, state["side"])

    def reported(self, state: Mapping[str, Any]) -> Report:
        """The `Report` of a checked state, kept; the picture shown does not change it."""
        items = ((k, tuple(v) if k == "forget" else v) for k, v in state.items() if k != "image")
        return self._reports(tuple(items))

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
        if "asked" in state:
            state["asked"] = self.prompts[-1]
        if "dimensions" in state:
            state["dimensions"] = max(2, min(len(self.data.classes) // 2, self.Z.shape[1]))
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
        known = (right >= KNOWN) & ((kind == "alone") | (right[nearest] >= KNOWN))
        again = (nearest[nearest] == torch.arange(C)) & (nearest < torch.arange(C))  # a pair counts once
        order = [i for i in near.argsort(descending=kind == "twin").tolist() if known[i] and not again[i]]
        order = order or seen
        return [names[order[seed % len(order)]]]


_check.TYPES["Bench"] = _check.instance(Bench)
