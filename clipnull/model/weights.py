"""What a file of weights is, and its tensors under open_clip's names. No other object is ever unpickled."""

from __future__ import annotations

import pickle
import re
import shlex
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
#: how other files of weights end
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
#: what OpenAI's archive has beside the weights
DERIVED = ("input_resolution", "context_length", "vocab_size", "attn_mask")
CONVERT = (
    'python -c "import sys, torch; file = sys.argv[1]; '
    "torch.save(torch.jit.load(file, map_location='cpu').state_dict(), file + '.weights.pt')\""
)
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


def translated(argument: str, path: Path, always: bool = False) -> dict[str, Any] | None:
    """The tensors of a CLIP by open_clip's names; None where it reads the file as it is, but for ``always``.

    Wrappers (torch.compile, DDP, Lightning) put something before the names. A ValueError for all else.
    """
    if recognised(argument, path).suffix in (".npz", ".npy"):  # big_vision's
        return None
    whole = _read(argument, path)
    kept = (whole.get(key) for key in ("state_dict", "model_state_dict", "model"))
    held = next((state for state in kept if isinstance(state, Mapping)), whole)
    state = {str(key).replace("_orig_mod.", ""): x for key, x in held.items()}
    for pattern, what, want in FOREIGN:
        if any(re.search(pattern, key) for key in state):
            raise ValueError(f"{argument}: {str(path)!r} {what}; {want}")
    heads = [key.removesuffix("logit_scale") for key in state if re.search(r"(^|\.)logit_scale$", key)]
    if len(heads) != 1:
        what = f"holds {', '.join([*state][:4]) or 'nothing'} and {len(heads) or 'no'} logit_scale"
        want = "the plain state_dict of a CLIP with both towers, under open_clip's names"
        raise ValueError(f"{argument}: {str(path)!r} {what}; want {want}")
    own = [key for key in state if key.startswith(heads[0]) and not key.endswith(DERIVED)]
    found = {key.removeprefix(heads[0]): state[key] for key in own}
    plain = (held is whole or held is whole.get("state_dict")) and heads[0] in ("", "module.")
    return None if plain and not always and {*own} == {*held} else found


def recognised(argument: str, path: Path) -> Path:
    """The path; a ValueError for an empty file, a Git LFS pointer or a web page."""
    with path.open("rb") as file:
        head = file.read(200)
    for start, what, want in OTHERS:
        if re.match(start, head):
            raise ValueError(f"{argument}: {str(path)!r} {what}; {want}")
    return path


def _read(argument: str, path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    zipped = zipfile.is_zipfile(path)
    if zipped and any(name.endswith("constants.pkl") for name in zipfile.ZipFile(path).namelist()):
        what = "is a TorchScript archive, a program; want load('ViT-B-32-quickgelu', 'openai') for OpenAI's"
        way = f"one that you trust is converted by {CONVERT} {shlex.quote(str(path))}"
        raise ValueError(f"{argument}: {str(path)!r} {what}; {way}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        whole = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        what = f"cannot be read without unpickling, which may run code ({line(error)})"
        raise ValueError(f"{argument}: {str(path)!r} {what}; want the state_dict alone") from error
    except Exception as error:  # each format has errors of its own for this
        raise ValueError(f"{argument}: {str(path)!r} cannot be read ({line(error)}); {AGAIN}") from error
    return whole if isinstance(whole, Mapping) else {}
