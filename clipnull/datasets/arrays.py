"""Embeddings from files, and those of real CLIPs that come with the package: no pictures needed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open

from clipnull import _check, _files

__all__ = ["Embeddings", "embeddings", "load_arrays", "read_array"]

FILES = {"coco": "coco160_vit_b_16.safetensors", "lvis": "lvis1203_vit_b_32.safetensors"}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Images Z [n, d] (or None) and names T [C, d], under other ``prompts`` too: unit rows, float32."""

    Z: torch.Tensor | None
    T: torch.Tensor
    labels: torch.Tensor | None
    classes: list[str]
    prompts: dict[str, torch.Tensor] = field(default_factory=dict)
    loaded_with: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        images = "no" if self.Z is None else len(self.Z)
        return f"Embeddings({images} images, {len(self.T)} classes, {self.T.shape[1]} dimensions)"


def load_arrays(
    path: str | Path | None = None, *, Z: Any = None, T: Any = None, labels: Any = None, classes: Any = None
) -> Embeddings:
    """Embeddings that another program wrote, from ``.npy``, ``.npz``, ``.pt`` or ``.safetensors``.

    ``path`` is one file with arrays called Z, T, labels and classes (of safetensors: the metadata "classes",
    JSON; by default "class 0", …). In place of each, its argument: the array, or a file of its own. Rows are
    scaled to unit length. A ValueError for a file to be unpickled, and an array that is missing or misfits.
    """
    found = {} if path is None else _read_arrays(path, "path")
    for role, value in {"Z": Z, "T": T, "labels": labels, "classes": classes}.items():
        if isinstance(value, str | os.PathLike):
            value = read_array(value, role)
        if value is not None:
            found[role] = value
        elif role not in found and role != "classes":
            have = "got none" if path is None else f"{str(path)!r} has {', '.join(found) or 'none'}"
            raise ValueError(f"{role}: {have}, want an array of that name, or {role}= with it or its file")
    T = F.normalize(_check.rows("T", found["T"], nonzero=True).float(), dim=1).cpu()
    Z = F.normalize(_check.rows("Z", found["Z"], T.shape[1], nonzero=True).float(), dim=1).cpu()
    names = _check.names("classes", found.get("classes", [f"class {i}" for i in range(len(T))]), len(T))
    return Embeddings(Z, T, _check.labels("labels", found["labels"], len(Z), len(T)), names)


def read_array(path: str | os.PathLike[str], name: str = "array") -> Any:
    """The array in a file as it is: the only one, or the one called ``name``. Errors as in `load_arrays`."""
    own = _read_arrays(path, name)
    if len(own) > 1 and name not in own:
        raise ValueError(f"{name}: {str(path)!r} has {', '.join(own)}, want one array, or one called {name}")
    return own[name] if name in own else next(iter(own.values()), None)


def _read_arrays(path: str | os.PathLike[str], role: str) -> dict[str, Any]:
    """The arrays in a file by name; an array without a name is called ''."""
    file = _files.path(role, path)
    made: Any
    try:
        if file.suffix in (".npy", ".npz"):
            made = np.load(file, allow_pickle=False)
        elif file.suffix in (".pt", ".pth", ".bin"):
            made = torch.load(file, map_location="cpu", weights_only=True)
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as tensors:
                made = {key: tensors.get_tensor(key) for key in tensors.keys()}
                known = tensors.metadata() or {}
            if listed := known.get("classes", known.get("names")):  # "names" in those that ship
                made["classes"] = json.loads(listed)
        else:
            raise ValueError("want a .npy, .npz, .pt or .safetensors file")
        return dict(made) if isinstance(made, Mapping) else {"": made}
    except Exception as error:  # each of the formats has errors of its own
        line = " ".join(str(error).split())[:200]
        raise ValueError(f"{role}: cannot read {str(path)!r} without unpickling ({line})") from error


def embeddings(name: Literal["coco", "lvis"], prompt: Literal["single", "multi"] = "single") -> Embeddings:
    """What OpenAI's CLIP makes of COCO's photographs and names, or of the names of LVIS; d = 512.

    "coco": ViT-B/16; 160 photographs of one kind of object (28 kinds), and the 80 names, ``prompt`` "a photo
    of a {}." or the mean over many ("multi"). "lvis": ViT-B/32; 1,203 names under "a {}", no pictures.
    Sources: arXiv 2203.02053 (photographs), 2212.03588 and 2201.02605 (names); licences in NOTICE.
    """
    _check.one_of("name", name, FILES)
    _check.one_of("prompt", prompt, ["single", "multi"] if name == "coco" else ["single"])
    own = _read_arrays(Path(__file__).parent / "real" / FILES[name], "name")
    if name == "lvis":
        return Embeddings(None, F.normalize(own["name"].float(), dim=1), None, own["classes"])
    Z, *T = (F.normalize(own[k].float(), dim=1) for k in ("image", "name_single", "name_multi"))
    prompts = dict(zip(("single", "multi"), T, strict=True))
    said = (name,) if prompt == "single" else (name, prompt)
    return Embeddings(Z, prompts.pop(prompt), own["label"].long(), own["classes"], prompts, said)
