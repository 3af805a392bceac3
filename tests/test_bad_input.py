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
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import clipnull as cn

NAN, INF = float("nan"), float("inf")
MODULES = (
    "edit erasers hull subspace solver measures report evaluation sweeps comparison "
    "datasets auditing protocol model"
).split()
#: what the package hands out; nobody builds it by hand
RESULTS = """
Mixtures GramSchmidtStep ClassAccuracy NWay Report Search Comparison Figures Row Spread Sweep Method Winners
EmbeddingAttack PixelAttack Bins Calibration Costs Fingerprint LayerProbe Selective Optimised Relearning
AuditReport Measurement NotMeasured Word WordRecall Words Trained Protocol ProtocolData ProtocolModel
BeforeRow ProtocolResult ResultRow SummaryRow Change ScoreParts Slot Embeddings Images LabelledImages Trial
""".split()
#: take a model or a folder, and have tests of their own; `plots` draws what these return
ELSEWHERE = """
fold folded unfold folded_edits last_layer merged_state unprojected embedding_dim Clip load from_transformers
check_here load_arrays read_array open_image embeddings class_table classroom attack_pixels optimise_pixels
layers embed_words audit run_protocol miniature chosen other_words selective relearning tuned score_parts Scene
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
def edit() -> cn.Edit:
    return cn.nullspace(case().T_f)


@cache
def valid() -> dict[str, dict[str, Any]]:
    """callable -> arguments that it accepts, all that it has."""
    c, e = case(), edit()
    S, U = c.Z @ c.T.T, cn.subspace.orthonormal_basis(c.T_f)
    p = (20 * S).softmax(1)
    return {
        "Edit": dict(left=e.left, right=e.right),
        "consistent": dict(T_f=c.T_f, T_r=c.T_r, lam=2.0, mu=1.0, anchor="hull", scale=1.0, margin=0.05,
                           max_length=1.0),
        "nullspace": dict(T_f=c.T_f, strength=0.5, rtol=1e-6),
        "random_subspace": dict(d=6, rank=2, seed=0, strength=0.5),
        "certificate": dict(edit=e, T_f=c.T_f, T_r=c.T_r, side="image"),
        "nearest_mixture": dict(T_f=c.T_f, T_r=c.T_r),
        "gram_schmidt": dict(T=c.T_f, rtol=1e-6, variant="modified"),
        "gram_schmidt_steps": dict(T=c.T_f, rtol=1e-6, variant="modified"),
        "variance_shares": dict(X=c.T),
        "participation_ratio": dict(X=c.T),
        "numerical_rank": dict(T=c.T, rtol=1e-6),
        "orthonormal_basis": dict(T=c.T_f, rtol=1e-6),
        "orthogonality_error": dict(Q=U),
        "principal_angles": dict(U=U, V=U),
        "project_onto": dict(Z=c.Z, U=U),
        "project_out": dict(Z=c.Z, U=U),
        "projector": dict(U=U),
        "ConsistentSolver": dict(T_f=c.T_f, T_r=c.T_r),
        "region_shares": dict(T=c.T[:, :3], forget=[0], size=1.0, n=50),
        "Case": dict(Z=c.Z, T=c.T, labels=c.labels, forget=[0], classes=list("abcdefgh"), listed=[1, 2]),
        "candidate_masking": dict(case=c),
        "evaluate": dict(case=c, edit=e, side="image"),
        "sweep": dict(case=c, eraser=cn.nullspace, side="image"),
        "sweep_sizes": dict(case=c, sizes=[1, 2], methods=["mean"], draws=2, seed=0),
        "compare": dict(trials=cn.comparison.trials(c, 2, draws=1), methods=["nullspace"], at={}, forgotten=0.9,
                        seed=0),
        "trials": dict(test=c, size=2, draws=1, seed=0, listed=0.5),
        "attack_embeddings": dict(edit=e, T_f=c.T_f, T_r=c.T_r, starts=2, steps=3, seed=0),
        "rebuild": dict(edit=cn.consistent(c.T_f, c.T_r), T_f=c.T_f, T_r=c.T_r),
        "turned": dict(case=c, edit=e, seed=0),
        "controls": dict(case=c, edit=e, seeds=2, seed=0),
        "confidence": dict(case=c, edit=e, scale=100.0, seed=0),
        "calibration_error": dict(p=p, labels=c.labels, bins=5),
        "conformal_sets": dict(p=p[:5], calibration=p, labels=c.labels, alpha=0.1),
        "fitted_scale": dict(cosines=S, labels=c.labels),
        "certified": dict(case=c, edit=e, seed=0),
        "collateral": dict(case=c, edit=e, nearest=2, seeds=2, seed=0),
        "costs": dict(case=c, edit=e),
        "short_lists": dict(case=c, edit=e, seed=0),
        "layer_probe": dict(case=c, before={"a": c.Z}, after={"a": c.Z}, folds=3, seed=0),
        "leace": dict(case=c),
        "gated": dict(P_f=c.T_f[:1], P_r=c.T_r, T_f=c.T_f[:1], T_r=c.T_r, strength=1.0, mu=1.0),
        "linear_probe": dict(X=c.Z, labels=c.labels, folds=3, seed=0),
        "ridge_probe": dict(X=c.Z, labels=c.labels, folds=3, seed=0),
        "probe": dict(case=c, edit=e, folds=3, seed=0),
        "yes_or_no": dict(case=c, X=c.Z, folds=3, seed=0),
        "fingerprint": dict(before=torch.eye(6), after=torch.eye(6) - 0.5, vocabulary=c.T, names=list("abcdefgh")),
        "gradient_forgetting": dict(case=c, lr=0.1, weight=1.0, steps=2, scale=100.0),
        "lora_forgetting": dict(T_f=c.T_f, T_r=c.T_r, empty=unit(6), rank=1, lr=0.1, steps=2, seed=0),
        "protocol_score": dict(forget=cn.protocol.Change(0.9, 0.0), retain=cn.protocol.Change(0.9, 0.9)),
    }  # fmt: skip


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
    "names": [3, object(), ["a"], "x"],
    "mapping": ["x", 3, object(), [1]],
    "pair": [None, 3, (1,), (1, 2, 3), (0, 0), (-1, 1), (NAN, 1), "xy"],
    "methods": [[], "no such", ["no such"], 3, [None]],
}
KINDS = {
    **dict.fromkeys("T Z T_f T_r X P_f P_r U V Q H left right vocabulary frame before after scores cosines p calibration".split(), "embeddings"),
    **dict.fromkeys(["labels"], "labels"),
    **dict.fromkeys("seed seeds folds steps starts rank draws size bins nearest k n kept d worst".split(), "whole"),
    **dict.fromkeys(["strength", "alpha", "listed", "forgotten"], "share"),
    **dict.fromkeys("lam mu scale lr weight rtol margin max_length size_of azimuth elevation".split(), "number"),
    **dict.fromkeys(["side", "variant", "at", "eraser", "log"], "choice"),
    **dict.fromkeys(["forget"], "classes"),
    **dict.fromkeys(["edit"], "edit"),
    **dict.fromkeys(["case", "test"], "case"),
    **dict.fromkeys(["names"], "names"),
    **dict.fromkeys(["methods"], "methods"),
}  # fmt: skip
#: (callable, argument) -> another kind than the name's
OTHER_KIND = {
    ("layer_probe", "before"): "mapping",
    ("layer_probe", "after"): "mapping",
    ("compare", "at"): "mapping",
    ("protocol_score", "forget"): "pair",
    ("region_shares", "size"): "positive",
    ("gated", "strength"): "number",  # a cosine, no share
}
#: (callable, argument) -> what is no mistake there, as `repr`, and why
WELCOME = {
    ("region_shares", "forget"): ("[]",),  # nothing is forgotten
    ("orthogonality_error", "Q"): ("[[]]",),  # no columns are orthonormal
    ("ridge_probe", "labels"): (repr([99] * 48),),  # labels count no names: any whole numbers
    ("gated", "mu"): ("None",),  # the default of `consistent`
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
    return next(found) if inspect.isgenerator(found) else found


def bad_calls() -> Iterator[Any]:
    done = set()
    for module, name, call in public():
        if id(call) in done or name in RESULTS or (args := valid().get(name)) is None:
            continue
        done.add(id(call))
        for argument in args:
            kind = OTHER_KIND.get((name, argument), KINDS.get(argument))
            for i, bad in enumerate(BAD.get(kind or "", [])):
                parameter = inspect.signature(call).parameters.get(argument)
                if bad is None and parameter and "None" in str(parameter.annotation):
                    continue  # None is allowed
                yield pytest.param(call, args, argument, bad, id=f"{module}.{name}-{argument}-{kind}{i}")


def test_every_callable_has_valid_arguments() -> None:
    known = {*valid(), *RESULTS, *ELSEWHERE}
    assert sorted({name for _, name, _ in public()} - known) == []


@pytest.mark.parametrize("name", [n for n in valid()])
def test_valid_arguments_are_valid(name: str) -> None:
    for call in (call for _, found, call in public() if found == name):
        use(call, **valid()[name])


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
        lambda x: x.clone().requires_grad_(),
    ],
    ids="tensors reversed big-endian Fortran lists arrays DataFrame gradients".split(),
)
def test_arrays_are_taken_as_people_have_them(given: Callable[[torch.Tensor], Any]) -> None:
    T_f, T_r = case().T_f, case().T_r
    edit = cn.consistent(given(T_f), given(T_r))
    torch.testing.assert_close(edit.right, cn.consistent(T_f, T_r).right)


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
