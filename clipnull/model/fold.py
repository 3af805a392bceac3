"""Fold an `Edit` into the last layer of a tower, and take it out again.

A folded model is an ordinary module: its parameters are the objects of before and hold edited data. The
data of before are kept here, outside the module, so that no copy, pickle or saved file of it carries what
it forgot; a mark, one word of text, tells a copy that was edited.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from clipnull import _check
from clipnull.edit import Edit
from clipnull.evaluation import SIDES
from clipnull.model import towers
from clipnull.model.towers import TOWERS, Slot, Tower
from clipnull.report import Side

__all__ = ["fold", "folded", "folded_edits", "last_layer", "merged_state", "unfold", "unprojected"]

#: attribute of an edited layer's holder, or of one that `fold` added
MARK, EDITED, ADDED = "_clipnull_fold", "edited", "added"

M = TypeVar("M")


@dataclass(eq=False)
class _Step:
    """What is done to the last layer of one tower: an edit, or (None) the identity in its place."""

    side: Tower
    edit: Edit | None
    thread: int | None = None  # whose `with` block it belongs to, while that is open

    def __post_init__(self) -> None:
        e = self.edit
        pair = () if e is None else (e.left, e.right) if self.side == "image" else (e.right, e.left)
        # a copy, in float64 on the CPU: the same bits whatever the device, TF32 or autocast
        self.factors = [x.detach().cpu().to(torch.float64, copy=True) for x in pair]


@dataclass(frozen=True, eq=False)
class _Record:
    """What is folded into a layer: its data before and after, and the steps between, in order."""

    mark: str | None = None  # the layer's, before
    originals: Sequence[torch.Tensor] = ()
    added: tuple[Any, ...] = ()  # what stood there, if the layer is one that fold added
    written: Sequence[torch.Tensor] = ()
    steps: tuple[_Step, ...] = ()
    settled: tuple[_Step, ...] = ()  # folded for good, earlier

    @property
    def marked(self) -> str | None:
        return self.mark or (ADDED if self.added else EDITED) if self.steps else self.mark


#: by the module that holds the parameters; an entry goes with its module
_RECORDS: WeakKeyDictionary[nn.Module, _Record] = WeakKeyDictionary()
_LOCK = threading.RLock()


@dataclass(frozen=True, eq=False)
class _State:
    """All that folding changes about a tower."""

    slot: Slot
    layer: Any
    data: Sequence[torch.Tensor]
    record: _Record

    @classmethod
    def of(cls, slot: Slot) -> _State:
        record = _RECORDS.get(slot.holder()) or _Record(vars(slot.holder()).get(MARK))
        return cls(slot, slot.layer, towers.data(slot.layer), record)

    def put(self) -> None:
        self.slot.put(self.layer)
        holder = self.slot.holder()
        for (p, _), x in zip(towers.parts(self.layer), self.data, strict=True):
            p.data = x
        _RECORDS.pop(holder, None)
        vars(holder).pop(MARK, None)
        if self.record.steps or self.record.settled:
            _RECORDS[holder] = self.record
        if self.record.marked:
            setattr(holder, MARK, self.record.marked)


def _commit(states: Sequence[_State]) -> None:
    before = [_State.of(state.slot) for state in states]
    try:
        for state in states:
            state.put()
    except BaseException:
        for state in before:
            state.put()
        raise


def _computed(layer: Any, originals: Sequence[torch.Tensor], steps: Sequence[_Step]) -> list[torch.Tensor]:
    """The data of a layer after the steps: rows x become x - (x A) B^T in float64, rounded once."""
    made = []
    for original, (_, axis) in zip(originals, towers.parts(layer), strict=True):
        x = original.detach().cpu().double().movedim(axis, -1)
        for step in steps:
            if step.edit is None:  # the identity from the layer's width, and no bias
                width = originals[0].shape[1 + axis]
                x = torch.eye(width).to(x) if x.ndim == 2 else x.new_zeros(width)
            else:
                a, b = step.factors
                x = x - (x @ a) @ b.T
        made.append(x.movedim(-1, axis).to(original.dtype).to(original.device).contiguous())
    return made


def _record(slot: Slot, side: str, permanent: bool = False) -> _Record:
    """What can be taken out of a layer; one that is not what fold wrote is refused, or ``permanent`` too."""
    state = _State.of(slot)
    found = state.record
    if permanent and any(step.thread for step in found.steps):
        what = "got True inside `with folded` (or unprojected), whose end needs the weights of before"
        raise ValueError(f"permanent: {what}, want it outside")

    def holds(data: Sequence[torch.Tensor]) -> bool:
        """Whether these are the layer's data, but for a cast or a move of the whole model."""
        return all(torch.equal(here, x.to(here)) for here, x in zip(state.data, data, strict=True))

    if not found.steps:
        return replace(found, originals=state.data)
    if holds(found.written):
        return found
    if holds(found.originals):
        return replace(found, steps=())
    if permanent:
        return _Record(found.marked, state.data, settled=found.settled + found.steps)
    what = "is not what fold wrote (it was trained or cast, or other weights were loaded)"
    want = "want those that fold wrote or the original ones (load_state_dict), or fold(..., permanent=True)"
    raise ValueError(f"clip: the last layer of its {side} tower {what}; {want}")


def _with_steps(slot: Slot, layer: Any, record: _Record, steps: tuple[_Step, ...]) -> _State:
    """The tower with these steps in place of the record's."""
    made = _computed(layer, record.originals, steps) if steps else record.originals
    # after a cast or a move the data follow the layer; otherwise `to` gives the tensor itself
    data = [x.to(here) for x, here in zip(made, towers.data(layer), strict=True)]
    if steps:
        return _State(slot, layer, data, replace(record, written=[x.clone() for x in made], steps=steps))
    if record.added:
        return _State(slot, record.added[0], [], _Record())
    return _State(slot, layer, data, _Record(record.mark, settled=record.settled))


def _refuse_other_threads(clip: Any) -> None:
    for slot in filter(None, (towers.find(clip, side) for side in TOWERS)):
        record = _RECORDS.get(slot.holder())
        if record and {step.thread for step in record.steps} - {None, threading.get_ident()}:
            what = "another thread is inside `with folded` (or unprojected) on this model"
            raise ValueError(f"clip: {what}, want one thread at a time, or a copy.deepcopy of it for each")


def _insert(clip: Any, new: Sequence[_Step], permanent: bool = False) -> None:
    with _LOCK, torch.inference_mode(False):
        _refuse_other_threads(clip)
        states = []
        for step in new:
            slot = towers.slot(clip, step.side)
            if step.edit is not None and step.edit.dim != slot.dim:
                want = f"want {slot.dim} like this model's {step.side} embeddings"
                raise ValueError(f"edit: acts on {step.edit.dim} dimensions, {want}")
            if slot.is_empty:
                model: Any = towers.network(clip)
                tower = model.visual if step.side == "image" else getattr(model, "text", model)
                # under fp16 norms stay in fp32; features leave in the dtype of the linear layers
                layer = slot.identity(next(m.weight for m in tower.modules() if isinstance(m, nn.Linear)))
                record = _Record(None, towers.data(layer), added=(slot.layer,))
            else:
                layer, record = slot.layer, _record(slot, step.side, permanent)
            # what stands in for the layer comes last
            steps = sorted([*record.steps, step], key=lambda s: s.edit is None)
            state = _with_steps(slot, layer, record, tuple(steps))
            if permanent:  # the same data, and nothing kept to take them back
                done = _Record(state.record.marked, settled=(*record.settled, *steps))
                state = replace(state, record=done)
            states.append(state)
        _commit(states)


def _withdraw(model: nn.Module, new: Sequence[_Step]) -> None:
    """Take these steps out, and only these; none of them may be there any more."""
    with _LOCK, torch.inference_mode(False):
        states = []
        for step in new:
            step.thread = None
        for step in new:
            slot = towers.slot(model, step.side)
            found = _RECORDS.get(slot.holder())
            if found and step in found.steps:
                record = _record(slot, step.side)
                left = tuple(s for s in record.steps if s is not step)
                states.append(_with_steps(slot, slot.layer, record, left))
        _commit(states)


@contextlib.contextmanager
def _inside(clip: M, new: Sequence[_Step]) -> Iterator[M]:
    model = towers.network(clip)  # whatever a Clip is given meanwhile
    try:
        try:
            for step in new:
                step.thread = threading.get_ident()
            _insert(model, new)
            yield clip
        finally:
            _withdraw(model, new)
    except BaseException:
        with contextlib.suppress(ValueError):  # that it cannot be taken out is said once
            _withdraw(model, new)  # an interrupt may have stopped the first
        raise


def _steps(edit: Edit, side: Side) -> list[_Step]:
    return [_Step(s, _check.instance(Edit)("edit", edit)) for s in _sides(side)]


def _sides(side: Side) -> Sequence[Tower]:
    _check.one_of("side", side, SIDES)
    return TOWERS if side == "both" else (side,)


def fold(clip: M, edit: Edit, side: Side = "image", permanent: bool = False) -> M:
    """Put an edit into the last layer of a tower, in place, until `unfold`. Returns ``clip``.

    Image side: features z [n, d], before normalisation, become z W = z - (z L) R^T. Text side: t becomes
    t W^T = t - (t R) L^T; normalising undoes part of it. A second edit composes with the first: z W1 W2.
    ``permanent``: nothing is kept to unfold it, or those before it, with. A ValueError, and the model is as
    it was, for an unknown tower, another dimension, a layer that was trained or loaded over since the last
    `fold`, or another thread inside `folded`. A tower without a projection (SigLIP's) gets an identity one.
    Ours: arXiv 2512.14137 multiplies embeddings by the projector, after the network. Notebook 03.
    """
    _insert(clip, _steps(edit, side), permanent)
    return clip


def unfold(clip: M, side: Side = "both") -> M:
    """Undo every `fold`: parameters hold the very data of before, added layers are gone. Returns ``clip``.

    Errors as `fold`, and where the data of before are not here: this is a copy, or the fold was permanent.
    """
    with _LOCK, torch.inference_mode(False):
        slots = [(towers.slot(clip, s), s) for s in _sides(side)]
        _refuse_other_threads(clip)
        states = []
        for slot, s in slots:
            found = _RECORDS.get(slot.holder())
            if found and found.steps:
                left = tuple(step for step in found.steps if step.edit is None)
                states.append(_with_steps(slot, slot.layer, _record(slot, s), left))
            elif MARK in vars(slot.holder()):
                why = "this is a copy of a folded model, or fold had permanent=True"
                want = "want the model that fold was called on, or the original"
                raise ValueError(f"clip: the edit of its {s} tower cannot be taken out: {why}; {want}")
        _commit(states)
    return clip


def folded(clip: M, edit: Edit, side: Side = "image") -> AbstractContextManager[M]:
    """``with folded(clip, edit): ...`` - the model has forgotten inside; leaving takes out this edit alone.

    Until then no other thread can fold into this model. Leaving raises what `unfold` raises.
    """
    return _inside(clip, _steps(edit, side))


def folded_edits(clip: Any) -> list[tuple[Tower, Edit]]:
    """The edits folded in now, as (side, edit), in the order in which they act; a copy knows of none."""
    records = [_RECORDS.get(towers.slot(clip, side).holder()) for side in TOWERS]
    steps = [step for record in records if record for step in record.settled + record.steps]
    return [(step.side, step.edit) for step in steps if step.edit is not None]


def last_layer(clip: Any, side: Tower = "image") -> torch.Tensor:
    """The last layer of a tower as P [w, d], float32 on the CPU, edits included: z = h P.

    A bias is one more row, h then has a column of ones; a tower without a projection has the identity.
    """
    slot = towers.slot(clip, side)
    if slot.is_empty:
        return torch.eye(slot.dim)
    parts = towers.parts(slot.layer)
    return torch.cat([p.detach().float().cpu().movedim(axis, -1).reshape(-1, slot.dim) for p, axis in parts])


def unprojected(clip: M, side: Tower = "image") -> AbstractContextManager[M]:
    """``with unprojected(clip): ...`` - the tower ends before its last layer, in the features h [n, w]."""
    return _inside(clip, [] if towers.slot(clip, side).is_empty else [_Step(side, None)])


def merged_state(clip: Any) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """``state_dict()``, edits included, and changes of ``model_cfg`` for projections that were added."""
    model = towers.network(clip)
    slots = [towers.slot(model, side) for side in TOWERS]
    added = [slot.config for slot in slots if vars(slot.holder()).get(MARK) == ADDED]
    return dict(model.state_dict()), {section: new for config in added for section, new in config.items()}
