"""What the forget/retain lab computes, without its widgets: a plain state in, a result out.

`clipnull.widgets.ForgetRetainLab` draws what `Bench.compute` returns; a script that calls it
with the same state gets the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.erasers import ANCHORED, CCUP, ConsistentSolver, Edit, nullspace, random_subspace
from clipnull.evaluate import Evaluator, Report
from clipnull.subspace import fix_signs, orthonormal_basis, project_onto

if TYPE_CHECKING:
    from PIL import Image

    from clipnull.datasets import LabelledImages
    from clipnull.models import Clip

__all__ = ["DEFAULT_STATE", "METHODS", "PRESETS", "SIDES", "VIEWS", "Bench", "LabResult", "code_for"]

#: method -> what the lab calls it
METHODS = {
    "nullspace": "nullspace projection",
    "partial": "partial projection (α)",
    "ccup": "CCUP (λ, μ)",
    "mean": "anchored at the mean (λ, μ)",
    "coarse": "anchored at the coarse self (λ, μ, p)",
    "word": "anchored at a word (λ, μ)",
    "random": "random subspace (control)",
}
SIDES = ("image", "text", "both")
VIEWS = ("numbers", "curve", "pca", "images", "neighbours", "mathematics", "single")
#: which methods have the λ and μ dials
CONSISTENT = ("ccup", "mean", "coarse", "word")
STRENGTHS = [i / 20 for i in range(21)]
LAMBDAS = [10 ** (i / 2) for i in range(-4, 9)]
#: curves kept, so that moving along one does not compute it again
CURVES_KEPT = 64

DEFAULT_STATE: dict[str, Any] = {
    "forget": ["tiger"],  # class names
    "method": "mean",
    "strength": 1.0,  # α of partial and random
    "lam": ANCHORED[0],
    "mu": ANCHORED[1],
    "components": 3,  # p of coarse
    "word": "an animal",  # anchor of word
    "erase_as": "",  # texts to erase instead of the class names, separated by commas
    "templates": True,
    "synonyms": False,  # the forgotten classes' keywords span the forget subspace too
    "side": "image",
    "seed": 0,  # of the random subspace
    "image": 0,  # row of the data shown by the single-image view
}

#: instructive cases: name -> (what to look for, changes to the default state)
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "One class, the plain projector": (
        "The class is gone. What did the others pay?",
        {"method": "nullspace"},
    ),
    "One class, anchored": ("The same class, sent to the mean of the others. What did they pay now?", {}),
    "Half a projection": (
        "At which α does the class begin to lose?",
        {"method": "partial", "strength": 0.5},
    ),
    "A whole category": (
        "Every food at once: where do the pictures go?",
        {"forget": "food-drink", "method": "mean"},
    ),
    "Half of all classes": (
        "Many names, CCUP. Who pays? Then switch to an anchor.",
        {"forget": 0.5, "method": "ccup", "lam": CCUP[0], "mu": CCUP[1]},
    ),
    "Synonyms too": (
        "Keywords span more directions. What do they cost?",
        {"synonyms": True, "method": "nullspace"},
    ),
    "A name the model does not know": (
        "A word it never read: does erasing it remove the class?",
        {"erase_as": "zyzzyva", "method": "nullspace"},
    ),
    "The control": ("A random direction of the same rank: does it do anything?", {"method": "random"}),
}


@dataclass
class LabResult:
    """What one state gives. Parts that were not asked for are empty.

    Attributes
    ----------
    state : dict
    report : Report
        Both accuracies, per class, destinations (view "numbers").
    edit : Edit
    curve : dict
        dial name, its values, and per method the forget and retain accuracies after (fractions).
    pca : dict
        2-D coordinates before and after of names and of images, explained variance (fractions).
    images : dict
        Top destinations with example rows; rows of retained images that were lost.
    neighbours : list of dict
        Retained classes: name, cosine to the forget subspace, change in accuracy (fractions).
    mathematics : dict
        Name of an identity -> its number.
    single : dict
        Top-5 (name, cosine) before and after of one image.
    """

    state: dict[str, Any]
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
    """

    def __init__(self, clip: Clip, data: LabelledImages) -> None:
        self.clip, self.data = clip, data
        self.Z = clip.embed_images(data.images)
        self._texts: dict[tuple[str, bool], torch.Tensor] = {}
        self._evaluators: dict[bool, Evaluator] = {}
        self._solver: tuple[Any, ConsistentSolver] | None = None
        self._curves: dict[Any, dict[str, list[float]]] = {}
        self._planes: dict[bool, tuple[torch.Tensor, torch.Tensor, list[float]]] = {}

    # --- texts --------------------------------------------------------------------------

    def embed(self, texts: Iterable[str], templates: bool) -> torch.Tensor:
        """Text embeddings [k, d]; each text is embedded once."""
        texts = list(texts)
        new = [t for t in dict.fromkeys(texts) if (t, templates) not in self._texts]
        if new:
            rows = self.clip.embed_text(new, templates=self.data.templates if templates else None)
            self._texts.update({(t, templates): row for t, row in zip(new, rows, strict=True)})
        return torch.stack([self._texts[t, templates] for t in texts])

    def evaluator(self, templates: bool) -> Evaluator:
        """Scores of every image against every class name."""
        if templates not in self._evaluators:
            T = self.embed(self.data.classes, templates)
            self._evaluators[templates] = Evaluator(self.Z, T, self.data.labels, self.data.classes)
        return self._evaluators[templates]

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
        _check.one_of("method", full["method"], METHODS)
        _check.one_of("side", full["side"], SIDES)
        full["strength"] = _check.number("strength", full["strength"], 0.0, 1.0)
        full["lam"], full["mu"] = (_check.number(k, full[k], 0.0) for k in ("lam", "mu"))
        full["image"] = int(_check.number("image", full["image"], 0, len(self.data) - 1))
        if full["erase_as"].strip() and not _texts(full["erase_as"]):
            raise ValueError("erase_as: got commas alone, want texts between them, or nothing")
        if full["method"] == "word" and not str(full["word"]).strip():
            raise ValueError("word: got nothing, want the word that a forgotten name should become")
        full["forget"] = self._forget(full["forget"], full["seed"])
        return full

    def _forget(self, forget: Any, seed: int) -> list[str]:
        classes, C = self.data.classes, len(self.data.classes)
        if isinstance(forget, str) and forget in self.data.categories:
            forget = [c for c, k in zip(classes, self.data.categories, strict=True) if k == forget]
        elif isinstance(forget, (int, float)) and not isinstance(forget, bool):
            k = round(forget * C) if isinstance(forget, float) and forget < 1 else int(forget)
            order = torch.randperm(C, generator=torch.Generator().manual_seed(int(seed)))
            forget = sorted(order[: max(k, 0)].tolist())
        index = _check.forget_set(forget, C, classes)
        return [classes[i] for i in index]

    # --- edits --------------------------------------------------------------------------

    def forget_texts(self, state: Mapping[str, Any]) -> list[str]:
        """The texts whose embeddings are erased."""
        if state["erase_as"].strip():
            return _texts(state["erase_as"])
        texts = list(state["forget"])
        if state["synonyms"]:
            keywords = dict(zip(self.data.classes, self.data.keywords, strict=True))
            texts += [w for name in state["forget"] for w in keywords[name]]
        return list(dict.fromkeys(texts))

    def forget_retain(self, state: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """T_f [m, d] and T_r [k, d] of a checked state."""
        gone = set(state["forget"])
        retain = [c for c in self.data.classes if c not in gone]
        return self.embed(self.forget_texts(state), state["templates"]), self.embed(
            retain, state["templates"]
        )

    def edit(self, state: Mapping[str, Any]) -> Edit:
        """The `Edit` of a checked state."""
        method = state["method"]
        T_f, T_r = self.forget_retain(state)
        if method in ("nullspace", "partial"):
            return nullspace(T_f, strength=1.0 if method == "nullspace" else state["strength"])
        if method == "random":
            rank = orthonormal_basis(T_f).shape[1]
            return random_subspace(T_f.shape[1], rank, int(state["seed"]), state["strength"])
        # the dials turn on one factorisation as long as the names stay the same
        key = (tuple(self.forget_texts(state)), tuple(state["forget"]), state["templates"])
        if self._solver is None or self._solver[0] != key:
            self._solver = key, ConsistentSolver(T_f, T_r)
        anchor: Any = {"ccup": None, "mean": "mean", "coarse": "coarse"}.get(method)
        if method == "word":
            anchor = self.embed([str(state["word"]).strip()], state["templates"])
        return self._solver[1].edit(state["lam"], state["mu"], anchor, components=state["components"])

    # --- the result ---------------------------------------------------------------------

    def compute(self, state: Mapping[str, Any], views: Iterable[str] = VIEWS) -> LabResult:
        """Everything the ``views`` draw for a state. Pure: the same state, the same result.

        Raises
        ------
        ValueError
            A state that cannot be, see `check`; an unknown view.
        """
        state = self.check(state)
        edit = self.edit(state)
        report = self.evaluator(state["templates"]).report(state["forget"], edit, state["side"])
        result = LabResult(state, report, edit)
        parts: dict[str, Callable[[LabResult], Any]] = {
            "curve": self._curve,
            "pca": self._pca,
            "images": self._images,
            "neighbours": self._neighbours,
            "mathematics": self._mathematics,
            "single": self._single,
        }
        for view in views:
            _check.one_of("views", view, VIEWS)
            if view in parts:
                setattr(result, view, parts[view](result))
        return result

    def _curve(self, result: LabResult) -> dict[str, Any]:
        """Forget and retain accuracy along α (projections) or λ (the others), for every method."""
        dial = "lam" if result.state["method"] in CONSISTENT else "strength"
        methods = list(CONSISTENT if dial == "lam" else ("partial", "random"))
        if not str(result.state["word"]).strip():
            methods = [m for m in methods if m != "word"]
        values = LAMBDAS if dial == "lam" else STRENGTHS
        lines = {m: self._line({**result.state, "method": m}, dial, values) for m in methods}
        return {"dial": dial, "values": list(values), "methods": lines}

    def _line(self, state: dict[str, Any], dial: str, values: list[float]) -> dict[str, list[float]]:
        """One method's curve; kept, since the dial itself and the picture shown do not change it."""
        key = repr({k: v for k, v in state.items() if k not in _unread(state["method"], dial)})
        if key not in self._curves:
            if len(self._curves) >= CURVES_KEPT:
                self._curves.pop(next(iter(self._curves)))
            evaluator = self.evaluator(state["templates"])
            reports = [
                evaluator.report(state["forget"], self.edit({**state, dial: v}), state["side"])
                for v in values
            ]
            self._curves[key] = {
                "forget": [r.forget_after for r in reports],
                "retain": [r.retain_after for r in reports],
            }
        return self._curves[key]

    def _plane(self, templates: bool) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
        """Mean [d], first two principal axes [d, 2] and their shares of variance of names and pictures."""
        if templates not in self._planes:
            X = torch.cat([self.evaluator(templates).T, self.Z]).double()
            mean = X.mean(0)
            _, s, V = torch.linalg.svd(X - mean, full_matrices=False)
            share = s**2 / (s**2).sum().clamp_min(torch.finfo(s.dtype).tiny)
            self._planes[templates] = mean, fix_signs(V[:2].T), share[:2].tolist()
        return self._planes[templates]

    def _pca(self, result: LabResult) -> dict[str, Any]:
        T, edit = self.evaluator(result.state["templates"]).T, result.edit
        after_text = edit.apply_text(T, normalize=True) if result.state["side"] != "image" else T
        after_image = edit.apply_image(self.Z, normalize=True) if result.state["side"] != "text" else self.Z
        mean, axes, share = self._plane(result.state["templates"])

        def flat(X: torch.Tensor) -> torch.Tensor:
            return (X.double() - mean) @ axes

        return {
            "text": (flat(T), flat(after_text)),
            "image": (flat(self.Z), flat(after_image)),
            "explained": share,
        }

    def _images(self, result: LabResult, k: int = 5) -> dict[str, Any]:
        report = result.report
        destinations = []
        for name, count in report.destinations(k):
            went = report.is_forget & (report.predicted_after == self.data.classes.index(name))
            destinations.append({"name": name, "count": count, "rows": went.nonzero()[:3, 0].tolist()})
        right = report.predicted_before == report.labels
        lost = ~report.is_forget & right & (report.predicted_after != report.labels)
        rows = [
            {
                "row": i,
                "true": report.classes[report.labels[i]],
                "now": report.classes[report.predicted_after[i]],
            }
            for i in lost.nonzero()[:, 0].tolist()
        ]
        return {"destinations": destinations, "lost": rows}

    def _neighbours(self, result: LabResult) -> list[dict[str, Any]]:
        T_f, _ = self.forget_retain(result.state)
        T = self.evaluator(result.state["templates"]).T
        cosine = project_onto(T, orthonormal_basis(T_f)).norm(dim=1)
        return [
            {"name": r["name"], "cosine": float(cosine[r["index"]]), "change": r["after"] - r["before"]}
            for r in result.report.per_class
            if not r["forgotten"]
        ]

    def _mathematics(self, result: LabResult) -> dict[str, float]:
        T_f, T_r = (x.double() for x in self.forget_retain(result.state))
        U, edit = orthonormal_basis(T_f), result.edit.to(torch.float64)
        P, eye = U @ U.T, torch.eye(U.shape[1], dtype=torch.float64)
        taken = 1 - edit.image_norms(self.Z.double()) / self.Z.double().norm(dim=1)
        return {
            "rank": float(edit.rank),
            "orthonormality": float((U.T @ U - eye).norm()),
            "idempotence": float((P @ P - P).norm()),
            "forget_residual": float(edit.apply_text(T_f).norm()),
            "retain_moved": float((edit.apply_text(T_r) - T_r).norm()),
            "norm_taken": float(taken.mean()),
        }

    def _single(self, result: LabResult) -> dict[str, Any]:
        i = int(result.state["image"])
        return {
            "row": i,
            "true": self.data.classes[int(self.data.labels[i])],
            **self.top5(self.Z[i : i + 1], result),
        }

    def top5(self, z: torch.Tensor, result: LabResult) -> dict[str, list[tuple[str, float]]]:
        """Five best names with their cosines before and after, for one embedding ``z [1, d]``."""
        T = self.evaluator(result.state["templates"]).T
        side = result.state["side"]
        z_after = result.edit.apply_image(z, normalize=True) if side != "text" else z
        T_after = result.edit.apply_text(T, normalize=True) if side != "image" else T
        out = {}
        for key, scores in (("before", (z @ T.T)[0]), ("after", (z_after @ T_after.T)[0])):
            best = scores.topk(min(5, len(T)))
            out[key] = [
                (self.data.classes[i], float(s)) for s, i in zip(*map(torch.Tensor.tolist, best), strict=True)
            ]
        return out

    def upload(self, image: Image.Image, result: LabResult) -> dict[str, Any]:
        """`top5` of a picture that is not in the data."""
        return self.top5(F.normalize(self.clip.embed_images([image]), dim=1), result)

    @cached_property
    def presets(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """`PRESETS` for this data set, as full states; names that it lacks are replaced."""
        known, out = set(self.data.classes) | set(self.data.categories), {}
        for name, (hint, changes) in PRESETS.items():
            state = {**DEFAULT_STATE, **changes}
            if isinstance(state["forget"], list) and not known.issuperset(state["forget"]):
                state["forget"] = [self.data.classes[0]]
            if isinstance(state["forget"], str) and state["forget"] not in known:
                state["forget"] = 0.2  # no such category: a fifth of the classes
            state = self.check(state)
            shown = (self.data.labels == self.data.classes.index(state["forget"][0])).nonzero()[:1, 0]
            out[name] = hint, {**state, "image": int(shown[0]) if len(shown) else 0}
        return out


def code_for(state: Mapping[str, Any], data_call: str = "cn.datasets.load(size=clip.image_size)") -> str:
    """The Python that does what a checked state does; it runs as it is.

    Parameters
    ----------
    state : dict
        As `Bench.check` returns it.
    data_call : str
        The expression that loads the data.
    """
    templates = "data.templates" if state["templates"] else "None"
    texts = "forget"
    if state["erase_as"].strip():
        texts = repr(_texts(state["erase_as"]))
    elif state["synonyms"]:
        texts = "forget + [w for n in forget for w in data.keywords[data.classes.index(n)]]"
    dials = f"lam={_short(state['lam'])}, mu={_short(state['mu'])}"
    eraser = {
        "nullspace": "cn.nullspace(T_f)",
        "partial": f"cn.nullspace(T_f, strength={state['strength']!r})",
        "ccup": f"cn.consistent(T_f, T_r, {dials})",
        "mean": f'cn.consistent(T_f, T_r, {dials}, anchor="mean")',
        "coarse": f'cn.consistent(T_f, T_r, {dials}, anchor="coarse", components={state["components"]!r})',
        "word": f"cn.consistent(T_f, T_r, {dials}, anchor=word)",
        "random": "cn.random_subspace(T_f.shape[1], cn.subspace.numerical_rank(T_f), "
        f"seed={state['seed']}, strength={state['strength']!r})",
    }[state["method"]]
    word = f"word = clip.embed_text([{state['word'].strip()!r}], templates={templates})\n"
    return f"""import clipnull as cn

clip = cn.load()
data = {data_call}
forget = {state["forget"]!r}
T = clip.embed_text(data.classes, templates={templates})
Z = clip.embed_images(data.images)
T_f = clip.embed_text(list(dict.fromkeys({texts})), templates={templates})
T_r = T[[c not in forget for c in data.classes]]
{word if state["method"] == "word" else ""}edit = {eraser}
report = cn.evaluate(Z, T, data.labels, forget, edit, side={state["side"]!r}, classes=data.classes)
print(report)
"""


def _short(x: float) -> str:
    return repr(int(x)) if float(x).is_integer() and not math.isinf(x) else repr(x)


def _texts(line: str) -> list[str]:
    return [t.strip() for t in line.split(",") if t.strip()]


def _unread(method: str, dial: str) -> set[str]:
    """Keys of a state that do not bear on a method's curve along ``dial``."""
    unread = {dial, "image"}
    if method != "coarse":
        unread.add("components")
    if method != "word":
        unread.add("word")
    if method != "random":
        unread.add("seed")
    return unread | ({"strength"} if method in CONSISTENT else {"lam", "mu"})
