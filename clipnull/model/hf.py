"""Let a Hugging Face ``CLIPModel`` stand where open_clip's models do (extra ``hf``), sharing its layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from clipnull.model.clip import Clip

__all__ = ["from_transformers"]


def from_transformers(model: Any, processor: Any, name: str = "transformers") -> Clip:
    """A Hugging Face ``CLIPModel`` as a `Clip`: embed, fold, evaluate and save as with any other.

    Parameters
    ----------
    model : transformers.CLIPModel
        Shared, not copied: what is folded into the one is folded into the other. `fold`, `unfold`
        and `folded` also take it as it is.
    processor : transformers.CLIPProcessor
        With ``image_processor`` and ``tokenizer``.
    name : str
        For messages and receipts.

    Returns
    -------
    Clip
        What its ``save`` writes, ``CLIPModel.from_pretrained`` reads, and ``load("local-dir:PATH")``.

    Raises
    ------
    ValueError
        Not a CLIPModel, or a processor without one of its two halves.
    """
    parts = ("vision_model", "text_model", "visual_projection", "text_projection", "logit_scale")
    if not isinstance(model, nn.Module) or not all(hasattr(model, part) for part in parts):
        raise ValueError(f"model: got a {type(model).__name__}, want a transformers CLIPModel")
    if not all(hasattr(processor, part) for part in ("image_processor", "tokenizer")):
        want = "want a CLIPProcessor with image_processor and tokenizer"
        raise ValueError(f"processor: got a {type(processor).__name__}, {want}")
    config: Any = model.config
    halves = {torch.float16: "pure_fp16", torch.bfloat16: "pure_bf16"}
    precision = halves.get(next(model.parameters()).dtype, "fp32")
    return Clip(*wrap(model, processor), name, precision=precision, config=config.to_dict())


class TransformersCLIP(nn.Module):
    """``transformers.CLIPModel``, kept as ``source``, with the methods of open_clip's models."""

    source: Any

    def __init__(self, source: Any) -> None:
        super().__init__()
        object.__setattr__(self, "source", source)  # not a submodule: each parameter counts once
        self.visual, self.text = _ImageTower(source), _TextTower(source)
        self.logit_scale = source.logit_scale

    def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Features [n, d] of preprocessed images [n, 3, H, W]."""
        return F.normalize(self.visual(image), dim=-1) if normalize else self.visual(image)

    def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Features [n, d] of tokens [n, context length]."""
        return F.normalize(self.text(text), dim=-1) if normalize else self.text(text)


class _ImageTower(nn.Module):
    preprocess_cfg: dict[str, list[float]]  # as open_clip's towers have it: mean and std of the pixels

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


class TextTokenizer:
    """A transformers tokenizer as list of str -> token tensor [n, context length]."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer, self.context_length = tokenizer, context_length

    def __call__(self, texts: str | list[str]) -> torch.Tensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        how = {"padding": "max_length", "truncation": True, "max_length": self.context_length}
        return self.tokenizer(texts, return_tensors="pt", **how)["input_ids"]


def wrap(model: Any, processor: Any) -> tuple[TransformersCLIP, ImageTransform, TextTokenizer]:
    """What `clipnull.model.Clip` is made of: model, image transform, tokenizer."""
    length = model.config.text_config.max_position_embeddings
    wrapped, images = TransformersCLIP(model.eval()).eval(), processor.image_processor
    scaled = getattr(images, "do_normalize", True)
    mean, std = (images.image_mean, images.image_std) if scaled else ([0.0] * 3, [1.0] * 3)
    wrapped.visual.preprocess_cfg = {"mean": list(mean), "std": list(std)}
    return wrapped, ImageTransform(images), TextTokenizer(processor.tokenizer, length)


def is_clip(path: Path) -> bool:
    """Whether a ``config.json`` is one of a transformers CLIPModel."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["model_type"] == "clip")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read(place: str) -> tuple[TransformersCLIP, ImageTransform, TextTokenizer]:
    """`wrap` of a folder; a ValueError for missing weights, which transformers would make up."""
    from transformers import AutoProcessor, CLIPModel

    made: Any = CLIPModel.from_pretrained(place, output_loading_info=True, local_files_only=True)
    if missing := sorted(made[1]["missing_keys"]):
        raise ValueError(f"it has no {', '.join(missing[:3])}")
    processor = AutoProcessor.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    return wrap(made[0], processor)


def write(clip: Any, folder: Path) -> list[Path]:
    """Save as transformers does, folded edits baked in; the files that hold weights."""
    for part in (clip.model.source, clip.preprocess.processor, clip.tokenizer.tokenizer):
        part.save_pretrained(folder)
    return sorted(folder.glob("*.safetensors"))
