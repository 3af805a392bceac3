"""What the lab computes from its state."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.datasets.emoji import class_table
from clipnull.datasets.registry import load as load_data
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.evaluation import Case
from clipnull.lab.result import LabResult, Line
from clipnull.lab.state import LAMBDAS, STRENGTHS, Preset, checked, defaults, dials, presets_of, texts_of
from clipnull.solver import ConsistentSolver
from clipnull.subspace import fix_signs, orthonormal_basis

if TYPE_CHECKING:
    from PIL import Image

    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = ["Bench", "Erasers"]

X = TypeVar("X")


class Recent:
    """The last few results of each kind, by what they depend on; an old one goes before a new one is made."""

    def __init__(self, **limits: int) -> None:
        self.limits, self.kinds = limits, defaultdict[str, dict[Any, Any]](dict)

    def get(self, kind: str, key: Any, make: Callable[[], X]) -> X:
        kept = self.kinds[kind]
        if key not in kept:
            if len(kept) >= self.limits[kind]:
                kept.pop(next(iter(kept)))
            kept[key] = make()
        return kept[key]


class Erasers:
    """The edits of every method for the same names; λ and μ move on one factorisation.

    Parameters
    ----------
    T_f, T_r : torch.Tensor [m, d], [k, d]
        Text embeddings to forget and to retain.
    """

    def __init__(self, T_f: torch.Tensor, T_r: torch.Tensor) -> None:
        self.T_f, self.T_r = T_f, T_r

    @cached_property
    def basis(self) -> torch.Tensor:
        """Orthonormal basis U [d, r] of the names to forget."""
        return orthonormal_basis(self.T_f)

    @cached_property
    def _solver(self) -> ConsistentSolver:
        return ConsistentSolver(self.T_f, self.T_r)

    def edit(
        self, method: str, values: Mapping[str, Any], seed: int = 0, anchor: torch.Tensor | None = None
    ) -> Edit:
        """The edit of a method of the lab.

        Parameters
        ----------
        method : str
            A name of `clipnull.erasers.METHODS`, or ``"word"`` with an ``anchor [1, d]``.
        values : dict
            Its hyperparameters among ``strength``, ``lam`` and ``mu``; others are left aside.
        """
        moved = {k: values[k] for k in dials(method)}
        if "lam" in moved:
            return self._solver.edit(
                **moved, anchor=defaults(method).get("anchor") if anchor is None else anchor
            )
        return METHODS[method].make(self.T_f, self.T_r, seed, **moved)


class Bench:
    """Embeddings of one data set under one model, and everything the lab asks of them.

    Parameters
    ----------
    clip : Clip
    data : LabelledImages
        Its class names are distinct: the lab knows a class by its name.

    Attributes
    ----------
    Z : torch.Tensor [n, d]
        Image embeddings.

    Raises
    ------
    ValueError
        Two classes of one name.

    Notes
    -----
    Of the scores [n, C] of all images against all names, one set is held at a time, beside those of
    results that are still in use: another subset, or the names without templates, takes its place.
    """

    def __init__(self, clip: Clip, data: LabelledImages) -> None:
        if twice := [name for name, count in Counter(data.classes).items() if count > 1]:
            raise ValueError(
                f"data: more than one class is called {', '.join(map(repr, twice))}, want distinct names; "
                "give them with dataclasses.replace(data, classes=[...])"
            )
        self.clip, self.data = clip, data
        self.Z = clip.embed_images(data.images)
        self._subset = ""
        # shared by all parts of the data
        self._parts: dict[str, Bench] = {"": self}
        self._texts: dict[tuple[str, bool], torch.Tensor] = {}
        self._recent = Recent(case=1, erasers=1, plane=8, line=64)

    # --- parts of the data --------------------------------------------------------------

    @cached_property
    def subsets(self) -> dict[str, Callable[[], LabelledImages]]:
        """Other parts of the data by name: of an emoji set its categories, of another set its own."""
        loaded, data = self.data.loaded_with, self.data
        if loaded and loaded["name"] in ("twemoji", "openmoji"):
            names = ["classroom", *dict.fromkeys(c["category"] for c in class_table())]
            here = loaded["subset"] or "classroom"
            others = [name for name in names if name != here]
            return {name: partial(load_data, **{**loaded, "subset": name}) for name in others}
        count = Counter(data.categories)
        large = [name for name in count if name and 1 < count[name] < len(data.classes)]
        index = {name: [i for i, c in enumerate(data.categories) if c == name] for name in large}
        return {name: partial(data.subset, index[name]) for name in large}

    def at(self, subset: str) -> Bench:
        """The bench of a part of the data, made when it is first asked for.

        Raises
        ------
        ValueError
            No such part.
        """
        if subset not in self._parts:
            _check.one_of("subset", subset, ["", *self.subsets])
            part = Bench(self.clip, self.subsets[subset]())
            part._subset, part._parts = subset, self._parts
            part._texts, part._recent = self._texts, self._recent
            self._parts[subset] = part
        return self._parts[subset]

    # --- embeddings ---------------------------------------------------------------------

    def embed(self, texts: Iterable[str], templates: bool) -> torch.Tensor:
        """Text embeddings [k, d]; each text is embedded once."""
        texts = list(texts)
        new = [t for t in dict.fromkeys(texts) if (t, templates) not in self._texts]
        if new:
            rows = self.clip.embed_text(new, templates=self.data.templates if templates else None)
            self._texts.update({(t, templates): row for t, row in zip(new, rows, strict=True)})
        return torch.stack([self._texts[t, templates] for t in texts])

    def embed_picture(self, image: Image.Image) -> torch.Tensor:
        """Embedding [1, d] of a picture that is not in the data, for `top5`."""
        return F.normalize(self.clip.embed_images([image]), dim=1)

    def case(self, templates: bool, forget: Iterable[str] | None = None) -> Case:
        """The `Case` of all images and names, scored once; ``forget`` is the first class unless given."""

        def score() -> Case:
            T = self.embed(self.data.classes, templates)
            case = Case(self.Z, T, self.data.labels, [0], classes=self.data.classes)
            assert len(case.scores) == len(case.predicted)  # now: other forget sets share what is there
            return case

        case = self._recent.get("case", (self._subset, templates), score)
        return case if forget is None else case.forgetting(list(forget))

    # --- state and edits ----------------------------------------------------------------

    def check(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state`` completed from `DEFAULT_STATE` and checked; ``forget`` becomes class names.

        ``forget`` may be a list of names, a category, a whole number k of random classes, or a
        fraction of all classes (both drawn with ``seed``).

        Raises
        ------
        ValueError
            An unknown key or value; the message is fit for showing to the reader.
        """
        return checked(state, lambda subset: self.at(subset).data)

    @cached_property
    def presets(self) -> dict[str, Preset]:
        """`PRESETS` for this data set, as full states; names that it lacks are replaced."""
        return presets_of(self.data, self.embed(self.data.classes, True), self.check)

    def forget_texts(self, state: Mapping[str, Any]) -> list[str]:
        """The texts whose embeddings are erased."""
        if state["erase_as"].strip():
            return texts_of(state["erase_as"])
        texts = list(state["forget"])
        if state["synonyms"]:
            data = self.at(state["subset"]).data
            keywords = dict(zip(data.classes, data.keywords, strict=True))
            texts += [w for name in state["forget"] for w in keywords[name]]
        return list(dict.fromkeys(texts))

    def erasers(self, state: Mapping[str, Any]) -> Erasers:
        """T_f, T_r and every edit for the names of a checked state; kept while they stay the same."""
        texts, templates = self.forget_texts(state), state["templates"]

        def make() -> Erasers:
            T_r = self.at(state["subset"]).case(templates, state["forget"]).T_r
            return Erasers(self.embed(texts, templates), T_r)

        key = state["subset"], tuple(texts), tuple(state["forget"]), templates
        return self._recent.get("erasers", key, make)

    def edit(self, state: Mapping[str, Any]) -> Edit:
        """The `Edit` of a checked state."""
        word = state["method"] == "word"
        anchor = self.embed([state["word"].strip()], state["templates"]) if word else None
        return self.erasers(state).edit(state["method"], state, state["seed"], anchor)

    def compute(self, state: Mapping[str, Any]) -> LabResult:
        """Everything that the views draw for a state. Pure: the same state, the same result.

        Raises
        ------
        ValueError
            A state that cannot be, see `check`.
        """
        state = self.check(state)
        return LabResult(self.at(state["subset"]), state)

    def line(self, state: Mapping[str, Any]) -> Line:
        """A method's curve; kept, since the hyperparameter itself and the picture shown do not change it."""
        method, case = state["method"], self.case(state["templates"], state["forget"])
        own = dials(method)
        unread = {"image", own[0], *({"strength", "lam", "mu"} - set(own))}
        unread |= {key for key, reads in (("word", "word"), ("seed", "random")) if reads != method}

        def make() -> Line:
            values = LAMBDAS if own[0] == "lam" else STRENGTHS
            edits = [self.edit({**state, own[0]: v}) for v in values]
            reports = [case.evaluate(edit, state["side"]) for edit in edits]
            return Line(list(values), [r.forget_after for r in reports], [r.retain_after for r in reports])

        return self._recent.get("line", repr({k: v for k, v in state.items() if k not in unread}), make)

    def plane(self, templates: bool, side: str) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
        """Mean [d] and principal axes [d, 2] of what is edited, and the axes' share of its variance."""

        def make() -> tuple[torch.Tensor, torch.Tensor, list[float]]:
            T = self.case(templates).T
            every = {"image": self.Z, "text": T}.get(side, torch.cat([self.Z, T])).double()
            mean = every.mean(0)
            variance, V = torch.linalg.eigh((every - mean).T @ (every - mean))
            total = variance.sum().clamp_min(torch.finfo(variance.dtype).tiny)
            share = variance.flip(0)[:2].clamp_min(0) / total
            return mean, fix_signs(V.flip(1)[:, :2]), share.tolist()

        return self._recent.get("plane", (self._subset, templates, side), make)
