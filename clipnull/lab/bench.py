"""What the lab computes from its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.lab.result import LabResult, Line
from clipnull.lab.state import CURVES, LAB_METHODS, Preset, checked, dials, presets_of, texts_of
from clipnull.solver import ConsistentSolver
from clipnull.subspace import fix_signs, orthonormal_basis

if TYPE_CHECKING:
    from PIL import Image

    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = ["Bench", "Erasers"]

#: curves kept
LINES = 64


class Erasers:
    """The edits of every method for the same names; λ and μ move on one factorisation.

    Parameters
    ----------
    T_f, T_r : torch.Tensor [m, d], [k, d]
        Text embeddings to forget and to retain.
    """

    def __init__(self, T_f: torch.Tensor, T_r: torch.Tensor) -> None:
        self.T_f = _check.rows("T_f", T_f)
        self.T_r = _check.rows("T_r", T_r, self.T_f.shape[1])

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
        chosen = {**LAB_METHODS[method].defaults, **{k: values[k] for k in dials(method)}}
        if "lam" in chosen:
            return self._solver.edit(**chosen if anchor is None else {**chosen, "anchor": anchor})
        return LAB_METHODS[method].make(self.T_f, self.T_r, seed, **chosen)


class Bench:
    """Embeddings of one data set under one model, and everything the lab asks of them.

    Parameters
    ----------
    clip : Clip
    data : LabelledImages
        Its class names are distinct: the lab knows a class by its name.

    Attributes
    ----------
    Z, T : torch.Tensor [n, d], [C, d]
        Image embeddings and those of the names.

    Raises
    ------
    ValueError
        Two classes of one name.
    """

    @_check.by_name
    def __init__(self, clip: Clip, data: LabelledImages) -> None:
        if twice := [name for name, count in Counter(data.classes).items() if count > 1]:
            raise ValueError(
                f"data: more than one class is called {', '.join(map(repr, twice))}, want distinct names; "
                "give them with dataclasses.replace(data, classes=[...])"
            )
        self.clip, self.data = clip, data
        self.Z = clip.embed_images(data.images)
        self._texts: dict[str, torch.Tensor] = {}
        self._erasers: dict[Any, Erasers] = {}
        self._lines: dict[str, Line] = {}
        self._planes: dict[str, tuple[torch.Tensor, torch.Tensor, list[float]]] = {}

    # --- embeddings ---------------------------------------------------------------------

    def embed(self, texts: Iterable[str]) -> torch.Tensor:
        """Text embeddings [k, d]; each text is embedded once."""
        texts = list(texts)
        if new := [t for t in dict.fromkeys(texts) if t not in self._texts]:
            rows = self.clip.embed_text(new, templates=self.data.templates)
            self._texts.update(zip(new, rows, strict=True))
        return torch.stack([self._texts[t] for t in texts])

    def embed_picture(self, image: Image.Image) -> torch.Tensor:
        """Embedding [1, d] of a picture that is not in the data, for `LabResult.top5`."""
        return F.normalize(self.clip.embed_images([image]), dim=1)

    @cached_property
    def T(self) -> torch.Tensor:
        """Embeddings [C, d] of the names."""
        return self.embed(self.data.classes)

    @cached_property
    def case(self) -> Case:
        """The `Case` of all images and names, scored once, with the first class to forget."""
        case = Case(self.Z, self.T, self.data.labels, [0], classes=self.data.classes)
        assert len(case.scores) == len(case.predicted)  # now: other forget sets share what is there
        return case

    # --- state and edits ----------------------------------------------------------------

    def check(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state`` completed from `DEFAULT_STATE` and checked; ``forget`` becomes class names.

        ``forget`` may be a list of names or a category. A hyperparameter that is None, or a ``mu``
        of "auto" where the method has no such rule, gets the method's default; one that the method
        has not becomes None.

        Raises
        ------
        ValueError
            An unknown key or value; the message is fit for showing to the reader.
        """
        return checked(state, self.data)

    @cached_property
    def presets(self) -> dict[str, Preset]:
        """`PRESETS` for this data set, as full states; names that it lacks are replaced."""
        return presets_of(self.data)

    def erasers(self, state: Mapping[str, Any]) -> Erasers:
        """T_f, T_r and every edit for the names of a checked state; kept while they stay the same."""
        texts, forget = texts_of(state["erase_as"]) or state["forget"], state["forget"]
        key = tuple(texts), tuple(forget)
        if key not in self._erasers:
            new = Erasers(self.embed(dict.fromkeys(texts)), self.case.forgetting(forget).T_r)
            self._erasers = {key: new}
        return self._erasers[key]

    def edit(self, state: Mapping[str, Any]) -> Edit:
        """The `Edit` of a checked state."""
        anchor = self.embed([state["word"].strip()]) if state["method"] == "word" else None
        return self.erasers(state).edit(state["method"], state, state["seed"], anchor)

    def compute(self, state: Mapping[str, Any]) -> LabResult:
        """Everything that the views draw for a state. Pure: the same state, the same result.

        Raises
        ------
        ValueError
            A state that cannot be, see `check`.
        """
        return LabResult(self, state)

    def line(self, state: Mapping[str, Any]) -> Line:
        """A method's curve; kept, since the hyperparameter itself and the picture shown do not change it."""
        method = state["method"]
        own = dials(method)
        unread = {"image", own[0]}
        unread |= {key for key, reader in (("word", "word"), ("seed", "random")) if method != reader}

        key = repr({k: v for k, v in state.items() if k not in unread})
        if key not in self._lines:
            case, values = self.case.forgetting(state["forget"]), CURVES[own[0]]
            reports = [case.evaluate(self.edit({**state, own[0]: v}), state["side"]) for v in values]
            two_way = [r.n_way[2].after if r.n_way else float("nan") for r in reports]
            forget, retain = [r.forget_after for r in reports], [r.retain_after for r in reports]
            while len(self._lines) >= LINES:
                self._lines.pop(next(iter(self._lines)))
            self._lines[key] = Line(values, forget, two_way, retain)
        return self._lines[key]

    def plane(self, what: str) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
        """Mean [d] and principal axes [d, 2] of "pictures" or "names", and the axes' shares of variance."""
        if what not in self._planes:
            every = (self.Z if what == "pictures" else self.T).double()
            mean = every.mean(0)
            variance, V = torch.linalg.eigh((every - mean).T @ (every - mean))
            total = variance.sum().clamp_min(torch.finfo(variance.dtype).tiny)
            share = variance.flip(0)[:2].clamp_min(0) / total
            self._planes[what] = mean, fix_signs(V.flip(1)[:, :2]), share.tolist()
        return self._planes[what]


_check.TYPES["Bench"] = _check.instance(Bench)
