"""What the lab computes from its state."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.datasets.emoji import class_table
from clipnull.datasets.registry import load as load_data
from clipnull.erasers import Edit, nullspace, random_subspace
from clipnull.evaluation import Evaluator, Report
from clipnull.lab.state import (
    CONSISTENT,
    DEFAULT_STATE,
    LAMBDAS,
    METHODS,
    PRESETS,
    SIDES,
    STRENGTHS,
    VIEWS,
    Preset,
)
from clipnull.model import folded_edits
from clipnull.model.loading import load as load_clip
from clipnull.solver import ConsistentSolver
from clipnull.subspace import fix_signs, orthonormal_basis, project_onto

if TYPE_CHECKING:
    from PIL import Image

    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = ["Bench", "LabResult"]

#: curves kept, so that moving along one does not compute it again
CURVES_KEPT = 64


#: pictures that the geometry draws; of a larger set, every k-th and all that are forgotten up to this
DRAWN = 600


@dataclass
class LabResult:
    """What one state gives. Parts that were not asked for are empty.

    Attributes
    ----------
    state : dict
    data : LabelledImages
        What ``image`` and all other rows count: the subset that the state names.
    report : Report
        Both accuracies, per class, destinations (view "numbers").
    edit : Edit
    curve : dict
        "dial", the key of the dial that the method has; "methods": per method the dial's values and
        the forget and retain accuracies after (fractions).
    pca : dict
        What the edit moves: "image" and "text", if there, are pairs of 2-D coordinates before and
        after; "rows" are the images' rows, "explained" the plane's two shares of the variance, "step"
        the mean distance that the forgotten and the other ones move in it.
    images : dict
        "destinations" of the forgotten images with example rows; "lost": retained images that were
        named rightly before and are not now. Names come with the row of a picture of theirs.
    neighbours : list of dict
        Retained classes: name, cosine to the forget subspace, change in accuracy (fractions).
    mathematics : dict
        Name of an identity -> its number.
    single : dict
        Top-5 (name, cosine) before and after of one image.
    """

    state: dict[str, Any]
    data: LabelledImages
    report: Report
    edit: Edit
    curve: dict[str, Any] = field(default_factory=dict)
    pca: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    mathematics: dict[str, float] = field(default_factory=dict)
    single: dict[str, Any] = field(default_factory=dict)


class Bench:
    """Embeddings of one data set under one model, scored once, and everything the lab asks of them.

    Parameters
    ----------
    clip : Clip
    data : LabelledImages
        Its class names are distinct: the lab knows a class by its name.

    Raises
    ------
    ValueError
        Two classes of one name.

    Notes
    -----
    Of the scores [n, C] of all images against all names, one set is held at a time: another subset,
    or the names without templates, takes its place.
    """

    def __init__(self, clip: Clip, data: LabelledImages) -> None:
        if twice := [name for name, count in Counter(data.classes).items() if count > 1]:
            raise ValueError(
                f"data: more than one class is called {', '.join(map(repr, twice))}, want distinct names; "
                "give them with dataclasses.replace(data, classes=[...])"
            )
        self.clip, self.data = clip, data
        self.Z = clip.embed_images(data.images)
        self._name = ""
        self._parts: dict[str, Bench] = {"": self}
        self._scored: dict[tuple[str, bool], Evaluator] = {}
        self._texts: dict[tuple[str, bool], torch.Tensor] = {}
        self._names: dict[bool, torch.Tensor] = {}
        self._solver: tuple[Any, ConsistentSolver] | None = None
        self._basis: tuple[Any, torch.Tensor] | None = None
        self._curves: dict[Any, dict[str, list[float]]] = {}
        self._planes: dict[Any, tuple[torch.Tensor, torch.Tensor, list[float]]] = {}

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
        members: dict[str, list[int]] = {}
        for i, category in enumerate(data.categories):
            members.setdefault(category, []).append(i)
        large = {name: index for name, index in members.items() if name and len(index) > 1}
        if len(members) < 2:
            return {}
        return {name: partial(data.subset, index) for name, index in large.items()}

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
            part._name, part._parts = subset, self._parts
            part._scored, part._texts = self._scored, self._texts
            self._parts[subset] = part
        return self._parts[subset]

    # --- texts --------------------------------------------------------------------------

    def embed(self, texts: Iterable[str], templates: bool) -> torch.Tensor:
        """Text embeddings [k, d]; each text is embedded once."""
        texts = list(texts)
        new = [t for t in dict.fromkeys(texts) if (t, templates) not in self._texts]
        if new:
            rows = self.clip.embed_text(new, templates=self.data.templates if templates else None)
            self._texts.update({(t, templates): row for t, row in zip(new, rows, strict=True)})
        return torch.stack([self._texts[t, templates] for t in texts])

    def names(self, templates: bool) -> torch.Tensor:
        """Embeddings [C, d] of the class names."""
        if templates not in self._names:
            self._names[templates] = self.embed(self.data.classes, templates)
        return self._names[templates]

    def evaluator(self, templates: bool) -> Evaluator:
        """Scores of every image against every class name."""
        key = self._name, templates
        if key not in self._scored:
            self._scored.clear()  # first: two sets of scores never exist side by side
            T = self.names(templates)
            self._scored[key] = Evaluator(self.Z, T, self.data.labels, self.data.classes)
        return self._scored[key]

    # --- state --------------------------------------------------------------------------

    def check(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state`` completed from `DEFAULT_STATE` and checked; ``forget`` becomes class names.

        ``forget`` may be a list of names, a category, a whole number k of random classes, or a
        fraction of all classes (both drawn with ``seed``).

        Raises
        ------
        ValueError
            An unknown key or value; the message is fit for showing to the reader.
        """
        if unknown := set(state) - set(DEFAULT_STATE):
            raise ValueError(f"state: unknown key {sorted(unknown)[0]!r}, want {', '.join(DEFAULT_STATE)}")
        full = {**DEFAULT_STATE, **state}
        bench = self.at(full["subset"])
        _check.one_of("method", full["method"], METHODS)
        _check.one_of("side", full["side"], SIDES)
        full["strength"] = _check.number("strength", full["strength"], 0.0, 1.0)
        full["lam"], full["mu"] = (_check.number(k, full[k], 0.0) for k in ("lam", "mu"))
        last = {"seed": 2**31 - 1, "image": len(bench.data) - 1}
        full.update({key: _whole(key, full[key], high) for key, high in last.items()})
        for key in ("templates", "synonyms"):
            if not isinstance(full[key], bool):
                raise ValueError(f"{key}: got {full[key]!r}, want True or False")
        for key in ("word", "erase_as"):
            if not isinstance(full[key], str):
                raise ValueError(f"{key}: got {full[key]!r}, want a text")
        if full["erase_as"].strip() and not _texts(full["erase_as"]):
            raise ValueError("erase_as: got commas alone, want texts between them, or nothing")
        if full["method"] == "word" and not full["word"].strip():
            raise ValueError("word: got nothing, want the word that a forgotten name should become")
        full["forget"] = bench._forget(full["forget"], full["seed"])
        return full

    def _forget(self, forget: Any, seed: int) -> list[str]:
        classes, C, forget = self.data.classes, len(self.data.classes), _check.plain(forget)
        if isinstance(forget, str) and forget in self.data.categories:
            forget = [c for c, k in zip(classes, self.data.categories, strict=True) if k == forget]
        elif isinstance(forget, (int, float)) and not isinstance(forget, bool):
            _check.number("forget", forget, 0.0)
            k = round(forget * C) if isinstance(forget, float) and forget < 1 else int(forget)
            order = torch.randperm(C, generator=torch.Generator().manual_seed(seed))
            forget = sorted(order[:k].tolist())
        index = _check.forget_set(forget, C, classes)
        return [classes[i] for i in index]

    # --- edits --------------------------------------------------------------------------

    def forget_texts(self, state: Mapping[str, Any]) -> list[str]:
        """The texts whose embeddings are erased."""
        if state["erase_as"].strip():
            return _texts(state["erase_as"])
        texts = list(state["forget"])
        if state["synonyms"]:
            data = self.at(state["subset"]).data
            keywords = dict(zip(data.classes, data.keywords, strict=True))
            texts += [w for name in state["forget"] for w in keywords[name]]
        return list(dict.fromkeys(texts))

    def forget_retain(self, state: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """T_f [m, d] and T_r [k, d] of a checked state."""
        bench, gone = self.at(state["subset"]), set(state["forget"])
        retained = torch.tensor([c not in gone for c in bench.data.classes])
        T_r = bench.names(state["templates"])[retained]
        return self.embed(self.forget_texts(state), state["templates"]), T_r

    def _key(self, state: Mapping[str, Any]) -> Any:
        """What T_f and T_r depend on."""
        return tuple(self.forget_texts(state)), tuple(state["forget"]), state["templates"]

    def basis(self, state: Mapping[str, Any]) -> torch.Tensor:
        """Orthonormal basis U [d, r] of the forgotten names; kept while they stay the same."""
        bench, key = self.at(state["subset"]), self._key(state)
        if bench._basis is None or bench._basis[0] != key:
            bench._basis = key, orthonormal_basis(self.forget_retain(state)[0])
        return bench._basis[1]

    def edit(self, state: Mapping[str, Any]) -> Edit:
        """The `Edit` of a checked state."""
        bench, method = self.at(state["subset"]), state["method"]
        T_f, T_r = self.forget_retain(state)
        if method in ("nullspace", "partial"):
            return nullspace(T_f, strength=1.0 if method == "nullspace" else state["strength"])
        if method == "random":
            rank = self.basis(state).shape[1]
            return random_subspace(T_f.shape[1], rank, state["seed"], state["strength"])
        # the dials turn on one factorisation as long as the names stay the same
        key = self._key(state)
        if bench._solver is None or bench._solver[0] != key:
            bench._solver = key, ConsistentSolver(T_f, T_r)
        anchor: Any = None if method == "ccup" else "mean"
        if method == "word":
            anchor = self.embed([state["word"].strip()], state["templates"])
        return bench._solver[1].edit(state["lam"], state["mu"], anchor)

    # --- the result ---------------------------------------------------------------------

    def compute(self, state: Mapping[str, Any], views: Iterable[str] = VIEWS) -> LabResult:
        """Everything the ``views`` draw for a state. Pure: the same state, the same result.

        Raises
        ------
        ValueError
            A state that cannot be, see `check`; an unknown view.
        """
        state = self.check(state)
        bench = self.at(state["subset"])
        edit = bench.edit(state)
        report = bench.evaluator(state["templates"]).report(state["forget"], edit, state["side"])
        result = LabResult(state, bench.data, report, edit)
        parts: dict[str, Callable[[LabResult], Any]] = {
            "curve": bench._curve,
            "pca": bench._pca,
            "images": bench._images,
            "neighbours": bench._neighbours,
            "mathematics": bench._mathematics,
            "single": bench._single,
        }
        for view in views:
            _check.one_of("views", view, VIEWS)
            if view in parts:
                setattr(result, view, parts[view](result))
        return result

    def _curve(self, result: LabResult) -> dict[str, Any]:
        """Forget and retain accuracy along α (projections) and λ (the others), for every method."""
        methods = [
            m for m in ("partial", "random", *CONSISTENT) if m != "word" or result.state["word"].strip()
        ]
        lines = {m: self._line({**result.state, "method": m}) for m in methods}
        return {"dial": "lam" if result.state["method"] in CONSISTENT else "strength", "methods": lines}

    def _line(self, state: dict[str, Any]) -> dict[str, list[float]]:
        """One method's curve; kept, since the dial itself and the picture shown do not change it."""
        dial, values = ("lam", LAMBDAS) if state["method"] in CONSISTENT else ("strength", STRENGTHS)
        key = repr({k: v for k, v in state.items() if k not in _unread(state["method"])})
        if key not in self._curves:
            if len(self._curves) >= CURVES_KEPT:
                self._curves.pop(next(iter(self._curves)))
            evaluator = self.evaluator(state["templates"])
            reports = [
                evaluator.report(state["forget"], self.edit({**state, dial: v}), state["side"])
                for v in values
            ]
            self._curves[key] = {
                "values": list(values),
                "forget": [r.forget_after for r in reports],
                "retain": [r.retain_after for r in reports],
            }
        return self._curves[key]

    def _plane(
        self, templates: bool, kinds: tuple[str, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
        """Mean [d] and principal axes [d, 2] of images, names or both, and the axes' share of variance."""
        key = templates, kinds
        if key not in self._planes:
            every = {"image": self.Z, "text": self.names(templates)}
            blocks = [block for kind in kinds for block in every[kind].split(4096)]
            mean = sum((b.double().sum(0) for b in blocks), torch.zeros(self.Z.shape[1]).double())
            mean = mean / sum(map(len, blocks))
            scatter = sum(
                ((b - mean).T @ (b - mean) for b in blocks), torch.zeros(len(mean), len(mean)).double()
            )
            variance, V = torch.linalg.eigh(scatter)
            share = variance.flip(0)[:2].clamp_min(0) / variance.sum().clamp_min(
                torch.finfo(variance.dtype).tiny
            )
            self._planes[key] = mean, fix_signs(V.flip(1)[:, :2]), share.tolist()
        return self._planes[key]

    def _pca(self, result: LabResult) -> dict[str, Any]:
        state, edit, forgotten = result.state, result.edit, result.report.is_forget
        kinds = {"image": ("image",), "text": ("text",), "both": ("image", "text")}[state["side"]]
        mean, axes, share = self._plane(state["templates"], kinds)

        def flat(X: torch.Tensor) -> torch.Tensor:
            return (X.double() - mean) @ axes

        out: dict[str, Any] = {"explained": share, "rows": [], "step": {}}
        if "image" in kinds:
            rows = [_spread(mask.nonzero()[:, 0], DRAWN // 2) for mask in (forgotten, ~forgotten)]
            Z = self.Z[torch.cat(rows)]
            out["rows"] = torch.cat(rows).tolist()
            out["image"] = pair = flat(Z), flat(edit.apply_image(Z, normalize=True))
            out["step"]["image"] = _mean_steps(pair, forgotten[out["rows"]])
        if "text" in kinds:
            T, gone = self.names(state["templates"]), torch.zeros(len(self.data.classes), dtype=torch.bool)
            gone[result.report.forget] = True
            out["text"] = pair = flat(T), flat(edit.apply_text(T, normalize=True))
            out["step"]["text"] = _mean_steps(pair, gone)
        return out

    def _images(self, result: LabResult, k: int = 10) -> dict[str, Any]:
        report, classes = result.report, self.data.classes
        destinations = []
        for name, count in report.destinations(k):
            index = classes.index(name)
            went = (report.is_forget & (report.predicted_after == index)).nonzero()[:, 0]
            destinations.append(
                {
                    "name": name,
                    "count": count,
                    "rows": went[:3].tolist(),
                    "true": classes[int(report.labels[went[0]])],
                    "now_row": self._example(index),
                }
            )
        right = report.predicted_before == report.labels
        lost = ~report.is_forget & right & (report.predicted_after != report.labels)
        rows = [
            {
                "row": i,
                "true": classes[int(report.labels[i])],
                "now": classes[int(report.predicted_after[i])],
                "now_row": self._example(int(report.predicted_after[i])),
            }
            for i in lost.nonzero()[:, 0].tolist()
        ]
        return {"destinations": destinations, "lost": rows}

    @cached_property
    def _examples(self) -> dict[int, int]:
        return {int(y): i for i, y in reversed(list(enumerate(self.data.labels.tolist())))}

    def _example(self, index: int) -> int | None:
        """Row of the first picture of a class."""
        return self._examples.get(index)

    def _neighbours(self, result: LabResult) -> list[dict[str, Any]]:
        cosine = project_onto(self.names(result.state["templates"]), self.basis(result.state)).norm(dim=1)
        return [
            {"name": r["name"], "cosine": float(cosine[r["index"]]), "change": r["after"] - r["before"]}
            for r in result.report.per_class
            if not r["forgotten"]
        ]

    def _mathematics(self, result: LabResult) -> dict[str, float]:
        T_f, T_r = (x.double() for x in self.forget_retain(result.state))
        U, edit = self.basis(result.state).double(), result.edit.to(torch.float64)
        gram = U.T @ U
        off = gram - torch.eye(len(gram)).double()
        taken = [1 - edit.image_norms(z) / z.norm(dim=1) for z in self.Z.split(4096)]
        return {
            "rank": float(edit.rank),
            "orthonormality": float(off.norm()),
            # P² − P = U (UᵀU − I) Uᵀ, its norm without a d x d matrix
            "idempotence": float((off @ gram @ off @ gram).trace().clamp_min(0).sqrt()),
            "forget_residual": float(edit.apply_text(T_f).norm()),
            "retain_moved": float((edit.apply_text(T_r) - T_r).norm()),
            "norm_taken": float(torch.cat(taken).double().mean()),
        }

    def _single(self, result: LabResult) -> dict[str, Any]:
        i = result.state["image"]
        true = self.data.classes[int(self.data.labels[i])]
        return {"row": i, "true": true, **self.top5(self.Z[i : i + 1], result)}

    def top5(self, z: torch.Tensor, result: LabResult) -> dict[str, list[tuple[str, float]]]:
        """Five best names with their cosines before and after, for one embedding ``z [1, d]``."""
        bench, side = self.at(result.state["subset"]), result.state["side"]
        T = bench.names(result.state["templates"])
        z_after = result.edit.apply_image(z, normalize=True) if side != "text" else z
        T_after = result.edit.apply_text(T, normalize=True) if side != "image" else T
        out = {}
        for key, scores in (("before", (z @ T.T)[0]), ("after", (z_after @ T_after.T)[0])):
            best = scores.topk(min(5, len(T)))
            out[key] = [
                (bench.data.classes[i], float(s))
                for s, i in zip(*map(torch.Tensor.tolist, best), strict=True)
            ]
        return out

    def embed_picture(self, image: Image.Image) -> torch.Tensor:
        """Embedding [1, d] of a picture that is not in the data, for `top5`."""
        return F.normalize(self.clip.embed_images([image]), dim=1)

    # --- cases and code -----------------------------------------------------------------

    @cached_property
    def presets(self) -> dict[str, Preset]:
        """`PRESETS` for this data set, as full states; names that it lacks are replaced."""
        known, out = set(self.data.classes) | set(self.data.categories), {}
        C = len(self.data.classes)
        for name, (hint, changes, view) in PRESETS.items():
            state = {**DEFAULT_STATE, **changes}
            if state["forget"] == "twin":
                state["forget"], twin, cosine = self._twins()
                hint = f"“{twin}” is the closest name to it (cosine {cosine:.2f}). {hint}"
            elif state["forget"] == "many":
                state["forget"] = 50 if C > 60 else max(C // 2, 1)
                name = f"{state['forget']} random classes"
            elif isinstance(state["forget"], list) and not known.issuperset(state["forget"]):
                state["forget"] = [self.data.classes[0]]
            elif isinstance(state["forget"], str) and state["forget"] not in known:
                state["forget"] = 0.2  # no such category: a fifth of the classes
            state = self.check(state)
            shown = self._example(self.data.classes.index(state["forget"][0]))
            out[name] = Preset(hint, {**state, "image": shown or 0}, view)
        return out

    def _twins(self) -> tuple[list[str], str, float]:
        """The two names of one subcategory with the largest cosine: one to forget, the other, the cosine."""
        T, kinds = self.names(True), list(dict.fromkeys(self.data.subcategories))
        cosine = (T @ T.T).fill_diagonal_(-2.0)
        kind = torch.tensor([kinds.index(k) for k in self.data.subcategories])
        kin = (kind[:, None] == kind) & (cosine > -2)
        if kin.any():
            cosine[~kin] = -2.0
        i, j = divmod(int(cosine.argmax()), len(T))
        return [self.data.classes[i]], self.data.classes[j], float(cosine[i, j])

    def python(self, state: Mapping[str, Any]) -> str:
        """The Python that does what a state does. It runs as it is.

        A model or data set that was made by hand, not by `clipnull.load` or `clipnull.datasets.load`,
        cannot be written down; the code then expects it under the name ``clip`` or ``data``.

        Parameters
        ----------
        state : dict
            As in `compute`.

        Returns
        -------
        str
            Ends in ``report``, the `Report` of the state.
        """
        state = self.check(state)
        templates = "data.templates" if state["templates"] else "None"
        texts = "forget"
        if state["erase_as"].strip():
            texts = _literal(_texts(state["erase_as"]))
        elif state["synonyms"]:
            texts = "forget + [w for n in forget for w in data.keywords[data.classes.index(n)]]"
        dials = f"lam={_literal(state['lam'])}, mu={_literal(state['mu'])}"
        strength = f"strength={_literal(state['strength'])}"
        eraser = {
            "nullspace": "cn.nullspace(T_f)",
            "partial": f"cn.nullspace(T_f, {strength})",
            "ccup": f"cn.consistent(T_f, T_r, {dials})",
            "mean": f'cn.consistent(T_f, T_r, {dials}, anchor="mean")',
            "word": f"cn.consistent(T_f, T_r, {dials}, anchor=word)",
            "random": "cn.random_subspace(\n    T_f.shape[1], cn.subspace.numerical_rank(T_f), "
            f"seed={state['seed']}, {strength}\n)",
        }[state["method"]]
        word = f"word = clip.embed_text([{_literal(state['word'].strip())}], templates={templates})\n"
        return f"""import clipnull as cn

{self._loads(state["subset"])}
forget = {_literal(state["forget"])}
T = clip.embed_text(data.classes, templates={templates})
Z = clip.embed_images(data.images)
T_f = clip.embed_text(list(dict.fromkeys({texts})), templates={templates})
T_r = T[[c not in forget for c in data.classes]]
{word if state["method"] == "word" else ""}edit = {eraser}
report = cn.evaluate(Z, T, data.labels, forget, edit, side="{state["side"]}", classes=data.classes)
print(report)
"""

    def _loads(self, subset: str) -> str:
        """The two statements that make ``clip`` and ``data``."""
        clip, data = self.clip, self.at(subset).data
        lines = []
        if clip.loaded_with is None or folded_edits(clip):
            lines.append("# clip: the model that you gave to the lab; no call of cn.load makes it")
        else:
            lines.append(f"clip = cn.load({_arguments(load_clip, clip.loaded_with)})")
        if data.loaded_with is None:
            lines.append(
                "# data: the images that you gave to the lab; no call of cn.datasets.load makes them"
            )
            picked = data.classes if subset else None
        else:
            lines.append(f"data = cn.datasets.load({_arguments(load_data, data.loaded_with)})")
            picked = data.picked
        if picked is not None:
            lines.append(f"data = data.subset({_literal(picked)})")
        return "\n".join(lines)


def _arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """A call's arguments as Python, those left at their default omitted; the first by position."""
    default = {k: p.default for k, p in inspect.signature(function).parameters.items()}
    (_, first), *rest = given.items()
    named = [f"{k}={_literal(v)}" for k, v in rest if k not in default or v != default[k]]
    return ", ".join([_literal(first), *named])


def _literal(x: Any) -> str:
    """A plain value as Python source, long lists broken into lines."""
    if isinstance(x, (str, Path, torch.device)):
        return json.dumps(str(x), ensure_ascii=False)
    if isinstance(x, float):
        return repr(int(x)) if x.is_integer() else repr(x)
    if not isinstance(x, (list, tuple)):
        return repr(x)
    lines = [""]
    for item in map(_literal, x):
        if lines[-1] and len(lines[-1]) + len(item) > 96:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + item
    return f"[{lines[0]}]" if len(lines) == 1 else "[\n    " + ",\n    ".join(lines) + ",\n]"


def _whole(name: str, value: Any, high: int) -> int:
    x = _check.number(name, value, 0, high)
    if isinstance(value, bool) or not x.is_integer():
        raise ValueError(f"{name}: got {value!r}, want a whole number from 0 to {high}")
    return int(x)


def _mean_steps(pair: tuple[torch.Tensor, torch.Tensor], forgotten: torch.Tensor) -> tuple[float, float]:
    """Mean distance from before to after, of the forgotten rows and of the others; NaN without any."""
    step = (pair[1] - pair[0]).norm(dim=1)
    return float(step[forgotten].mean()), float(step[~forgotten].mean())


def _spread(rows: torch.Tensor, k: int) -> torch.Tensor:
    """At most ``k`` of the rows, evenly spaced."""
    return rows[torch.linspace(0, len(rows) - 1, k).long()] if len(rows) > k else rows


def _texts(line: str) -> list[str]:
    return [t.strip() for t in line.split(",") if t.strip()]


def _unread(method: str) -> set[str]:
    """Keys of a state that do not bear on a method's curve along its own dial."""
    unread = {"image", "lam" if method in CONSISTENT else "strength"}
    if method != "word":
        unread.add("word")
    if method != "random":
        unread.add("seed")
    return unread | ({"strength"} if method in CONSISTENT else {"lam", "mu"})
