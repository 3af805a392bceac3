"""What a file of weights is, and its tensors under open_clip's names; no other object is ever unpickled."""

from __future__ import annotations

import pickle
import re
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = []

State = Mapping[str, torch.Tensor]

WEIGHTS = "open_clip_model.safetensors"
#: names of weights in a folder, in open_clip's order
PREFERRED = (
    WEIGHTS, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
#: how other files with weights end
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
AGAIN = "want it copied or downloaded again"
ONE = "want the state_dict of one of them"
#: what every CLIP has
SCALE = re.compile(r"(^|\.)logit_scale$")
#: how a file begins that is none: what it is, and what to do
OTHERS = (
    (rb"\Z", "is empty", AGAIN),
    (rb"version https://git-lfs", "is a Git LFS pointer, a few lines in place of the file",
     "want `git lfs pull` in its repository"),
    (rb"(\xef\xbb\xbf)?\s*<[!?a-zA-Z]", "is a web page",
     "want the file itself (on the Hugging Face hub its address has /resolve/, not /blob/)"),
)  # fmt: skip
TORCHSCRIPT = (
    "is a TorchScript archive, a program with its weights, as OpenAI published its models",
    "want load('ViT-B-32-quickgelu', 'openai') for those; one that you trust is converted by",
)
CONVERT = (
    'python -c "import sys, torch; file = sys.argv[1]; '
    "torch.save(torch.jit.load(file, map_location='cpu').state_dict(), file + '.weights.pt')\""
)
#: keys of a checkpoint that open_clip does not read: what they are, and what to do
FOREIGN = (
    (r"^base_model\.model\.|\blora_|\.base_layer\.", "holds a PEFT adapter",
     "want it merged into its model: model.merge_and_unload(), then that model's state_dict"),
    (r"(^|\.)vision_model\.", "holds the weights of a transformers model, not open_clip's",
     "want load('local-dir:FOLDER'), a folder with its config.json and processor, and no open_clip config"),
)  # fmt: skip
#: in the state_dict of an archive, and no weights
DERIVED = ("input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask")
#: where checkpoints keep the model that was trained, beside averages of it and other networks
MODELS = ("state_dict", "model_state_dict", "model", "module")
#: what open_clip's training writes beside the tensors, under the names of NumPy 1 and 2: plain numbers
_SCALAR = np.float64(0).__reduce__()[0]
NUMBERS: list[Any] = [np.dtype, type(np.dtype(np.float64))]
NUMBERS += [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def line(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return text[:200] or type(error).__name__


def refusal(path: Path, what: str, *want: str) -> ValueError:
    """The error for a file that is not what was hoped for; whoever asked for it names the argument."""
    return ValueError(f"{str(path)!r} {what}; {' '.join(want)}")


def other(path: Path) -> tuple[str, str] | None:
    """For an empty file, an LFS pointer or a web page: what it is, and what to do."""
    with path.open("rb") as file:
        head = file.read(200)
    return next(((what, want) for start, what, want in OTHERS if re.match(start, head)), None)


def kind(path: Path) -> str:
    """How a file is read: "safetensors", "zip", "pickle" or "numpy"; a ValueError says what else it is."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if head[5:] == b"\0\0\0{":  # the length of a header, in eight bytes, and the header: JSON
            return "safetensors"
        if found := other(path):
            raise refusal(path, *found)
        names = zipfile.ZipFile(path).namelist() if head.startswith(b"PK") else []
    except (OSError, zipfile.BadZipFile) as error:
        raise refusal(path, f"cannot be read ({error})", AGAIN) from error
    if any(name.endswith("constants.pkl") for name in names):
        raise refusal(path, *TORCHSCRIPT, f"{CONVERT} {shlex.quote(str(path))}")
    if any(name.endswith("data.pkl") for name in names):
        return "zip"
    if head.startswith(b"\x93NUMPY") or (names and all(name.endswith(".npy") for name in names)):
        return "numpy"
    if head.startswith(b"\x80"):
        return "pickle"
    what = "is no file of weights that torch or safetensors wrote"
    raise refusal(path, what, "want a model's state_dict, written by torch.save or safetensors")


def translated(path: Path, rewrite: bool = False) -> tuple[State | None, str]:
    """The tensors of a checkpoint under open_clip's names, and what was left out, in a sentence.

    None where open_clip reads the file as it is, unless ``rewrite``. A ValueError for anything but a CLIP.
    """
    how = kind(path)
    if how == "numpy":  # big_vision's, which open_clip translates
        return None, ""
    whole, simple = _read(path, how)
    where, found = _model(path, whole)
    state = {key.replace("_orig_mod.", ""): x for key, x in found.items()}  # torch.compile's
    # what wrappers (DDP, Lightning) put before the names of a CLIP's parameters
    prefix, *heads = sorted((key.removesuffix("logit_scale") for key in state if SCALE.search(key)), key=len)
    if others := [head for head in heads if not head.startswith(prefix)]:
        raise refusal(path, f"holds several models ({', '.join([prefix, *others])})", ONE)
    inner = {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}
    for key in DERIVED:
        inner.pop(key, None)
    left = [key for key in state if not key.startswith(prefix)]
    note = f"{str(path)!r}: {len(left)} tensors outside {prefix!r} were left out ({', '.join(left[:3])})"
    simple &= where in ("", "state_dict") and prefix in ("", "module.")
    simple &= (how == "safetensors") == (path.suffix == ".safetensors")
    as_it_is = simple and [prefix + key for key in inner] == [*found] and not rewrite
    return None if as_it_is else inner, note if left else ""


def _read(path: Path, how: str) -> tuple[Any, bool]:
    """What a file holds, and whether torch reads it without being told of NumPy's numbers."""
    from safetensors.torch import load_file

    def load() -> Any:
        named = path.suffix == ".safetensors"  # torch goes by the name
        with path.open("rb") as file:
            whole: Any = file if named else path
            return torch.load(whole, map_location="cpu", weights_only=True, mmap=how == "zip" and not named)

    try:
        if how == "safetensors":
            return load_file(path), True
        try:
            return load(), True
        except pickle.UnpicklingError:
            with torch.serialization.safe_globals(NUMBERS):
                return load(), False
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds {found[1] if found else 'more than tensors'} and cannot be read without unpickling"
        want = "which may run code; want the model's state_dict alone, from somebody whom you trust"
        raise ValueError(f"{str(path)!r} {what}, {want}") from error
    except Exception as error:  # each format has errors of its own for this
        raise refusal(path, f"is cut short or damaged ({line(error)})", AGAIN) from error


def _model(path: Path, whole: Any) -> tuple[str, State]:
    found = dict(_states(whole))
    keys = [key for state in found.values() for key in state]
    for pattern, what, want in FOREIGN:
        if any(re.search(pattern, key) for key in keys):
            raise refusal(path, what, want)
    clips = {where: state for where, state in found.items() if any(map(SCALE.search, state))}
    if not clips:
        what = f"holds no CLIP: no logit_scale among its {len(keys)} tensors ({', '.join(keys[:3])})"
        raise refusal(path, what, "want the weights of both towers")
    where = next(where for where in (*MODELS, *clips) if where in clips)
    if len(clips) > 1 and where not in MODELS:
        raise refusal(path, f"holds several models ({', '.join(clips)})", ONE)
    return where, clips[where]


def _states(whole: Any, where: str = "", depth: int = 2) -> Iterator[tuple[str, State]]:
    """Whatever maps names to tensors in a checkpoint, by the keys that lead there."""
    if not isinstance(whole, Mapping):
        return
    if state := {k: x for k, x in whole.items() if isinstance(k, str) and isinstance(x, torch.Tensor)}:
        yield where, state
    for key, inner in whole.items() if depth else ():
        yield from _states(inner, f"{where}.{key}".lstrip("."), depth - 1)


def write(state: State, path: Path) -> None:
    """Save tensors as safetensors wants them: contiguous, on the CPU, none sharing memory."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    out: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for key, value in state.items():
        x = value.detach().cpu().contiguous()
        storage = x.untyped_storage()
        out[key] = x.clone() if storage.data_ptr() in seen or storage.nbytes() > x.nbytes else x
        seen.add(storage.data_ptr())
    try:
        save_file(out, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{str(path)!r} could not be written ({error})") from error
