"""Every public callable answers a bad argument with a ValueError that names it.

The callables are found through `__all__`: a new one fails `test_every_callable_has_valid_arguments` until
its valid arguments stand in `VALID`. An argument's name says what kind of thing it is (`KINDS`), the
kind what is bad (`BAD`).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace as Made
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import clipnull as cn
from clipnull import lab, plots
from clipnull.auditing.confidence import Bins
from clipnull.datasets.pictures import Images, LabelledImages
from clipnull.report import Change, NWay

NAN, INF = float("nan"), float("inf")
MODULES = (
    "edit erasers hull subspace solver measures report evaluation comparison "
    "datasets auditing protocol model plots lab"
).split()
#: what the package hands out; nobody builds it by hand
RESULTS = """
Mixtures GramSchmidtStep ClassAccuracy NWay Report Change Comparison Figures Row Spread Sweep Method
Attack Bins Fingerprint LayerProbe Optimised Relearning
AuditReport Measurement NotMeasured Word Words Trained Protocol ProtocolData ProtocolModel
BeforeRow ProtocolResult ResultRow SummaryRow Embeddings Images LabelledImages Trial
Figure FigureWidget Stepper Preset ForgetOne Example
""".split()
#: take a model or a folder, and have tests of their own
ELSEWHERE = """
fold folded unfold folded_edits last_layer merged_state unprojected Clip load from_transformers
check_here load_arrays read_array open_image embeddings class_table classroom attack_pixels optimise_pixels
layers embed_words audit run_protocol miniature chosen other_words relearning tuned Scene
""".split()


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@cache
def case() -> cn.Case:
    T = unit(8, 6)
    labels = torch.arange(8).repeat_interleave(6)
    Z = F.normalize(T[labels] + 0.4 * unit(48, 6, seed=1), dim=1)
    return cn.Case(Z, T, labels, [0, 3], classes=list("abcdefgh"))


@cache
def elsewhere() -> cn.Case:
    """The same names, and other pictures."""
    c = case()
    return cn.Case(unit(48, 6, seed=5), c.T, c.labels, c.forget, classes=c.classes)


@cache
def edit() -> cn.Edit:
    return cn.nullspace(case().T_f)


@cache
def valid() -> dict[str, dict[str, Any]]:
    """callable -> arguments that it accepts, all that it has."""
    c, e = case(), edit()
    S, U = c.Z @ c.T.T, cn.subspace.orthonormal_basis(c.T_f)
    p = (20 * S).softmax(1)
    return {
        "Edit": dict(left=e.left, right=e.right, info={"method": "mine"}),
        "consistent": dict(T_f=c.T_f, T_r=c.T_r, lam=2.0, mu=1.0, anchor="hull", scale=1.0, margin=0.05,
                           max_length=1.0, dtype=torch.float64),
        "nullspace": dict(T_f=c.T_f, strength=0.5, dtype=torch.float64),
        "random_subspace": dict(d=6, rank=2, seed=0, strength=0.5, dtype=torch.float64),
        "certificate": dict(edit=e, T_f=c.T_f, T_r=c.T_r, side="image"),
        "nearest_mixture": dict(T_f=c.T_f, T_r=c.T_r),
        "gram_schmidt": dict(T=c.T_f, rtol=1e-6),
        "gram_schmidt_steps": dict(T=c.T_f, rtol=1e-6),
        "variance_shares": dict(X=c.T),
        "participation_ratio": dict(X=c.T),
        "numerical_rank": dict(T=c.T),
        "orthonormal_basis": dict(T=c.T_f, rtol=1e-6),
        "orthogonality_error": dict(Q=U),
        "projector": dict(U=U),
        "ConsistentSolver": dict(T_f=c.T_f, T_r=c.T_r),
        "region_shares": dict(T=c.T[:, :3], forget=[0]),
        "Case": dict(Z=c.Z, T=c.T, labels=c.labels, forget=[0], classes=list("abcdefgh"), listed=[1, 2],
                     prompts=c.T[None]),
        "candidate_masking": dict(case=c),
        "evaluate": dict(case=c, edit=e, side="image"),
        "sweep": dict(case=c, eraser=cn.nullspace, side="image"),
        "sweep_sizes": dict(case=c, sizes=[1, 2], methods=["mean"], draws=2, seed=0),
        "compare": dict(trials=cn.comparison.trials(c, 2, draws=1), methods=["nullspace"], seed=0),
        "trials": dict(test=c, size=2, tune=elsewhere(), other=c.T, draws=1, seed=0, listed=0.5),
        "attack_embeddings": dict(edit=e, T_f=c.T_f, T_r=c.T_r, starts=2, steps=3, seed=0),
        "rebuild": dict(edit=cn.consistent(c.T_f, c.T_r), T_f=c.T_f, T_r=c.T_r),
        "turned": dict(case=c, edit=e, seed=0),
        "controls": dict(case=c, edit=e, seeds=2, seed=0),
        "confidence": dict(case=c, edit=e, scale=100.0, seed=0),
        "calibration_error": dict(p=p, labels=c.labels, bins=5),
        "certified": dict(case=c, edit=e, seed=0),
        "short_lists": dict(case=c, edit=e, seed=0),
        "layer_probe": dict(case=c, before={"a": c.Z}, after={"a": c.Z}, folds=3, seed=0),
        "leace": dict(case=c),
        "linear_probe": dict(X=c.Z, labels=c.labels, folds=3, seed=0),
        "probe": dict(case=c, edit=e, folds=3, seed=0),
        "yes_or_no": dict(case=c, X=c.Z, folds=3, seed=0),
        "fingerprint": dict(before=torch.eye(6), after=torch.eye(6) - 0.5, vocabulary=c.T, names=list("abcdefgh")),
        "gradient_forgetting": dict(case=c, lr=0.1, weight=1.0, steps=2, scale=100.0),
        "lora_forgetting": dict(T_f=c.T_f, T_r=c.T_r, empty=unit(6), rank=1, steps=2, seed=0),
        **{f"plots.{name}": args for name, args in figures().items()},
        **{f"lab.{name}": args for name, args in widgets_of_the_lab().items()},
    }  # fmt: skip


def figures() -> dict[str, dict[str, Any]]:
    """The same of `clipnull.plots`, with results made by hand."""
    letters = list("abc")
    accuracies = dict(forget_before=1.0, forget_after=0.1, retain_before=0.8, retain_after=0.7)
    made = Made(
        **accuracies,
        n_way={2: NWay(2, 0.5, 0.9, 0.1), "all": NWay(9, 0.1, 0.9, 0.1)},
        search=Change(0.9, 0.5),
    )
    row = Made(
        name="a",
        before=0.9,
        after=0.2,
        control=0.5,
        spread=0.1,
        against="b",
        unit="%",
        values=(0.4, 0.5),
        cells=lambda: list("abcd"),
    )
    found = Made(
        rank=1,
        singular_values=[7.0, 3e-6, 1e-6],
        noise=4e-6,
        names=letters,
        scores=torch.ones(3),
        ranking=lambda: letters,
    )
    summary = Made(method="mean", joint=False, score=0.6, parts=(0.1, 0.2, 0.3), terms=5)
    seen = dict(forget=0.5, retain=0.6, published_forget=50.0, published_retain=None)
    before = Made(model="m", data="a", name="b", images=4, **seen)
    shares, pictures, some = [0.6, 0.3, 0.1], [np.ones((4, 4, 3))] * 3, unit(9, 4)
    ours = dict(title="T")
    return {
        "alt": dict(fig=plots.Figure()),
        "describe": dict(fig=plots.Figure(), text="It falls."),
        "show": dict(fig=plots.Figure(figsize=(1, 1))),
        "controls": dict(rows=[row], **ours),
        "fingerprint": dict(found=found, forgotten=letters, **ours),
        "layer_probe": dict(probes=[Made(layer="a", before=1, after=1, control=0, identical=True)],
                                   by_names=(0.5, 0.1), **ours),
        "verdicts": dict(panels={"p": {"recall": [0.9, 0.1]}}, methods=["mean", "hull"], **ours),
        "reliability": dict(tables={"a": Bins([3], [0.4], [0.5])}, **ours),
        "words": dict(row=Made(words=[Made(text="x", owner=1, before=1, after=0, control=0)], against="b"),
                      classes=letters, **ours),
        "n_way": dict(curves={"mean": made}, other=False, **ours),
        "collateral": dict(similarity=shares, change=shares, names=letters, worst=2, ax=axes(), **ours),
        "scores_before_after": dict(before=shares, after=shares, names=letters, forget=["a"], k=2, ax=axes(), **ours),
        "cone": dict(kinds={"a": some}),
        "cosine_histogram": dict(Z=case().Z, T=case().T, labels=case().labels),
        "cumulative_variance": dict(sets={"a": some}, **ours),
        "image_grid": dict(images=pictures, titles=letters, columns=2, right=[True] * 3, size=1.0, **ours),
        "pca": dict(Z=some, k=2),
        "pca_scatter": dict(Z=some, groups=list("aaabbbccc"), **ours),
        "two_means": dict(kinds={"a": some, "b": some + 1}),
        "zero_shot_bars": dict(image=pictures[0], names=letters, before=shares, after=shares, highlight="a", **ours),
        "curves": dict(x=[1, 2], series={"a": [1, 2]}, x_label="x", y_label="y", log="xy", levels={"b": 1.5}, **ours),
        "hyperparameter_map": dict(lams=[1.0], mus=[1.0, 2.0], measures={"a": [[0.1, 0.2]]}, best=(0, 1)),
        "anchor_maps": dict(weights=np.eye(3), measures={"a": [0.1, 0.2, 0.3]}, **ours),
        "recall_before": dict(rows=[before]),
        "score_parts": dict(summary=[summary]),
    }  # fmt: skip


def axes() -> Any:
    return plots.Figure().subplots()


def pictured() -> LabelledImages:
    pictures = Images(lambda i: Image.new("RGB", (8, 8)), range(48))
    return LabelledImages(pictures, case().labels, list("abcdefgh"), ["{}"])


def widgets_of_the_lab() -> dict[str, dict[str, Any]]:
    """The same of `clipnull.lab`, on a model that only looks up."""
    c, letters = case(), "abcdefgh"
    clip = Made(
        embed_images=lambda images: c.Z[: len(images)],
        image_size=8,
        loaded_with=None,
        embed_text=lambda texts, templates=(): torch.stack([c.T[letters.find(t)] for t in texts]),
    )
    bench, state = lab.Bench(clip, pictured()), {"forget": ["a"]}
    point, slider = lab.Point("p", (0.0, 1.0)), lab.Plane([], lambda at: lab.Drawn()).alt
    picture = Image.new("RGB", (8, 8))
    dots = dict(at=np.eye(2), names=["a", "b"], groups=["x", "y"], thumbnails=[picture] * 2, what="pictures")
    drag = dict(follow=lambda at, **values: lab.Drawn(), controls={"a": slider}, bars=(-1.0, 1.0), size=300)
    guess = dict(question="How many?", answer=3.0, between=(0.0, 9.0))
    return {
        "Bench": dict(clip=clip, data=pictured()),
        "ForgetRetainLab": dict(clip=clip, data=pictured(), state=state),
        "LabResult": dict(bench=bench, state=state),
        "equivalent_python": dict(bench=bench, state=state),
        "view": dict(key="numbers", result=bench.compute(state)),
        "Sides": dict(case=c, edit=edit()),
        "Film": dict(pictures=[[Image.new("RGB", (8, 8))]] * 2, said=[["a"], ["b"]], leads={"x": [0.0, 1.0]},
                     bounds=[0.5], title="T"),
        "GramSchmidtStepper": dict(T=c.T[:2], names=["a", "b"]),
        "ProjectionStepper": dict(Z=c.Z, T=c.T, data=pictured(), names=["a", "b"]),
        "Prediction": dict(**guess, step=1.0, unit="%"),
        "Prediction by choice": dict(question="Which?", answer="a", choices=["a", "b"]),
        "predict": dict(**guess, because="So."),
        "Plane": dict(points=[point], **drag, dots=lab.Dots(**dots), extent=2.0),
        "Globe": dict(points=[lab.Point("p", (0.0, 1.0, 0.0))], **drag),
        "Point": dict(name="p", at=(0.5, 0.5), role="kept", drag=True, on_circle=False, within=np.eye(2),
                      arrow=True, colour="red", thumbnail=picture, after=False),
        "Dots": dots,
        "Area": dict(points=np.eye(2), colour="ink"),
        "Line": dict(a=(0, 0), b=(1, 1), label="l", colour="ink", dash=True, arrow=True, extend=True, width=2.0),
        "Bar": dict(name="b", value=0.5, before=0.2, colour="red", text="half"),
        "Drawn": dict(caption="c", alt="a", areas=[], lines=[], points=[], bars=[], names=[[0, 1]],
                      candidates=[True], at=[[0, 1]], dots=np.eye(2)),
    }  # fmt: skip


def answered(drawn: lab.Drawn) -> None:
    """A plane that shows this."""
    lab.Plane(
        [lab.Point("p", (0.0, 1.0))], lambda at, **kept: drawn, dots=lab.Dots(np.eye(2), ["a", "b"])
    ).figure()


#: parts of a drawing are looked at when it is drawn
DRAWN: dict[str, Callable[[Any], None]] = {
    "Point": lambda part: lab.Plane([part], lambda at: lab.Drawn()).figure() and None,
    "Dots": lambda part: lab.Plane([], lambda at, kept: lab.Drawn(), dots=part).figure() and None,
    "Area": lambda part: answered(lab.Drawn(areas=[part])),
    "Line": lambda part: answered(lab.Drawn(lines=[part])),
    "Bar": lambda part: answered(lab.Drawn(bars=[part])),
    "Drawn": answered,
}


def embeddings_of(name: str) -> list[Any]:
    """What nobody can take for embeddings, one per way to be wrong."""
    broken = case().T.clone()
    broken[1, 2] = NAN
    endless = case().T.clone()
    endless[0, 0] = INF
    return [None, "x", [], [[]], 3.0, object(), {}, [["a", "b"]], broken, endless, torch.ones(2, 6) * 1j,
            torch.ones(2, 3, 6)]  # fmt: skip


WHOLE = [None, "x", 1.5, NAN, INF, True, [1], -1]
NUMBER = [None, "x", NAN, [1.0, 2.0], 1j, object()]
LABELS = [None, "x", [], [0, 1], [0.5] * 48, [-1] * 48, [99] * 48, [NAN] * 48, object(), [True] * 48]
CLASSES = [None, [], "nobody", ["nobody"], [99], [-1], [1.5], object(), [None]]
#: kind of thing -> what is bad for it
BAD: dict[str, list[Any]] = {
    "embeddings": embeddings_of(""),
    "labels": LABELS,
    "whole": WHOLE,
    "number": NUMBER,
    "share": [*NUMBER, -0.1, 1.1, INF],
    "positive": [*NUMBER, -1.0],
    "choice": [None, "no such", 3, [], object()],
    "classes": CLASSES,
    "edit": ["x", 3, object(), cn.nullspace(unit(2, 5))],
    "case": [None, "x", 3, object(), [1]],
    "names": [3, object(), ["a"], "x", dict(enumerate("abcdefgh"))],
    "mapping": ["x", 3, object(), [1]],
    "pair": [None, 3, (1,), (1, 2, 3), (0, 0), (-1, 1), (NAN, 1), "xy"],
    "methods": [[], "no such", ["no such"], 3, [None]],
    "text": [None, 3, object(), ["a"]],
    "truth": [None, "x", 3, [], object()],
    "list": ["x", 3, object()],
    "numbers": [None, "x", [], [[]], object(), {}, ["a"], [NAN] * 3, [1j] * 3, [[[1.0]]]],
    "shares": [None, "x", [], object(), ["a"], [NAN] * 3, [90.0, 5.0, 5.0], [-90.0, 0.0, 0.0]],
    "gaps": [None, "x", [], [[]], object(), {}, ["a"], [1j] * 3],
    "corners": [None, "x", [], object(), [[NAN, 1.0]], [[1j, 1j]], [[1.0, 2.0, 3.0]], ["a"]],
    "triangle": [
        None,
        "x",
        3,
        [],
        object(),
        [[1.0, 0.0, 0.0]] * 2,
        [[0.5, 0.5]] * 3,
        [[1.0, 1.0, 1.0]] * 3,
        [[NAN, 0.0, 1.0]] * 3,
        [[2.0, -1.0, 0.0]] * 3,
    ],
    "record": [None, "x", 3, object(), []],
    "records": [None, "x", 3, object(), [], [1], [None]],
    "mappings": [None, "x", 3, object(), [1], {}, {"a": None}, {"a": 3}, {"a": "x"}],
    "picture": [None, "x", 3, object(), [1, 2], np.ones((2, 2, 5))],
    "pictures": [None, "x", 3, [], [None], ["x"], [3]],
    "part": ["x", 3, object()],
    "parts": [None, "x", 3, [3], [None], ["x"]],
    "widgets": ["x", 3, object(), {"a": 3}, {"a": None}],
    "callable": [None, "x", 3],
    "spot": [None, "x", 3, [], (1.0,), (NAN, 1.0), (1, 2, 3), "xy", object()],
    "reach": [None, "x", 3, (1.0,), (NAN, 1.0), (1, 2, 3), (2.0, 1.0), object()],
    "extent": ["x", 0, -1, NAN, (1, 2, 3), (2, 1, 0, 1), (0, INF, 0, 1), object(), []],
    "fractions": [None, 3, (1,), (1, 0, 1), (-1, 1), (NAN, 1), (90, 5), "xy"],
    "levels": ["x", 3, object(), {"a": None}, {"a": NAN}, {"a": "x"}],
    "state": ["x", 3, object(), [1], {"forgotten": 1}, {"state": 3}],
    "dtype": ["float32", 3, object(), torch.int64, torch.complex64],
    "prompts": ["x", 3, object(), [], torch.ones(8, 6), torch.ones(2, 7, 6), NAN * torch.ones(2, 8, 6)],
    "anchor": [None, "no such", 3, object(), [], [NAN] * 6, [1.0] * 5, torch.ones(3, 6)],
    "sizes": [None, "x", 3, [], [0], [-1], [1.5], [True], [99]],
    "vector": [None, "x", [], [NAN] * 6, [1.0] * 5, object()],
    "pairs": [None, "x", 3, [1], [(1,)], [(NAN, 1)], [(0, 0)], [(-1, 1)], object()],
}
KINDS = {
    **dict.fromkeys("T Z T_f T_r X P_f P_r U V Q H left right vocabulary frame before after scores p".split(), "embeddings"),
    **dict.fromkeys(["labels"], "labels"),
    **dict.fromkeys("seed seeds folds steps starts rank draws size bins nearest k n kept d worst".split(), "whole"),
    **dict.fromkeys(["strength", "alpha", "listed", "forgotten"], "share"),
    **dict.fromkeys("lam mu scale lr weight rtol margin max_length size_of azimuth elevation".split(), "number"),
    **dict.fromkeys(["side", "at", "eraser", "log"], "choice"),
    **dict.fromkeys(["forget"], "classes"),
    **dict.fromkeys(["edit"], "edit"),
    **dict.fromkeys(["case", "test"], "case"),
    **dict.fromkeys(["names", "classes"], "names"),
    **dict.fromkeys(["methods"], "methods"),
    **dict.fromkeys(["other", "prompts"], "prompts"),
    **dict.fromkeys(["progress"], "truth"),
    **dict.fromkeys(["trials"], "records"),
    **dict.fromkeys(["tune"], "part"),
    "info": "mapping",
    "dtype": "dtype",
    "anchor": "anchor",
    "sizes": "sizes",
    "empty": "vector",
    "retain": "pair",
    "others": "pairs",
}  # fmt: skip
#: the same of `plots` and `lab`, where words mean other things
SHOWN = {
    **dict.fromkeys(
        "title text alt x_label y_label question because unit highlight caption label name".split(), "text"
    ),
    **dict.fromkeys("other drag on_circle arrow dash extend after".split(), "truth"),
    **dict.fromkeys(["forgotten", "classes", "forget", "thumbnails"], "list"),
    **dict.fromkeys(["rows", "probes", "summary"], "records"),
    **dict.fromkeys(
        "tables results reports curves kinds sets measures series leads panels".split(), "mappings"
    ),
    **dict.fromkeys("ax fig bench clip data result found row protocol dots".split(), "part"),
    **dict.fromkeys(["areas", "lines", "points", "bars"], "parts"),
    **dict.fromkeys(["columns", "worst", "size"], "whole"),
    **dict.fromkeys(["key", "role", "log"], "choice"),
    **dict.fromkeys("titles groups right candidates choices".split(), "names"),
    **dict.fromkeys(["similarity", "change"], "shares"),
    **dict.fromkeys(["best", "by_names"], "pair"),
    **dict.fromkeys(["colour", "what"], "text"),
    **dict.fromkeys(["lams", "mus"], "gaps"),
    **dict.fromkeys(["controls", "levels"], "widgets"),
    **dict.fromkeys(["a", "b"], "spot"),
    "weights": "triangle",
    **dict.fromkeys(["width", "value", "answer"], "number"),
    **dict.fromkeys(["image", "thumbnail"], "picture"),
    "images": "pictures",
    "pictures": "pictures",
    "said": "names",
    "bounds": "numbers",
    "follow": "callable",
    "between": "reach",
    "state": "state",
    "within": "corners",
    "step": "positive",
    "x": "numbers",
    "before": "numbers",
}
#: (callable, argument) -> another kind than the name's
OTHER_KIND = {
    ("layer_probe", "before"): "mapping",
    ("layer_probe", "after"): "mapping",
    ("trials", "other"): "embeddings",
    ("zero_shot_bars", "before"): "shares",
    ("zero_shot_bars", "after"): "shares",
    ("scores_before_after", "after"): "numbers",
    ("image_grid", "size"): "positive",
    ("n_way", "curves"): "records",
    ("Plane", "bars"): "reach",
    ("Globe", "bars"): "reach",
    ("Plane", "extent"): "extent",
    ("layer_probe", "by_names"): "fractions",
    ("curves", "levels"): "levels",
    ("ProjectionStepper", "names"): "classes",
    ("Point", "at"): "spot",
    ("Dots", "at"): "corners",
    ("Area", "points"): "corners",
    ("Bar", "text"): "text",
    ("Bar", "before"): "number",
    ("Drawn", "names"): "corners",
    ("Drawn", "at"): "corners",
    ("Drawn", "dots"): "corners",
    ("Plane", "dots"): "part",
}
#: (callable, argument) -> what is no mistake there, as `repr`, and why
WELCOME = {
    ("region_shares", "forget"): ("[]",),  # nothing is forgotten
    ("collateral", "change"): (repr([NAN] * 3),),  # of a class without pictures
    ("hyperparameter_map", "best"): ("(0, 0)",),
    ("Prediction", "choices"): ("['a']",),
    ("Point", "within"): ("None",),
    ("Point", "thumbnail"): ("None",),
    **{("Drawn", key): ("None",) for key in ("names", "at", "dots")},
}


def public() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """(module, name, callable) of all that the modules list."""
    for module in MODULES:
        room = importlib.import_module(f"clipnull.{module}")
        for name in getattr(room, "__all__", None) or vars(room):
            found = getattr(room, name)
            ours = getattr(found, "__module__", "").startswith("clipnull")
            if not name.startswith("_") and callable(found) and ours:
                yield module, name, found


def use(call: Callable[..., Any], **args: Any) -> Any:
    """The result; of a generator the first item, since it checks nothing before."""
    found = call(**args)
    DRAWN.get(call.__name__, lambda made: None)(found)
    return next(found) if inspect.isgenerator(found) else found


def arguments(module: str, name: str) -> Iterator[dict[str, Any]]:
    """Valid ones of a callable, one or more sets of them."""
    for key, args in valid().items():
        if key.split()[0] in (f"{module}.{name}", name if module not in ("plots", "lab") else ""):
            yield args


def bad_calls() -> Iterator[Any]:
    done = set()
    for module, name, call in public():
        if id(call) in done or name in RESULTS:
            continue
        done.add(id(call))
        for given, argument in ((args, argument) for args in arguments(module, name) for argument in args):
            kinds = {**KINDS, **SHOWN} if module in ("plots", "lab") else KINDS
            kind = OTHER_KIND.get((name, argument), kinds.get(argument))
            for i, bad in enumerate(BAD.get(kind or "", [])):
                parameter = inspect.signature(call).parameters.get(argument)
                if bad is None and parameter and "None" in str(parameter.annotation):
                    continue  # None is allowed
                yield pytest.param(call, given, argument, bad, id=f"{module}.{name}-{argument}-{kind}{i}")


def test_every_callable_has_valid_arguments() -> None:
    known = {*RESULTS, *ELSEWHERE}
    lacking = [name for module, name, _ in public() if name not in known and not [*arguments(module, name)]]
    assert lacking == []


#: (callable, argument) -> why the table has no bad values for it
UNWALKED = {("Drawn", "after"): "of a globe; `Globe` is drawn with it in test_plane.py"}


def test_every_argument_is_walked() -> None:
    lacking = []
    for module, name, call in public():
        kinds = {**KINDS, **SHOWN} if module in ("plots", "lab") else KINDS
        given = {argument for args in arguments(module, name) for argument in args}
        for p in inspect.signature(call).parameters.values() if given else ():
            kind = OTHER_KIND.get((name, p.name), kinds.get(p.name))
            starred = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            if not starred and (p.name not in given or kind is None) and (name, p.name) not in UNWALKED:
                lacking.append((module, name, p.name))
    assert lacking == []


@pytest.mark.parametrize(("module", "name", "call"), public())
def test_valid_arguments_are_valid(module: str, name: str, call: Callable[..., Any]) -> None:
    for args in arguments(module, name):
        use(call, **args)


@pytest.mark.parametrize(("call", "args", "argument", "bad"), bad_calls())
def test_a_bad_argument_is_named(
    call: Callable[..., Any], args: dict[str, Any], argument: str, bad: Any
) -> None:
    if repr(bad) in WELCOME.get((call.__name__, argument), ()):
        use(call, **{**args, argument: bad})
        return
    with pytest.raises(ValueError, match=rf"(?s)^.*\b{argument}\b"):
        use(call, **{**args, argument: bad})


@pytest.mark.parametrize(
    "given",
    [
        lambda x: list(x),
        lambda x: x.numpy()[::-1][::-1],
        lambda x: x.numpy().astype(">f4"),
        lambda x: np.asfortranarray(x.numpy()),
        lambda x: x.tolist(),
        lambda x: [row.numpy() for row in x],
        lambda x: Frame(x.numpy()),
        lambda x: read_only(x.numpy().copy()),
        lambda x: x.clone().requires_grad_(),
    ],
    ids="tensors reversed big-endian Fortran lists arrays DataFrame read-only gradients".split(),
)
@pytest.mark.filterwarnings("error")
def test_arrays_are_taken_as_people_have_them(given: Callable[[torch.Tensor], Any]) -> None:
    T_f, T_r = case().T_f, case().T_r
    edit = cn.consistent(given(T_f), given(T_r))
    torch.testing.assert_close(edit.right, cn.consistent(T_f, T_r).right)


def read_only(x: np.ndarray) -> np.ndarray:
    """As pandas gives its numbers."""
    x.flags.writeable = False
    return x


class Frame:
    """What the package sees of a pandas object: its numbers, in their order, whatever its index."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def to_numpy(self) -> np.ndarray:
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def tolist(self) -> list[Any]:
        return self.values.tolist()


@pytest.mark.parametrize("controls", [3, "x", [3], [[3]], [None], object()])
def test_a_figure_widgets_controls_are_widgets(controls: Any) -> None:
    with pytest.raises(ValueError, match=r"^controls: got"):
        lab.FigureWidget(controls)


def test_labels_of_a_filtered_series_and_numpys_whole_numbers_are_welcome() -> None:
    c = case()
    again = cn.Case(
        c.Z, c.T, Frame(c.labels.numpy()), np.array([0, 3]), classes=Frame(np.array(list("abcdefgh")))
    )
    assert again.forget == [0, 3] and torch.equal(again.labels, c.labels)
    assert cn.random_subspace(np.int64(6), np.int32(2), seed=np.uint8(3)).rank == 2


def test_names_as_columns_are_recognised() -> None:
    c = case()
    with pytest.raises(ValueError, match=r"T: rows have 8 entries, want 6.*it looks transposed"):
        cn.Case(c.Z, c.T.T, c.labels, [0])
