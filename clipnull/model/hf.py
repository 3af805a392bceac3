"""Let a Hugging Face ``CLIPModel`` stand where open_clip's models do (extra ``hf``).

Nothing is copied: the wrapper holds the very layers of the model, so an edit folded into one is
folded into the other.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

__all__ = ["ImageTransform", "TextTokenizer", "TransformersCLIP", "is_clip", "read", "wrap", "write"]

CONFIG = "config.json"


class TransformersCLIP(nn.Module):
    """``transformers.CLIPModel`` with the methods of open_clip's models.

    Attributes
    ----------
    source : transformers.CLIPModel
        Shares every layer with this module.
    visual, text : nn.Module
        Its two towers, projections included.
    logit_scale : nn.Parameter
    """

    source: Any

    def __init__(self, source: Any) -> None:
        super().__init__()
        object.__setattr__(self, "source", source)  # not a submodule: each parameter counts once
        self.visual, self.text = _ImageTower(source), _TextTower(source)
        self.logit_scale = source.logit_scale

    def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Features [n, d] of preprocessed images [n, 3, H, W]."""
        z = self.visual(image)
        return F.normalize(z, dim=-1) if normalize else z

    def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Features [n, d] of tokens [n, context length]."""
        t = self.text(text)
        return F.normalize(t, dim=-1) if normalize else t


class _ImageTower(nn.Module):
    #: as open_clip's towers have it: mean and std of the pixels
    preprocess_cfg: dict[str, list[float]]

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = source.vision_model, source.visual_projection
        self.image_size = source.config.vision_config.image_size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual_projection(self.vision_model(pixel_values=image, return_dict=True).pooler_output)


class _TextTower(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        self.text_model, self.text_projection = source.text_model, source.text_projection

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        # attention is causal, and the end of the text is pooled: padding after it needs no mask
        return self.text_projection(self.text_model(input_ids=text, return_dict=True).pooler_output)


class ImageTransform:
    """A transformers image processor as PIL image -> float tensor [3, H, W]."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return self.processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]

    def __repr__(self) -> str:
        return f"ImageTransform({self.processor!r})"


class TextTokenizer:
    """A transformers tokenizer as list of str -> token tensor [n, context length]."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer, self.context_length = tokenizer, context_length

    def __call__(self, texts: str | list[str]) -> torch.Tensor:
        made = self.tokenizer(
            [texts] if isinstance(texts, str) else list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.context_length,
            return_tensors="pt",
        )
        return made["input_ids"]


def is_clip(path: str | Path) -> bool:
    """Whether a ``config.json`` is one of a transformers CLIPModel."""
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "clip" and "text_config" in config


def wrap(model: Any, processor: Any) -> tuple[TransformersCLIP, ImageTransform, TextTokenizer]:
    """What `clipnull.model.Clip` is made of: model, image transform, tokenizer."""
    length = model.config.text_config.max_position_embeddings
    wrapped = TransformersCLIP(model.eval()).eval()
    wrapped.visual.preprocess_cfg = _statistics(processor.image_processor)
    return wrapped, ImageTransform(processor.image_processor), TextTokenizer(processor.tokenizer, length)


def _statistics(processor: Any) -> dict[str, list[float]]:
    """Mean and std of pixels in [0, 1], under open_clip's names."""
    if not getattr(processor, "do_normalize", True):
        return {"mean": [0.0] * 3, "std": [1.0] * 3}
    return {"mean": list(processor.image_mean), "std": list(processor.image_std)}


def read(place: str, cache_dir: str | None = None) -> tuple[Any, Any]:
    """CLIPModel and processor of a folder, or of a repository on the Hugging Face hub.

    Raises
    ------
    ImportError
        transformers is not installed.
    ValueError
        The checkpoint lacks weights of the model: transformers would make them up.
    """
    from transformers import AutoProcessor, CLIPModel

    with _no_bars():
        made: Any = CLIPModel.from_pretrained(place, cache_dir=cache_dir, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(place, cache_dir=cache_dir, trust_remote_code=False)
    model, found = made
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"it has no {', '.join(missing[:3])}")
    return model, processor


def write(
    model: TransformersCLIP,
    transform: ImageTransform,
    tokenizer: TextTokenizer,
    folder: Path,
    dtype: torch.dtype | None = None,
) -> list[Path]:
    """Save as transformers does, folded edits baked in; the files that hold weights."""
    source = model.source if dtype is None else copy.deepcopy(model.source).to(dtype)
    with _no_bars():
        for part in (source, transform.processor, tokenizer.tokenizer):
            part.save_pretrained(folder)
    return sorted(folder.glob("*.safetensors"))


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
