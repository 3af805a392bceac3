"""A CLIP with its tokenizer and image transform: embed names and images, save with edits baked in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from clipnull import _check, _show
from clipnull.model import cache as feature_cache
from clipnull.model import inputs, saving, towers
from clipnull.model.fold import folded_edits
from clipnull.report import Report

__all__ = ["Clip"]

#: images from which on the cache is asked: hashing a tower costs as much as embedding a few
WORTH_CACHING = 256


class Clip:
    """A CLIP with what it needs to read names and images.

    ``model`` is open_clip's; ``preprocess`` makes a float tensor [3, H, W] of a PIL image, ``tokenizer`` a
    token tensor [n, context length] of a list of str. ``loaded_with`` are the arguments of `load`; `save`
    needs ``config``, open_clip's ``model_cfg``; ``receipt`` was in the folder.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        name: str = "custom",
        *,
        pretrained: str | None = None,
        precision: str = "fp32",
        config: dict[str, Any] | None = None,
        receipt: dict[str, Any] | None = None,
    ) -> None:
        _check.having("model", [model], "encode_image encode_text visual logit_scale")
        _check.having("model.visual", [model.visual], "image_size")
        self.model: Any = model.eval()  # open_clip's classes share no base that has their methods
        self.preprocess, self.tokenizer = preprocess, tokenizer
        self.name, self.pretrained, self.precision = name, pretrained, precision
        self.config, self.receipt = copy.deepcopy(config), receipt
        self.loaded_with: dict[str, Any] | None = None
        self.dim = towers.slot(model).dim

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def image_size(self) -> int | tuple[int, int]:
        size = self.model.visual.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return height if height == width else (height, width)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by to make logits; 100 in OpenAI's models and PocketCLIP."""
        return float(self.model.logit_scale.detach().float().exp())

    def __repr__(self) -> str:
        weights = f", {self.pretrained}" if self.pretrained else ""
        count = sum(p.numel() for p in self.model.parameters()) / 1e6
        edits = [f"{edit.info.get('method', 'edit')} on {side}" for side, edit in folded_edits(self)]
        folded = f", folded: {', '.join(edits)}" if edits else ""
        size = f"{self.dim} dimensions, {self.image_size} px, {count:.1f} M parameters"
        return f"Clip({self.name}{weights}: {size}, {self.precision} on {self.device}{folded})"

    def embed_text(
        self, names: str | Sequence[str], templates: inputs.Templates | None = None, batch_size: int = 256
    ) -> torch.Tensor:
        """Embeddings [C, d] of class names, the normalised mean over templates: unit rows, float32, on CPU.

        ``templates`` are prompts with ``{}`` where the name goes, or functions of the name; ``"openai"`` and
        ``"simple"`` are open_clip's 80 and 7 ImageNet templates; by default the bare name. Prompt
        ensembling: Radford et al., arXiv 2103.00020, section 3.1.4; the code is open_clip's.

        >>> from clipnull import load
        >>> load("pocket", device="cpu").embed_text(["cat", "dog"], "a picture of a {}.").shape
        torch.Size([2, 256])
        """
        from open_clip import build_zero_shot_classifier

        names = [names] if isinstance(names, str) else _check.having("names", _check.some("names", names), "")
        if bad := [name for name in names if not isinstance(name, str) or not name.strip()]:
            raise ValueError(f"names: got {bad[0]!r}, want text")
        prompts = inputs.prompts(templates)
        at_once = max(1, _check.whole("batch_size", batch_size, 1) // len(prompts))
        with torch.inference_mode():
            classifier = build_zero_shot_classifier(
                self.model, self.tokenizer, names, prompts, at_once, self.device
            )
        return F.normalize(classifier.T.float(), dim=1).cpu().contiguous()

    def embed_images(self, images: Any, batch_size: int = 256) -> torch.Tensor:
        """Embeddings [n, d] of images: unit rows, float32 on the CPU, whatever ``batch_size``.

        ``images`` are PIL images, paths, uint8 arrays [H, W, 3], float tensors [3, H, W] that went through
        ``preprocess``; also one of these alone, or a torch Dataset (the first entry of each item). A
        ValueError names the path of one that cannot be read. Features of 256 and more that are files or in
        memory are kept on disk (`clipnull.model.cache`), while nothing is folded in.
        """
        batch_size = _check.whole("batch_size", batch_size, 1)
        place, pictures = feature_cache.folder(), inputs.known(images)
        few = (inputs.count(images) or 0) < WORTH_CACHING
        if place is None or pictures is None or few or folded_edits(self):
            return self._embed_images(images, batch_size)
        turned = getattr(images, "read", None) is not inputs.open_stored  # by EXIF
        settings = {"precision": self.precision, "device": self.device.type, "turned": str(turned)}
        name = feature_cache.key(self.model, self.preprocess, settings, pictures)
        Z = feature_cache.read(place, name) if name else None
        if Z is None:
            Z = self._embed_images(images, batch_size)
            if name:
                feature_cache.write(place, name, Z)
        return Z

    def _embed_images(self, images: Any, batch_size: int) -> torch.Tensor:
        from open_clip import get_input_dtype

        dtype = get_input_dtype(self.precision) or torch.float32
        items, size = enumerate(inputs.items(images)), self.image_size
        tensors = (inputs.pixels(i, item, self.preprocess, size) for i, item in items)
        chunks: list[torch.Tensor] = []
        bar = _show.progress(what="images", total=inputs.count(images), unit="image")
        with torch.inference_mode(), bar:
            while batch := list(islice(tensors, batch_size)):
                pixels = torch.stack(batch).to(self.device, dtype)
                chunks.append(F.normalize(self.model.encode_image(pixels).float(), dim=1).cpu())
                bar.update(len(batch))
        if not chunks:
            raise ValueError("images: got none, want at least one")
        Z = torch.cat(chunks)
        if not torch.isfinite(Z).all():
            bad = int((~torch.isfinite(Z).all(1)).nonzero()[0])
            raise ValueError(f"images: the embedding of image {bad} is NaN or infinite, want finite pixels")
        return Z

    def save(self, path: str | Path, report: Report | Mapping[str, Any] | None = None) -> Path:
        """Write an open_clip folder with the folded edits baked in, and a receipt beside it; its path.

        ``open_clip.create_model_and_transforms("local-dir:PATH")`` then loads what has forgotten; a model of
        transformers is written as one. The folder is read back and compared before it takes its place.
        ``report``: before/after figures, certificates and forgotten names, for the receipt. A ValueError for
        a folder that `save` did not write, or a config that is not the model's; an OSError for a full disk.
        """
        return saving.save(self, path, dict(report) if isinstance(report, Mapping) else report)


_check.TYPES["Clip"] = lambda name, value: _check.having(name, [value], "embed_images embed_text")[0]
