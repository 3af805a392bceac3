"""Fold an `Edit` into the last layer of a tower, and take it out again.

A tower ends in a linear projection, so an edit of its features is an edit of that one layer:
features ``h @ P [n, d]`` become ``h @ (P W)`` on the image side and ``h @ (P W^T)`` on the text
side. Nothing else of the network changes, and normalisation, which comes later, sees the edited
features.

The projection keeps its own tensor: `torch.nn.utils.parametrize` computes the edited one when the
layer is used, so `unfold` gives back the very same parameter. Folding twice composes, first edit
first. ``state_dict()`` of a folded model is that of an ordinary model with the edited projection:
whatever saves it (torch, safetensors, ``save_pretrained``) saves what has forgotten.

open_clip's models and those of Hugging Face ``transformers`` that end in ``visual_projection`` and
``text_projection`` (CLIPModel) are known. To teach it another kind of tower, write a function that
returns its `Slot` and add it to `IMAGE_TOWERS` or `TEXT_TOWERS`.

References
----------
arXiv 2512.14137 multiplies image embeddings by the projector after the network; folding it into
the last layer is ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from clipnull import _check
from clipnull.erasers import Edit

__all__ = [
    "embedding_dim",
    "fold",
    "folded",
    "folded_edits",
    "last_layer",
    "merged_state",
    "unfold",
    "unprojected",
]

SIDES = ("image", "text")
# attributes that a module carries while something is folded into it
_ADDED = "_clipnull_added"  # {name: (what was there before,)}, or {name: ()} for nothing
_ORDER = "_clipnull_order"  # names of its parameters, in order

M = TypeVar("M")


@dataclass(frozen=True)
class Slot:
    """Where a tower keeps, or would keep, its final projection.

    Attributes
    ----------
    parent : nn.Module
    name : str
        ``parent.name`` is a parameter [width, d], a Linear with d outputs, or neither: None,
        Identity or missing when the tower has no projection.
    dim : int
        d, of the features that leave the tower.
    fill : {"matrix", "linear", "linear with bias"}
        What the tower expects there when one has to be added.
    config : dict
        What to change in open_clip's ``model_cfg`` so that it builds the added one.
    """

    parent: nn.Module
    name: str
    dim: int
    fill: str = "linear"
    config: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """The parameter or module there now; None when there is none."""
        return getattr(self.parent, self.name, None)

    @property
    def is_empty(self) -> bool:
        """Whether the tower has no projection of its own."""
        return self.value is None or isinstance(self.value, nn.Identity)

    @property
    def is_added(self) -> bool:
        """Whether the projection there was put there by `fold`."""
        return self.name in self.parent.__dict__.get(_ADDED, {})

    def tensors(self) -> list[tuple[nn.Module, str, int]]:
        """The tensors to edit: (module, name, axis that runs over the d embedding entries)."""
        value = self.value
        if isinstance(value, nn.Linear):
            names = ["weight"] if value.bias is None else ["weight", "bias"]
            return [(value, name, 0) for name in names]  # Linear keeps its weight as [d, width]
        return [(self.parent, self.name, -1)]

    def add(self, like: torch.Tensor) -> None:
        """Put an identity projection there, of the dtype and on the device of ``like``."""
        added = self.parent.__dict__.setdefault(_ADDED, {})
        missing = not hasattr(self.parent, self.name)
        eye = nn.Parameter(torch.eye(self.dim, dtype=like.dtype, device=like.device), requires_grad=False)
        added[self.name] = () if missing else (self.value,)
        if self.fill == "matrix":
            # a plain None attribute would hide the parameter
            self.parent.__dict__.pop(self.name, None)
            self.parent.register_parameter(self.name, eye)
        else:
            linear = nn.Linear(self.dim, self.dim, bias=False, device="meta")
            linear.weight = eye
            if self.fill == "linear with bias":
                linear.bias = nn.Parameter(eye.new_zeros(self.dim), requires_grad=False)
            setattr(self.parent, self.name, linear)

    def remove(self) -> None:
        """Take an added projection away; what was there before comes back."""
        before = self.parent.__dict__[_ADDED].pop(self.name)
        delattr(self.parent, self.name)
        if before:
            setattr(self.parent, self.name, before[0])
        if not self.parent.__dict__[_ADDED]:
            del self.parent.__dict__[_ADDED]


# --- where each kind of tower ends ---------------------------------------------------------


def _vit(model: Any) -> Slot | None:
    """open_clip's VisionTransformer, CoCa's included: ``proj [width, d]``."""
    visual: Any = getattr(model, "visual", None)
    if "VisionTransformer" not in _kind(visual):
        return None
    proj = visual.proj
    return Slot(visual, "proj", visual.output_dim if proj is None else proj.shape[1], "matrix")


def _resnet(model: Any) -> Slot | None:
    """open_clip's ModifiedResNet: the output projection of its attention pool, bias included."""
    pool: Any = getattr(getattr(model, "visual", None), "attnpool", None)
    return None if pool is None else Slot(pool, "c_proj", pool.c_proj.out_features)


def _timm(model: Any) -> Slot | None:
    """open_clip's TimmModel: a linear, mlp or pooling head, the trunk's own classifier, or none."""
    visual: Any = getattr(model, "visual", None)
    if "TimmModel" not in _kind(visual):
        return None
    head, trunk = visual.head, visual.trunk
    for path in ("proj", "mlp.fc2", "pool.proj"):
        parent, _, name = path.rpartition(".")
        holder: Any = getattr(head, parent, None) if parent else head
        if isinstance(linear := getattr(holder, name, None), nn.Linear):
            return Slot(holder, name, linear.out_features)
    classifier = trunk.get_classifier()
    if not isinstance(classifier, nn.Linear | nn.Identity):
        return None  # a convolution as classifier: no open_clip config has one
    dim = getattr(classifier, "out_features", None) or getattr(trunk, "head_hidden_size", trunk.num_features)
    path = next(path for path, module in trunk.named_modules() if module is classifier)
    parent, _, name = path.rpartition(".")
    # SigLIP and its kin have an empty head and no classifier. timm_proj = None asks for the same
    # trunk with a classifier; "linear" would build some trunks with their norm elsewhere.
    config = {"vision_cfg": {"timm_proj": None}}
    return Slot(trunk.get_submodule(parent), name, dim, "linear with bias", config)


def _hf_text(model: Any) -> Slot | None:
    """open_clip's HFTextEncoder: ``proj``, a Linear, the last of an mlp, or nothing."""
    text = getattr(model, "text", None)
    if text is None or "HFTextEncoder" not in _kind(text):
        return None
    if isinstance(text.proj, nn.Sequential):
        name = str(len(text.proj) - 1)
        return Slot(text.proj, name, text.output_dim)
    return Slot(text, "proj", text.output_dim, "linear", {"text_cfg": {"hf_proj_type": "linear"}})


def _transformers_image(model: Any) -> Slot | None:
    """``visual_projection`` of a transformers model, bare or in `clipnull.hf`'s clothes."""
    holders: list[Any] = [model, getattr(model, "visual", None)]
    for holder in holders:
        if isinstance(linear := getattr(holder, "visual_projection", None), nn.Linear):
            return Slot(holder, "visual_projection", linear.out_features)
    return None


def _text(model: Any) -> Slot | None:
    """``text_projection``: open_clip's own text tower, inside CLIP or beside it, and transformers'."""
    text = getattr(model, "text", model)
    if not hasattr(text, "text_projection"):
        return None
    projection = text.text_projection
    if isinstance(projection, nn.Linear):
        dim = projection.out_features
    else:
        dim = text.ln_final.normalized_shape[0] if projection is None else projection.shape[1]
    config = {"text_cfg": {"proj_type": "linear", "proj_bias": False}}
    return Slot(text, "text_projection", dim, "matrix", config)


def _kind(module: Any) -> str:
    # parametrize swaps the class for a subclass called Parametrized...
    return type(module).__name__


IMAGE_TOWERS: list[Callable[[Any], Slot | None]] = [_transformers_image, _vit, _resnet, _timm]
TEXT_TOWERS: list[Callable[[Any], Slot | None]] = [_hf_text, _text]


def _network(clip: Any) -> Any:
    model = clip if isinstance(clip, nn.Module) else getattr(clip, "model", None)
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"clip: got {type(clip).__name__}, want what clipnull.load returns, or a model of open_clip or "
            "transformers"
        )
    return model


def _slot(clip: Any, side: str) -> Slot:
    model = _network(clip)
    for find in IMAGE_TOWERS if side == "image" else TEXT_TOWERS:
        if (slot := find(model)) is not None:
            return slot
    hint = "open_clip's SigLIP, which can be given one" if "Siglip" in _kind(model) else "one of open_clip's"
    raise ValueError(
        f"clip: no {side} tower with a final projection that clipnull knows in {_kind(model)}; want {hint}, "
        "or a transformers model with visual_projection and text_projection"
    )


def embedding_dim(clip: Any, side: str = "image") -> int:
    """d, the dimension of the embeddings of one tower.

    Parameters
    ----------
    clip : Clip or nn.Module
    side : {"image", "text"}
    """
    return _slot(clip, _check.one_of("side", side, SIDES)).dim


# --- the edit as a parametrization ---------------------------------------------------------


class _Folded(nn.Module):
    """Edits a tensor along the axis that holds the embedding: rows x become x - (x A) B^T.

    Image side: A = L, B = R, that is x W. Text side: A = R, B = L, that is x W^T.
    """

    a: torch.Tensor
    b: torch.Tensor

    def __init__(self, edit: Edit, side: str, axis: int, like: torch.Tensor) -> None:
        super().__init__()
        self.edit, self.side, self.axis = edit, side, axis
        a, b = (edit.left, edit.right) if side == "image" else (edit.right, edit.left)
        # half precision holds the product, but not its factors
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.register_buffer("a", a.detach().to(like.device, dtype, copy=True))
        self.register_buffer("b", b.detach().to(like.device, dtype, copy=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        a, b = self.a.to(y), self.b.to(y)
        y = y - (y @ a) @ b.T if self.axis == -1 or y.ndim == 1 else y - b @ (a.T @ y)
        return y.to(x.dtype)


class _Bypass(nn.Module):
    """Stands in for a projection from w features: the identity for its matrix, zero for its bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(self.width) if x.ndim == 1 else torch.eye(self.width).to(x)


def _steps(module: Any, name: str) -> Any:
    """The parametrizations of a tensor, in the order in which they act; empty when it has none."""
    return module.parametrizations[name] if parametrize.is_parametrized(module, name) else ()


def _push(clip: Any, slot: Slot, edit: Edit, side: str) -> list[_Folded]:
    if slot.is_empty:
        model = _network(clip)
        tower = model.visual if side == "image" else getattr(model, "text", model)
        # under fp16 norms stay in fp32; features leave in the dtype of the linear layers
        slot.add(next(m.weight for m in tower.modules() if isinstance(m, nn.Linear)))
    made = []
    for module, name, axis in slot.tensors():
        module.__dict__.setdefault(_ORDER, list(module._parameters))
        step = _Folded(edit, side, axis, getattr(module, name))
        parametrize.register_parametrization(module, name, step)
        made.append(step)
        if _as_edited not in module._state_dict_hooks.values():
            module._register_state_dict_hook(_as_edited)
    return made


def _as_edited(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Hook of ``state_dict()``: edited tensors under their own names, all in the order of before."""
    parts: Any = module.parametrizations
    mine = {key: state.pop(key) for key in list(state) if key.startswith(prefix)}
    for name in module.__dict__[_ORDER]:
        if name in parts:
            with torch.no_grad():
                state[prefix + name] = getattr(module, name).detach()
        elif prefix + name in mine:
            state[prefix + name] = mine.pop(prefix + name)
    made_from = tuple(f"{prefix}parametrizations.{name}." for name in parts)
    state.update({key: value for key, value in mine.items() if not key.startswith(made_from)})


def _pop(slot: Slot, drop: Callable[[_Folded], bool]) -> None:
    """Remove the parametrizations that ``drop`` names; the original comes back with the last."""
    if slot.is_empty:
        return
    clean = True
    for module, name, _ in slot.tensors():
        if not (steps := _steps(module, name)):
            continue
        ours = [i for i, step in enumerate(steps) if isinstance(step, _Folded) and drop(step)]
        if len(ours) == len(steps):
            _restore(module, name)
            continue
        for i in reversed(ours):
            del steps[i]
        clean = False
    if clean and slot.is_added:
        slot.remove()


def _restore(module: nn.Module, name: str) -> None:
    # parametrize deletes a property of the module's class, which a deep copy of it shares
    own = {k: v for k, v in type(module).__dict__.items() if k not in ("__dict__", "__weakref__")}
    module.__class__ = type(type(module).__name__, type(module).__bases__, own)
    parametrize.remove_parametrizations(module, name, leave_parametrized=False)
    if parametrize.is_parametrized(module):
        return
    hooks = module._state_dict_hooks
    for key in [key for key, hook in hooks.items() if hook is _as_edited]:
        del hooks[key]
    # parametrize puts a tensor back at the end, and optimisers count parameters by position
    for name in module.__dict__.pop(_ORDER):
        module._parameters[name] = module._parameters.pop(name)


# --- public --------------------------------------------------------------------------------


def _sides(side: str) -> tuple[str, ...]:
    return SIDES if _check.one_of("side", side, [*SIDES, "both"]) == "both" else (side,)


def _fold(clip: Any, edit: Edit, side: str) -> list[tuple[Slot, list[_Folded]]]:
    slots = [(_slot(clip, s), s) for s in _sides(side)]
    if not isinstance(edit, Edit):
        raise ValueError(f"edit: got {type(edit).__name__}, want an Edit (nullspace, consistent, ...)")
    for slot, s in slots:
        if edit.dim != slot.dim:
            raise ValueError(
                f"edit: acts on {edit.dim} dimensions, want {slot.dim} like this model's {s} embeddings"
            )
    if not (torch.isfinite(edit.left).all() and torch.isfinite(edit.right).all()):
        raise ValueError("edit: its factors hold NaN or infinity, want finite numbers")
    return [(slot, _push(clip, slot, edit, s)) for slot, s in slots]


def fold(clip: M, edit: Edit, side: str = "image") -> M:
    """Put an edit into the last layer of a tower, in place, until `unfold`.

    Image side: features z [n, d], before normalisation, become z W = z - (z L) R^T, what
    ``edit.apply_image`` does to them. Text side: t becomes t W^T = t - (t R) L^T, as
    ``edit.apply_text``. Folding W where W^T belongs is the classic mistake; they differ once
    mu > 0. A second edit composes with the first: z W1 W2.

    Parameters
    ----------
    clip : Clip or nn.Module
        What `clipnull.load` returns, or an open_clip model.
    edit : Edit
    side : {"image", "text", "both"}
        "both" edits each tower with the same W. On the text side the normalisation that follows
        undoes part of the edit (notebook 03).

    Returns
    -------
    The same ``clip``.

    Raises
    ------
    ValueError
        Not a model, a tower that clipnull does not know, an unknown side, a dimension that does
        not match, NaN or infinity. The model is then as it was.

    Notes
    -----
    A tower without a projection (SigLIP's) gets an identity one, which `unfold` removes.

    References
    ----------
    Ours; the edit is arXiv 2512.14137's. Shown in notebook 03.
    """
    _fold(clip, edit, side)
    return clip


def unfold(clip: M, side: str = "both") -> M:
    """Undo every `fold`: the parameters are the very tensors of before, added layers are gone.

    Parameters
    ----------
    clip : Clip or nn.Module
    side : {"image", "text", "both"}

    Returns
    -------
    The same ``clip``. A model with nothing folded stays as it is.

    Raises
    ------
    ValueError
        Not a model, a tower that clipnull does not know, an unknown side.
    """
    for s in _sides(side):
        _pop(_slot(clip, s), lambda step: True)
    return clip


@contextlib.contextmanager
def folded(clip: M, edit: Edit, side: str = "image") -> Iterator[M]:
    """``with folded(clip, edit): ...`` - the model has forgotten inside, and not outside.

    Leaving removes this edit alone, also after an exception; edits folded before, or inside and
    meant to stay, remain. Parameters and errors as in `fold`.

    Yields
    ------
    The same ``clip``.
    """
    made = _fold(clip, edit, side)
    try:
        yield clip
    finally:
        for slot, steps in made:
            _pop(slot, steps.__contains__)  # modules compare by identity


def folded_edits(clip: Any) -> list[tuple[str, Edit]]:
    """The edits folded in now, as (side, edit), in the order in which they act.

    Raises
    ------
    ValueError
        Not a model, or a tower that clipnull does not know.
    """
    found = []
    for side in SIDES:
        slot = _slot(clip, side)
        if slot.is_empty:
            continue
        module, name, _ = slot.tensors()[0]
        found += [(side, step.edit) for step in _steps(module, name) if isinstance(step, _Folded)]
    return found


def last_layer(clip: Any, side: str = "image") -> torch.Tensor:
    """The last layer of a tower as P [w, d], with the edits folded in now: features z = h P.

    A bias is one more row; h then has a column of ones (`unprojected`, `clipnull.attacks.layers`).
    A tower without a projection has the identity.

    Returns
    -------
    torch.Tensor [w, d], float32 on the CPU

    Raises
    ------
    ValueError
        Not a model, or a tower that clipnull does not know.
    """
    slot = _slot(clip, _check.one_of("side", side, SIDES))
    if slot.is_empty:
        return torch.eye(slot.dim)
    rows = []
    for module, name, axis in slot.tensors():
        x = getattr(module, name).detach().float().cpu()
        rows.append(x.T if x.ndim == 2 and axis == 0 else x.reshape(-1, slot.dim))
    return torch.cat(rows).contiguous()


@contextlib.contextmanager
def unprojected(clip: M, side: str = "image") -> Iterator[M]:
    """``with unprojected(clip): ...`` - the tower ends before its last layer.

    Inside, features are h [n, w], what the last layer gets; outside nothing has changed, folded
    edits included. Parameters and errors as in `last_layer`.

    Yields
    ------
    The same ``clip``.
    """
    slot = _slot(clip, _check.one_of("side", side, SIDES))
    tensors = [] if slot.is_empty else slot.tensors()
    # widths first: a stand-in changes what the layer looks like
    width = next((getattr(m, name).shape[1 if axis == 0 else 0] for m, name, axis in tensors), 0)
    for module, name, _ in tensors:
        module.__dict__.setdefault(_ORDER, list(module._parameters))
        parametrize.register_parametrization(module, name, _Bypass(width), unsafe=True)
    try:
        yield clip
    finally:
        for module, name, _ in tensors:
            steps = _steps(module, name)
            if len(steps) == 1:
                _restore(module, name)
            else:
                del steps[len(steps) - 1]


def merged_state(clip: Any) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """The state of the model with its edits baked in, and what its config needs for them.

    Returns
    -------
    state : dict of str to torch.Tensor
        ``state_dict()`` of the model, which is that of one without folded edits.
    config : dict
        What to change in open_clip's ``model_cfg``: empty unless a projection was added.
    """
    model = _network(clip)
    config: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        if (slot := _slot(model, side)).is_added:
            for section, changes in slot.config.items():
                config.setdefault(section, {}).update(changes)
    return dict(model.state_dict()), config
