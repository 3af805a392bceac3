"""Let a Hugging Face ``CLIPModel`` stand where open_clip's models do (extra ``hf``), sharing its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from clipnull import _check
from clipnull.model.clip import Clip

__all__ = ["from_transformers"]


def from_transformers(model: Any, processor: Any, name: str = "transformers") -> Clip:
    """A Hugging Face ``CLIPModel`` as a `Clip`: embed, fold, evaluate and save as with any other.

    The model is shared, not copied: what is folded into the one is folded into the other. What ``save``
    writes, ``CLIPModel.from_pretrained`` reads, too. A ValueError for another model or processor.
    """
    model = getattr(model, "_orig_mod", model)  # that which torch.compile wraps
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(model).__mro__}
    if ("transformers", "CLIPModel") not in kinds:  # others read padding, or end at another token
        want = "a transformers CLIPModel, with an adapter merged: model.merge_and_unload()"
        raise ValueError(f"model: got a {type(model).__name__}, want {want}")
    _check.having("processor", [processor], "image_processor tokenizer")
    halves = {torch.float16: "pure_fp16", torch.bfloat16: "pure_bf16"}
    precision = halves.get(next(model.parameters()).dtype, "fp32")
    return Clip(*wrap(model, processor), name, precision=precision, config=model.config.to_dict())


class TransformersCLIP(nn.Module):
    def __init__(self, source: Any) -> None:
        super().__init__()
        object.__setattr__(self, "source", source)  # not a submodule: each parameter counts once
        self.visual = _ImageTower(source)
        self.text_model, self.text_projection = source.text_model, source.text_projection
        self.logit_scale = source.logit_scale

    def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        return F.normalize(self.visual(image), dim=-1) if normalize else self.visual(image)

    def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        # attention is causal, and the end of the text is pooled: padding after it needs no mask
        x = self.text_projection(self.text_model(input_ids=text, return_dict=True).pooler_output)
        return F.normalize(x, dim=-1) if normalize else x


class _ImageTower(nn.Module):
    preprocess_cfg: dict[str, list[float]]  # as open_clip's towers have it: mean and std of the pixels

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = source.vision_model, source.visual_projection
        self.image_size = source.config.vision_config.image_size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual_projection(self.vision_model(pixel_values=image, return_dict=True).pooler_output)


class ImageTransform:
    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, image: Image.Image) -> torch.Tensor:
        return self.processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0]


class TextTokenizer:
    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer, self.context_length = tokenizer, context_length

    def __call__(self, texts: str | list[str]) -> torch.Tensor:
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = self.tokenizer(texts, truncation=True, max_length=self.context_length)["input_ids"]
        # on the right, whatever the tokenizer is set to: nothing before the end of the text may be padding
        ends = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        pad = next(token for token in ends if token is not None)
        return torch.tensor([row + [pad] * (self.context_length - len(row)) for row in rows])


def wrap(model: Any, processor: Any) -> tuple[TransformersCLIP, ImageTransform, TextTokenizer]:
    text, images, tokenizer = model.config.text_config, processor.image_processor, processor.tokenizer
    if len(tokenizer) != text.vocab_size:
        want = f"want the model's own, of {text.vocab_size}"
        raise ValueError(f"processor: its tokenizer has {len(tokenizer)} words, {want}")
    wrapped = TransformersCLIP(model.eval()).eval()
    scaled = getattr(images, "do_normalize", True)
    mean, std = (images.image_mean, images.image_std) if scaled else ([0.0] * 3, [1.0] * 3)
    wrapped.visual.preprocess_cfg = {"mean": list(mean), "std": list(std)}
    return wrapped, ImageTransform(images), TextTokenizer(tokenizer, text.max_position_embeddings)


def read(place: str) -> tuple[TransformersCLIP, ImageTransform, TextTokenizer]:
    """`wrap` of a folder; a ValueError for missing weights, which transformers would make up."""
    from transformers import AutoProcessor, CLIPModel

    made: Any = CLIPModel.from_pretrained(place, output_loading_info=True, local_files_only=True)
    if missing := sorted(made[1]["missing_keys"]):
        raise ValueError(f"it has no {', '.join(missing[:3])}")
    processor = AutoProcessor.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    return wrap(made[0], processor)


def write(clip: Any, folder: Path) -> None:
    if not isinstance(clip.preprocess, ImageTransform) or not isinstance(clip.tokenizer, TextTokenizer):
        raise ValueError("save: preprocess or tokenizer is not the processor's, want that, which is saved")
    for part in (clip.model.source, clip.preprocess.processor, clip.tokenizer.tokenizer):
        part.save_pretrained(folder)
