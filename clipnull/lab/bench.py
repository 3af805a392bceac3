"""What the lab computes from its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.pictures import PHOTO, Images, LabelledImages
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.evaluation import Case
from clipnull.hull import Mixtures, nearest_mixture
from clipnull.lab.result import LabResult
from clipnull.lab.state import DEFAULT_STATE, EVERY, EXAMPLES, checked, dials
from clipnull.report import Report
from clipnull.solver import ConsistentSolver
from clipnull.subspace import fix_signs, orthonormal_basis

if TYPE_CHECKING:
    from PIL import Image

    from clipnull.model.clip import Clip

__all__ = ["Bench"]

#: a class that is recognised at least this often is drawn for the cases of one name
KNOWN = 0.7


class Erasers:
    """The edits of every method for the same names; λ and μ move on one factorisation."""

    def __init__(self, names: Case) -> None:
        self.T_f, self.T_r = names.T_f, names.T_r

    @cached_property
    def basis(self) -> torch.Tensor:
        """Orthonormal basis U [d, r] of the names to forget."""
        return orthonormal_basis(self.T_f)

    @cached_property
    def mixtures(self) -> Mixtures:
        """The nearest mixtures of the kept names."""
        return nearest_mixture(self.T_f, self.T_r)

    @cached_property
    def _solver(self) -> ConsistentSolver:
        return ConsistentSolver(self.T_f, self.T_r)

    def edit(self, method: str, values: Mapping[str, Any], seed: int = 0) -> Edit:
        """The edit of a method of `clipnull.erasers.METHODS`, with its hyperparameters among ``values``."""
        chosen = {**METHODS[method].defaults, **{k: values[k] for k in dials(method)}}
        if "lam" in chosen:
            return self._solver.edit(**chosen)
        return METHODS[method].make(self.T_f, self.T_r, seed, **chosen)


class Bench:
    """A table to play at: embeddings of pictures and names, and everything the lab asks of them.

    Parameters
    ----------
    clip : Clip or None
        None where ``data`` are embeddings.
    data : LabelledImages or Embeddings
        Class names are distinct: the lab knows a class by its name. Embeddings have images.

    Attributes
    ----------
    Z, labels : torch.Tensor [n, d], [n]
        Image embeddings and their classes.
    categories, images : list of str, Images or None
        Coarser classes, one per class, and the pictures; embeddings have neither.
    names, scored, told, plane : callable
        What `_names`, `_scored`, `_told` and `_plane` give, kept.

    Raises
    ------
    ValueError
        Two classes of one name; embeddings without images; pictures without a model.
    """

    @_check.by_name
    def __init__(self, clip: Clip | None, data: LabelledImages | Embeddings) -> None:
        if not isinstance(data, (LabelledImages, Embeddings)):
            raise ValueError(f"data: got {type(data).__name__}, want LabelledImages or Embeddings")
        if twice := [name for name, count in Counter(data.classes).items() if count > 1]:
            raise ValueError(
                f"data: more than one class is called {', '.join(map(repr, twice))}, want distinct names; "
                "give them with dataclasses.replace(data, classes=[...])"
            )
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
        self._reports = lru_cache(128)(lambda items: self.report(dict(items)))
        self.scored, self.told = lru_cache(4)(self._scored), lru_cache(4)(self._told)
        self.plane = lru_cache(4)(self._plane)

    # --- embeddings ---------------------------------------------------------------------

    @cached_property
    def prompts(self) -> list[str]:
        """What names can be asked with; "", the first, is the table's own prompt."""
        if isinstance(self.data, Embeddings):
            return ["", *self.data.prompts]
        others = dict.fromkeys([*PHOTO, "{}", *self.data.templates])
        return ["", *(template for template in others if [template] != self.data.templates)]

    def _names(self, prompt: str = "") -> torch.Tensor:
        """Embeddings [C, d] of the names under a prompt."""
        if isinstance(self.data, Embeddings):
            return self.data.prompts[prompt] if prompt else self.data.T
        assert self.clip is not None
        return self.clip.embed_text(self.data.classes, templates=[prompt] if prompt else self.data.templates)

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
        """Rows of the images of a class."""
        return (self.labels == self.data.classes.index(name)).nonzero()[:, 0].tolist()

    def _scored(self, prompt: str = "", dimensions: int | None = None) -> Case:
        """The `Case` of all images and of names under a prompt, scored once, its first class to forget."""
        Z, T = (self.squeezed(X, dimensions) for X in (self.Z, self.names(prompt)))
        case = Case(Z, T, self.labels, [0], classes=self.data.classes)
        assert len(case.scores) == len(case.predicted)  # now: other forget sets share what is there
        return case

    # --- state and edits ----------------------------------------------------------------

    @property
    def first(self) -> dict[str, Any]:
        """`DEFAULT_STATE`; where its class has no images, with the one that has most."""
        known = all(name in self.data.classes and self.where(name) for name in DEFAULT_STATE["forget"])
        most = self.data.classes[int(torch.bincount(self.labels).argmax())]
        return {**DEFAULT_STATE, "forget": DEFAULT_STATE["forget"] if known else [most]}

    def check(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state`` completed from `first` and checked; ``forget`` becomes class names.

        ``forget`` may be a list of names or a category. A hyperparameter that is None, or a ``mu``
        of "auto" where the method has no such rule, gets the method's default; one that the method
        has not becomes None.

        Raises
        ------
        ValueError
            An unknown key or value; the message is fit for showing to the reader.
        """
        return checked(state, self)

    def listed(self, state: Mapping[str, Any]) -> list[int] | None:
        """The kept classes that the eraser of a checked state is told of; None: all."""
        if state["listed"] == 1:
            return None
        kept = [i for i, name in enumerate(self.data.classes) if name not in state["forget"]]
        told = torch.randperm(len(kept), generator=torch.Generator().manual_seed(state["seed"]))
        return sorted(kept[i] for i in told[: max(1, round(state["listed"] * len(kept)))].tolist())

    def case(self, state: Mapping[str, Any]) -> Case:
        """The question that a checked state asks."""
        scored = self.scored(state["asked"], state["dimensions"])
        return scored.forgetting(state["forget"], self.listed(state))

    def _told(
        self, forget: tuple[str, ...], listed: tuple[int, ...] | None, prompt: str, dimensions: int | None
    ) -> Erasers:
        """The erasers that know these names."""
        own, *others = self.prompts if prompt == EVERY else [prompt]
        T, *more = (self.squeezed(self.names(p), dimensions) for p in (own, *others))
        prompts = torch.stack(more) if more else None
        return Erasers(Case(None, T, None, forget, self.data.classes, listed, prompts))

    def erasers(self, state: Mapping[str, Any]) -> Erasers:
        """T_f, T_r and every edit for the names of a checked state."""
        listed = self.listed(state)
        names = tuple(state["forget"]), None if listed is None else tuple(listed)
        return self.told(*names, state["told"], state["dimensions"])

    def edit(self, state: Mapping[str, Any]) -> Edit:
        """The `Edit` of a checked state."""
        return self.erasers(state).edit(state["method"], state, state["seed"])

    def report(self, state: Mapping[str, Any]) -> Report:
        """The `Report` of a checked state."""
        return self.case(state).evaluate(self.edit(state), state["side"])

    def compute(self, state: Mapping[str, Any]) -> LabResult:
        """Everything that the views draw for a state. Pure: the same state, the same result.

        Raises
        ------
        ValueError
            A state that cannot be, see `check`.
        """
        return LabResult(self, state)

    def reported(self, state: Mapping[str, Any]) -> Report:
        """`report`, kept; the picture shown does not change it."""
        items = ((k, tuple(v) if k == "forget" else v) for k, v in state.items() if k != "image")
        return self._reports(tuple(items))

    def _plane(
        self, what: str, prompt: str, dimensions: int | None
    ) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
        """Mean [d] and principal axes [d, 2] of "pictures" or "names", and the axes' shares of variance."""
        case = self.scored(prompt, dimensions)
        every = (case.images if what == "pictures" else case.T).double()
        mean = every.mean(0)
        variance, V = torch.linalg.eigh((every - mean).T @ (every - mean))
        total = variance.sum().clamp_min(torch.finfo(variance.dtype).tiny)
        share = variance.flip(0)[:2].clamp_min(0) / total
        return mean, fix_signs(V.flip(1)[:, :2]), share.tolist()

    # --- cases to look at ---------------------------------------------------------------

    def example(self, name: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
        """The full state of one of `EXAMPLES` at this table, with changes; a seed draws its classes.

        Raises
        ------
        ValueError
            An unknown name.
        """
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
