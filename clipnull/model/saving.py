"""Write a model as a folder: whole or not at all, with a receipt of what was done to it."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from clipnull import _check, _files
from clipnull._show import version
from clipnull.hull import certificate
from clipnull.model import towers
from clipnull.model.fold import folded_edits, merged_state
from clipnull.model.weights import WEIGHTS, line
from clipnull.report import Report

if TYPE_CHECKING:
    from clipnull.model.clip import Clip

__all__ = []

CONFIG, RECEIPT = "open_clip_config.json", "receipt.json"


def save(clip: Clip, path: str | Path, report: Report | Mapping[str, Any] | None = None) -> Path:
    """What `Clip.save` does."""
    from safetensors import SafetensorError

    if not isinstance(clip.config, dict):
        raise ValueError("save: this model came without open_clip's model_cfg, want Clip(..., config=...)")
    if any(type(module).__module__.startswith("peft.") for module in clip.model.modules()):
        adapter = "has a PEFT adapter beside its own weights, where the file would not hold it"
        raise ValueError(f"save: this model {adapter}; want model.merge_and_unload() first")
    target = _files.path("path", path).resolve()
    there = target.exists() and not (target / RECEIPT).is_file()
    if there and (target.is_file() or any(target.iterdir())):
        raise ValueError(f"path: {str(target)!r} was not written by Clip.save, want a new folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _files.replacing(target) as folder:
            folder.mkdir()
            _write(clip, folder)
            _prove(clip, folder)
            _dump(folder / RECEIPT, _receipt(clip, report, digest_of(folder)))
    except (OSError, SafetensorError) as error:
        kept = "what was there is as it was" if target.exists() else "nothing of it is left"
        raise OSError(f"path: {str(target)!r} could not be written, {kept} ({error})") from error
    return target


def _write(clip: Clip, folder: Path) -> None:
    from open_clip import get_model_preprocess_cfg
    from safetensors.torch import save_file

    from clipnull.model import hf  # a Clip too: it imports this file

    model = getattr(clip.model, "_orig_mod", clip.model)  # that which torch.compile wraps
    if isinstance(model, hf.TransformersCLIP):
        hf.write(clip, folder)
        return
    state, changes = merged_state(model)
    config: Any = copy.deepcopy(clip.config)
    for section, entries in {"text_cfg": {}, **changes}.items():
        config.setdefault(section, {}).update(entries)
    # none may share memory
    whole = {k.replace("_orig_mod.", ""): x.detach().cpu().clone().contiguous() for k, x in state.items()}
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})
    _dump(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": get_model_preprocess_cfg(model)})
    if config["text_cfg"].get("hf_tokenizer_name") and hasattr(clip.tokenizer, "save_pretrained"):
        clip.tokenizer.save_pretrained(folder)


def digest_of(folder: Path) -> str:
    """SHA-256 of the weights in a folder: one file, or those that transformers wrote."""
    digest = hashlib.sha256()
    files = [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else sorted(folder.glob("*.safetensors"))
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _prove(clip: Clip, folder: Path) -> None:
    """Read what was written and compare embeddings: it might be another model than this one."""
    from clipnull.model.loading import load  # it imports this file

    want = "want a config, preprocess and tokenizer that are those of the model"
    what = f"save: what was written does not read back as this model ({{}}); {want}"
    precision: Any = clip.precision
    try:
        again = load(f"local-dir:{folder}", device=clip.device, precision=precision)
    except ValueError as error:
        raise ValueError(what.format(line(error.__cause__ or error))) from error
    for side, here, there in zip(towers.TOWERS, _seen(clip), _seen(again), strict=True):
        far = float((here - there).norm() / here.norm()) if here.shape == there.shape else math.inf
        if not far <= (3e-3 if precision == "fp32" else 3e-2):
            raise ValueError(what.format(f"{side} embeddings lie {far:.1%} of their length away"))


def _seen(clip: Clip) -> list[torch.Tensor]:
    """Features of a picture of noise, in which every step of the transform shows, and of some texts."""
    from open_clip import get_input_dtype

    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    pixels = clip.preprocess(Image.fromarray(noise))[None]
    pixels = pixels.to(clip.device, get_input_dtype(clip.precision) or torch.float32)
    with torch.inference_mode():
        image = clip.model.encode_image(pixels, normalize=False)
        tokens = clip.tokenizer(["a photo of a cat.", "a red bus", "owl"]).to(clip.device)
        text = clip.model.encode_text(tokens, normalize=False)
    return [image.float(), text.float()]


def _receipt(clip: Clip, report: Report | Mapping[str, Any] | None, digest: str) -> dict[str, Any]:
    named = ("clipnull", "torch", "open_clip_torch", "timm", "safetensors")
    versions = {name: found for name in named if (found := version(name))}
    edits: list[dict[str, Any]] = []
    for side, edit in folded_edits(clip.model):
        known = {k: edit.info.get(k) for k in ("method", "classes")}
        parameters = {k: v for k, v in edit.info.items() if k not in known}
        edits.append({"side": side, **known, "parameters": parameters, "dim": edit.dim, "rank": edit.rank})
    classes = dict.fromkeys(name for edit in edits for name in edit["classes"] or [])
    kind, _, place = clip.name.partition(":")
    return {
        # whoever gets the folder has no use for the path that leads to a model here
        "model": f"{kind}:{Path(place).expanduser().resolve().name}" if kind == "local-dir" else clip.name,
        "pretrained": clip.pretrained and Path(clip.pretrained).name,
        "classes": report.case.forget_names if isinstance(report, Report) else list(classes),
        "edits": edits,
        "report": report if report is None or isinstance(report, Mapping) else _figures(report),
        "weights_sha256": digest,
        "versions": {"python": sys.version.split()[0], **versions},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "earlier": clip.receipt,
    }


def _figures(report: Report) -> dict[str, Any]:
    """What the receipt says of a report: fractions; the certificates are leads, as cosines."""
    _check.instance(Report)("report", report)
    named = "forget_before forget_after retain_before retain_after".split()
    found = {name: getattr(report, name) for name in named}
    case, two = report.case, report.n_way.get(2)
    if two is not None:
        found |= {"two_way_before": two.before, "two_way_after": two.after}
        found |= {"search_before": report.search.before, "search_after": report.search.after}
    # of at most 20 names, since each may take some tenths of a second
    if report.edit is not None and report.side == "image" and len(case.forget) <= 20:
        leads = certificate(report.edit, case.T_f, case.T_r)
        found["certificate"] = dict(zip(case.forget_names, leads.tolist(), strict=True))
    return {"title": report.title, **found, "unit": "fraction"}


def _dump(path: Path, value: Any) -> None:
    """As JSON, which has no infinity and no NaN: they become text."""
    text = json.dumps(value, default=lambda x: x.tolist() if hasattr(x, "tolist") else str(x))
    plain = json.loads(text, parse_constant=lambda constant: str(float(constant)))
    path.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
