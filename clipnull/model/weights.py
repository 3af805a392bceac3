"""Is a file the weights of a CLIP, as open_clip reads them? Nothing but tensors is ever unpickled."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = []

WEIGHTS = "open_clip_model.safetensors"
#: names of weights in a folder, in open_clip's order
PREFERRED = (
    WEIGHTS, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
AGAIN = "want it copied or downloaded again"
#: how a file begins that is none: what it is, and what to do
OTHERS = (
    (rb"\Z", "is empty", AGAIN),
    (rb"version https://git-lfs", "is a Git LFS pointer", "want `git lfs pull` in its repository"),
    (rb"(\xef\xbb\xbf)?\s*<[!?a-zA-Z]", "is a web page", "want the file itself, not the page about it"),
)
#: keys that open_clip does not know: whose they are, and what to do
FOREIGN = (
    (r"\blora_|\.base_layer\.", "holds a PEFT adapter", "want its model, after model.merge_and_unload()"),
    (r"(^|\.)vision_model\.", "is of a transformers model", "want load('local-dir:FOLDER') of its folder"),
)
#: what open_clip's training writes beside the tensors, under the names of NumPy 1 and 2: plain numbers
_SCALAR = np.float64(0).__reduce__()[0]
NUMBERS: list[Any] = [np.dtype, type(np.dtype(np.float64))]
NUMBERS += [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def line(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return text[:200] or type(error).__name__


def check(argument: str, path: Path) -> None:
    """A ValueError for a file in which open_clip will not find the weights of a CLIP; it says what it is."""
    keys = _keys(argument, path)
    for pattern, what, want in FOREIGN:
        if any(re.search(pattern, key) for key in keys):
            raise ValueError(f"{argument}: {str(path)!r} {what}; {want}")
    if path.suffix not in (".npz", ".npy") and not {"logit_scale", "module.logit_scale"} & {*keys}:
        what = f"holds {', '.join(keys[:4]) or 'nothing'} and no logit_scale"
        want = "the plain state_dict of a CLIP with both towers, under open_clip's names"
        raise ValueError(f"{argument}: {str(path)!r} {what}; want {want}")


def recognised(argument: str, path: Path) -> Path:
    """The path; a ValueError for an empty file, a Git LFS pointer or a web page."""
    with path.open("rb") as file:
        head = file.read(200)
    for start, what, want in OTHERS:
        if re.match(start, head):
            raise ValueError(f"{argument}: {str(path)!r} {what}; {want}")
    return path


def _keys(argument: str, path: Path) -> list[str]:
    from safetensors import safe_open

    try:
        if recognised(argument, path).suffix in (".npz", ".npy"):  # big_vision's, which open_clip translates
            return []
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return [*file.keys()]
        zipped = zipfile.is_zipfile(path)
        if zipped and any(name.endswith("constants.pkl") for name in zipfile.ZipFile(path).namelist()):
            what = "is a TorchScript archive, a program with its weights"
            want = "load('ViT-B-32-quickgelu', 'openai') in place of OpenAI's, or the state_dict alone"
            raise ValueError(f"{argument}: {str(path)!r} {what}; want {want}")
        whole = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        what = f"cannot be read without unpickling, which may run code ({line(error)})"
        raise ValueError(f"{argument}: {str(path)!r} {what}; want the state_dict alone") from error
    except ValueError:
        raise
    except Exception as error:  # each format has errors of its own for this
        raise ValueError(f"{argument}: {str(path)!r} cannot be read ({line(error)}); {AGAIN}") from error
    state = whole.get("state_dict", whole) if isinstance(whole, Mapping) else None
    return [*map(str, state)] if isinstance(state, Mapping) else []
