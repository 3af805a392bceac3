"""All measurements of one edit, in one call."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.cases import _Case, _case, _control
from clipnull.auditing.confidence import confidence
from clipnull.auditing.controls import collateral, controls
from clipnull.auditing.leace import guarded
from clipnull.auditing.probes import readers, span_prototypes
from clipnull.auditing.report import AuditReport, Eraser, Measurement, _pc
from clipnull.auditing.words import _cured, embed_words, other_words
from clipnull.erasers import Edit

if TYPE_CHECKING:
    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = ["audit", "measure"]

#: images that the readers look at, at most; more would only make them slower
AT_MOST = 4000


#: classes whose other words are tried, at most
WORDS_OF = 10


#: images whose features are taken at every layer, and classes that are relearned, at most
LAYERS_AT_MOST, RELEARN_OF = 1000, 5


def measure(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    classes: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    words: Mapping[str, Any] | None = None,
    scale: float = 100.0,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """The part of the audit that embeddings alone allow.

    Parameters
    ----------
    Z, T, labels, forget, classes
        As in `clipnull.evaluation`.
    edit : Edit or callable
    categories : list of str [C], optional
        See `collateral`.
    words : dict, optional
        Arguments of `other_words`: words, owner, kinds, texts, made_up.
    scale : float
        The model's ``logit_scale``.
    seed : int
    progress : bool, optional
        As in `audit`.

    Returns
    -------
    AuditReport
        A measurement that cannot be made is in ``skipped`` with the reason.
    """
    case = _case(Z, T, labels, forget, classes)
    return AuditReport(
        *_run(_steps(case, edit, categories, words, scale, seed), progress), _title(case, edit)
    )


Step = tuple[str, Callable[[], list[Measurement]]]


def _steps(
    case: _Case,
    edit: Eraser,
    categories: Sequence[str] | None,
    words: Mapping[str, Any] | None,
    scale: float,
    seed: int,
) -> list[Step]:
    everything = (case.Z, case.T, case.y, case.forget)
    few = _thin(case, AT_MOST, seed)
    sample = (case.Z[few], case.T, case.y[few], case.forget)
    named = categories is not None and any(categories)
    steps: list[Step] = [
        ("controls", lambda: controls(*everything, edit, seed=seed, classes=case.classes)),
        (
            "collateral",
            lambda: collateral(
                *everything, edit, categories if named else None, seed=seed, classes=case.classes
            ),
        ),
    ]
    if words is not None:
        steps += [
            ("other words", lambda: other_words(*everything, edit, **words, seed=seed)),
            ("spanning names", lambda: [_cured(case, edit, words["words"], words["owner"], seed)]),
        ]
    return [
        *steps,
        ("other readers", lambda: readers(sample[0], sample[2], case.forget, edit, seed=seed)),
        ("spanning images", lambda: [_with_images(*sample, seed=seed)]),
        ("LEACE", lambda: guarded(*sample, seed=seed)),
        ("confidence", lambda: confidence(*everything, edit, scale, seed=seed)),
    ]


def _model_steps(clip: Clip, data: LabelledImages, case: _Case, edit: Edit, seed: int) -> list[Step]:
    """What needs the model's weights: the attacks of `clipnull.auditing`, as lines of the table."""
    from clipnull.auditing.fingerprint import fingerprint as read_weights
    from clipnull.auditing.layers import HIDDEN, layer_probe, layers
    from clipnull.auditing.relearning import relearning as train_back
    from clipnull.model import folded, last_layer

    rows = _thin(case, LAYERS_AT_MOST, seed)
    y = case.y[rows]

    @functools.cache
    def features() -> dict[str, torch.Tensor]:
        return layers(clip, [data.images[i] for i in rows.tolist()])

    def fingerprint() -> list[Measurement]:
        P, m = last_layer(clip), len(case.forget)
        found = [read_weights(P, e.apply_image(P), case.T) for e in (edit, _control(case, edit, seed))]
        a, c = (len({str(i) for i in case.forget} & set(f.ranking()[:m])) / m for f in found)
        said = (
            f"The weights differ by a matrix of rank {found[0].rank}; of the {len(case.T)} names, the "
            f"{m} that fit it best hold {round(m * a)} of the {m} forgotten."
        )
        return [
            Measurement(
                "name read off the weights", math.nan, a, c, "a random subspace of the same rank", said,
                "2604.07386", details=dict(fingerprint=found[0]),
            )
        ]  # fmt: skip

    def relearning() -> list[Measurement]:
        targets = case.forget[:RELEARN_OF]
        k = min(4, min(int((y == c).sum()) for c in targets) // 2)
        ran = train_back(
            features()[HIDDEN], y, last_layer(clip), case.T, {c: edit for c in targets}, [k],
            arms=["un-edited", "edited", "new name"], seed=seed,
        )  # fmt: skip
        b, a, c = (r["steps"] for r in ran)
        said = (
            f"With {k} labelled images a class, recall goes from {_pc(ran[1]['recall_start'])} to "
            f"{_pc(ran[1]['recall_end'])}, and {_pc(ran[1]['back'])} of the classes reach the goal"
        )
        said += ", in fewer steps than a new name." if a < c else ", in no fewer steps than a new name."
        return [
            Measurement("relearned", b, a, c, "the class under a new name", said, "2506.01318", "steps",
                        details=dict(rows=ran))
        ]  # fmt: skip

    def before_the_projection() -> list[Measurement]:
        with folded(clip, edit):
            after = layers(clip, [data.images[i] for i in rows.tolist()])
        name = HIDDEN
        fewest = min(int((y == c).sum()) for c in case.forget)
        (p,) = layer_probe(
            {name: features()[name]}, {name: after[name]}, y, case.forget, classes=case.classes,
            folds=min(4, fewest), seed=seed,
        )  # fmt: skip
        same = "untouched, bit by bit" if p.identical else "not the same as before"
        said = f"The features in front of the last layer are {same}: whoever holds the model can read them."
        return [
            Measurement("probe before the last layer", p.before, p.after, p.control, "shuffled labels", said,
                        "2405.17878", details=dict(probe=p))
        ]  # fmt: skip

    return [
        ("fingerprint", fingerprint),
        ("relearning", relearning),
        ("before the last layer", before_the_projection),
    ]


def _thin(case: _Case, at_most: int, seed: int) -> torch.Tensor:
    """Rows of at most about ``at_most`` images, as even over classes as can be, two a class at least."""
    order = torch.randperm(len(case.y), generator=torch.Generator().manual_seed(seed))
    if len(order) <= at_most:
        return torch.arange(len(case.y))
    each = max(2, at_most // len(case.T))
    picked = [order[case.y[order] == c][:each] for c in range(len(case.T))]
    return torch.cat(picked).sort().values


def _with_images(
    Z: torch.Tensor, T: torch.Tensor, y: torch.Tensor, forget: list[int], seed: int
) -> Measurement:
    """`span_prototypes` with one image a class against none, as a line of the table."""
    none, one = span_prototypes(Z, T, y, forget, counts=(0, 1), seed=seed)
    said = (
        f"Projecting one labelled image a class out too (rank {none['rank']:.0f} → {one['rank']:.0f}, and "
        f"no longer data-free) takes the retained classes from {_pc(none['retain'])} to {_pc(one['retain'])}."
    )
    return Measurement(
        "linear probe, images spanned", none["probe_before"], one["probe"], none["probe"],
        "projecting the names alone out", said, "2604.08271", details=dict(rows=[none, one]),
    )  # fmt: skip


def _title(case: _Case, edit: Eraser) -> str:
    how = edit.info.get("method", "edit") if isinstance(edit, Edit) else getattr(edit, "__name__", "edit")
    names = ", ".join(case.classes[i] for i in case.forget[:5])
    more = f" and {len(case.forget) - 5} more" if len(case.forget) > 5 else ""
    return f"Audit of '{how}', forgetting {names}{more}: {len(case.Z)} images, {len(case.T)} classes"


def _run(steps: Sequence[Step], progress: bool | None) -> tuple[list[Measurement], dict[str, str]]:
    rows: list[Measurement] = []
    skipped: dict[str, str] = {}
    with _bar(len(steps), progress) as bar:
        for name, step in steps:
            bar(name)
            try:
                rows += step()
            except (ValueError, ImportError) as error:  # what cannot be measured here is said, not hidden
                skipped[name] = " ".join(str(error).split())
    return rows, skipped


@contextlib.contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Callable[[str], Any]]:
    silent = {"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys()
    if progress is False or (progress is None and silent):
        yield lambda name: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="audit", delay=0.0 if progress else 2.0, leave=False, file=sys.stderr) as bar:

        def begin(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        yield begin


def audit(
    clip: Clip,
    data: LabelledImages,
    edit: Edit,
    forget: Any = None,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """Everything that can be asked of an edit, in one table.

    Parameters
    ----------
    clip : Clip
        The model before the edit: nothing folded into it.
    data : LabelledImages
    edit : Edit
    forget : list of int or str, optional
        The classes that the edit was to forget. By default those in ``edit.info["classes"]``, else
        the names that it moves most, as many as it has columns.
    seed : int
    progress : bool, optional
        A progress bar on stderr; by default after two seconds, and never under a test runner
        (or with ``CLIPNULL_NO_PROGRESS``).

    Returns
    -------
    AuditReport

    Raises
    ------
    ValueError
        An edit of another dimension, an unknown class, no image of a forgotten class.

    Examples
    --------
    >>> import clipnull as cn
    >>> clip, data = cn.load(), cn.datasets.load("twemoji", scenes=2)
    >>> T = clip.embed_text(data.classes, data.templates)
    >>> report = cn.audit(clip, data, cn.nullspace(T[[3]]), forget=[3])
    >>> report["forgotten, zero-shot"].after
    0.0
    """
    T = clip.embed_text(data.classes, templates=data.templates)
    if edit.dim != T.shape[1]:
        raise ValueError(
            f"edit: acts on {edit.dim} dimensions, want {T.shape[1]} like the model's embeddings"
        )
    chosen = edit.info.get("classes") if forget is None else forget
    index = _moved_most(edit, T) if chosen is None else _check.forget_set(chosen, len(T), data.classes)
    Z = clip.embed_images(data.images, progress=progress)
    case = _case(Z, T, data.labels, index, data.classes)
    words = embed_words(clip, data, index[:WORDS_OF])
    steps = _steps(case, edit, data.categories, words, clip.logit_scale, seed)
    steps += _model_steps(clip, data, case, edit, seed)
    return AuditReport(*_run(steps, progress), _title(case, edit))


def _moved_most(edit: Edit, T: torch.Tensor) -> list[int]:
    moved = (edit.apply_text(T) - T).norm(dim=1)
    return moved.argsort(descending=True, stable=True)[: edit.left.shape[1]].tolist()
