"""Where each kind of tower ends: the last linear layer, or the place where one would be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from clipnull import _check

__all__ = []

Tower = Literal["image", "text"]
TOWERS: tuple[Tower, ...] = ("image", "text")


@dataclass(frozen=True)
class Slot:
    """Where a tower keeps, or would keep, its final projection to ``dim`` = d entries.

    ``parent.name`` is a parameter [width, d], a Linear with d outputs, or None or Identity when the tower has
    no projection. ``fill`` is what it expects there, ``config`` what open_clip's ``model_cfg`` then lacks.
    """

    parent: nn.Module
    name: str
    dim: int
    fill: Literal["matrix", "linear", "linear with bias"] = "linear"
    config: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def layer(self) -> Any:
        return getattr(self.parent, self.name)

    @property
    def is_empty(self) -> bool:
        return self.layer is None or isinstance(self.layer, nn.Identity)

    def holder(self) -> nn.Module:
        """The module that owns the parameters of the layer."""
        return self.layer if isinstance(self.layer, nn.Linear) else self.parent

    def identity(self, like: torch.Tensor) -> nn.Linear | nn.Parameter:
        """An identity projection of the kind that the tower expects, not yet in it."""
        eye = nn.Parameter(torch.eye(self.dim, dtype=like.dtype, device=like.device), requires_grad=False)
        if self.fill == "matrix":
            return eye
        linear = nn.Linear(self.dim, self.dim, bias=False, device="meta")
        linear.weight = eye
        if self.fill == "linear with bias":
            linear.bias = nn.Parameter(torch.zeros_like(eye[0]), requires_grad=False)
        return linear.train(self.parent.training)

    def put(self, layer: Any) -> None:
        """Make ``layer`` what is there: one that `layer` gave, or `identity` made."""
        if getattr(self.parent, self.name, ...) is layer:  # missing where this was interrupted
            return
        if self.name not in self.parent._modules:  # which keeps its place in the order
            for others in (self.parent._parameters, vars(self.parent)):  # one would hide the other
                others.pop(self.name, None)
        setattr(self.parent, self.name, layer)


def parts(layer: Any) -> list[tuple[Any, int]]:
    """The parameters of a last layer, each with the axis of the d embedding entries."""
    linear = isinstance(layer, nn.Linear)  # keeps its weight as [d, width]
    tensors = [layer.weight, layer.bias] if linear else [layer]
    found = [(p, 0 if linear else -1) for p in tensors if isinstance(p, torch.Tensor)]
    own = linear and type(layer).forward is not nn.Linear.forward
    if own or not all(isinstance(p, nn.Parameter) and p.is_floating_point() for p, _ in found):
        want = "want a plain nn.Linear or nn.Parameter, not one that is quantised or computed (weight_norm)"
        raise ValueError(f"clip: its last layer is a {_kind(layer)}; {want}")
    return found


def data(layer: Any) -> list[torch.Tensor]:
    return [p.data for p, _ in parts(layer)]


def _image(model: Any) -> Slot | None:
    """transformers' CLIPModel, bare or wrapped; open_clip's VisionTransformer, ModifiedResNet, TimmModel."""
    visual: Any = getattr(model, "visual", None)
    holder = model if hasattr(model, "visual_projection") else visual
    if isinstance(linear := getattr(holder, "visual_projection", None), nn.Linear):
        return Slot(holder, "visual_projection", linear.out_features)
    if "VisionTransformer" in _kind(visual):
        proj = visual.proj
        return Slot(visual, "proj", visual.output_dim if proj is None else proj.shape[1], "matrix")
    if (pool := getattr(visual, "attnpool", None)) is not None:
        linear = pool.c_proj
        return Slot(pool, "c_proj", linear.out_features) if isinstance(linear, nn.Linear) else None
    return _timm(visual.head, visual.trunk) if "TimmModel" in _kind(visual) else None


def _timm(head: Any, trunk: Any) -> Slot | None:
    """A linear, mlp or pooling head, the trunk's own classifier, or none."""
    for path in ("proj", "mlp.fc2", "pool.proj"):
        parent, _, name = path.rpartition(".")
        holder: Any = getattr(head, parent, None) if parent else head
        linear = getattr(holder, name, None)
        if isinstance(linear, nn.Linear):
            return Slot(holder, name, linear.out_features)
        if not isinstance(linear, nn.Identity | None):
            return None
    classifier = trunk.get_classifier()
    if not isinstance(classifier, nn.Linear | nn.Identity):
        return None  # a convolution as classifier: no open_clip config has one
    dim = getattr(classifier, "out_features", None) or getattr(trunk, "head_hidden_size", trunk.num_features)
    path = next(path for path, module in trunk.named_modules() if module is classifier)
    parent, _, name = path.rpartition(".")
    # SigLIP has no classifier. timm_proj = None asks for the same trunk with one; "linear" would build
    # some trunks with their norm elsewhere.
    config = {"vision_cfg": {"timm_proj": None}}
    return Slot(trunk.get_submodule(parent), name, dim, "linear with bias", config)


def _text(model: Any) -> Slot | None:
    """open_clip's HFTextEncoder, its own text tower, inside CLIP or beside it, and transformers'."""
    text = getattr(model, "text", model)
    if "HFTextEncoder" in _kind(text):
        inner = text.proj if isinstance(text.proj, nn.Sequential) else None
        parent, name = (text, "proj") if inner is None else (inner, str(len(inner) - 1))
        if not isinstance(getattr(parent, name), nn.Linear | nn.Identity):
            return None
        return Slot(parent, name, text.output_dim, "linear", {"text_cfg": {"hf_proj_type": "linear"}})
    projection = getattr(text, "text_projection", ...)
    if not isinstance(projection, nn.Linear | torch.Tensor | None):
        return None
    if isinstance(projection, nn.Linear):
        dim = projection.out_features
    else:
        dim = text.ln_final.normalized_shape[0] if projection is None else projection.shape[1]
    config = {"text_cfg": {"proj_type": "linear", "proj_bias": False}}
    return Slot(text, "text_projection", dim, "matrix", config)


def _kind(module: Any) -> str:
    return type(module).__name__  # by name: open_clip need not be imported


def network(clip: Any) -> Any:
    """The nn.Module of a Clip, or the module itself; a ValueError for anything else."""
    model = clip if isinstance(clip, nn.Module) else getattr(clip, "model", None)
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        want = "what clipnull.load returns, or a model of open_clip or transformers"
        raise ValueError(f"clip: got {type(clip).__name__}, want {want}")
    return model


def find(clip: Any, side: Tower) -> Slot | None:
    return (_image if side == "image" else _text)(network(clip))


def slot(clip: Any, side: Tower = "image") -> Slot:
    """As `find`; a ValueError for an unknown side, or a tower that clipnull does not know."""
    _check.one_of("side", side, TOWERS)
    if (found := find(clip, side)) is not None:
        return found
    want = "want one of open_clip's, or a transformers CLIPModel, an adapter merged: model.merge_and_unload()"
    what = f"no {side} tower with a final projection that clipnull knows in {_kind(network(clip))}"
    raise ValueError(f"clip: {what}; {want}")
