"""A CLIP with its tokenizer and image transform: embed names and images, save with edits baked in."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from clipnull.model import cache as feature_cache
from clipnull.model import hf
from clipnull.model.fold import folded_edits, merged_state
from clipnull.model.saving import (
    CONFIG,
    RECEIPT,
    WEIGHTS,
    _dump,
    _figures,
    _loads,
    _replaceable,
    _sha256,
    _storable,
    _versions,
    _whole,
    _without_folders,
)
from clipnull.model.towers import embedding_dim

__all__ = ["Clip"]

#: images from which on the cache is asked unless the caller says otherwise: on a CPU hashing a tower
#: costs as much as embedding a few images, with a GPU it is more
WORTH_CACHING = 256


class Clip:
    """A CLIP with what it needs to read names and images.

    Attributes
    ----------
    model : nn.Module
        open_clip's, in eval mode.
    preprocess : callable
        PIL image to float tensor [3, H, W], open_clip's validation transform.
    tokenizer : callable
        List of str to token tensor [n, context length].
    name, pretrained : str, str or None
        What `load` was asked for.
    precision : str
    config : dict or None
        open_clip's ``model_cfg``; `save` needs it.
    receipt : dict or None
        The receipt in the folder it was loaded from.
    loaded_with : dict or None
        Arguments of the `load` that made it; None if it was made by hand.
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
        self.model: Any = model.eval()  # open_clip's classes share no base that has their methods
        self.preprocess, self.tokenizer = preprocess, tokenizer
        self.name, self.pretrained, self.precision = name, pretrained, precision
        self.config, self.receipt = copy.deepcopy(config), receipt
        self.loaded_with: dict[str, Any] | None = None
        self.dim = embedding_dim(model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Side in pixels of the images it looks at; (height, width) when they are not square."""
        size = self.model.visual.image_size
        if isinstance(size, int):
            return size
        height, width = size
        return height if height == width else (height, width)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by to make logits; 100 in OpenAI's models and PocketCLIP."""
        return float(self.model.logit_scale.detach().float().exp())

    def __repr__(self) -> str:
        size = self.image_size
        pixels = f"{size}" if isinstance(size, int) else "{}x{}".format(*size)
        weights = f", {self.pretrained}" if self.pretrained else ""
        count = sum(p.numel() for p in self.model.parameters()) / 1e6
        edits = [f"{edit.info.get('method', 'edit')} on {side}" for side, edit in folded_edits(self)]
        folded = f", folded: {', '.join(edits)}" if edits else ""
        return (
            f"Clip({self.name}{weights}: {self.dim} dimensions, {pixels} px, {count:.1f} M parameters, "
            f"{self.precision} on {self.device}{folded})"
        )

    def embed_text(
        self,
        names: str | Sequence[str],
        templates: str | Sequence[str | Callable[[str], str]] | None = None,
        batch_size: int = 256,
    ) -> torch.Tensor:
        """Embeddings of class names: the normalised mean over prompt templates.

        Parameters
        ----------
        names : list of str, C of them
        templates : str, list of str or of callables, optional
            Prompts with ``{}`` where the name goes. ``"openai"`` and ``"simple"`` are open_clip's
            80 and 7 ImageNet templates. By default the bare name.
        batch_size : int
            Prompts encoded at a time.

        Returns
        -------
        torch.Tensor [C, d], unit rows, float32 on the CPU

        Raises
        ------
        ValueError
            No names, a name that is no text, a template without a place for the name.

        References
        ----------
        Prompt ensembling: Radford et al., arXiv 2103.00020, section 3.1.4; the code is open_clip's
        ``build_zero_shot_classifier``.

        Examples
        --------
        >>> clip = load("pocket", device="cpu")
        >>> clip.embed_text(["cat", "dog"], "a picture of a {}.").shape
        torch.Size([2, 256])
        """
        from open_clip import build_zero_shot_classifier

        wanted, prompts = _names(names), _templates(templates)
        _batch_size(batch_size)
        with torch.inference_mode():
            classifier = build_zero_shot_classifier(
                self.model,
                self.tokenizer,
                wanted,
                prompts,
                num_classes_per_batch=max(1, batch_size // len(prompts)),
                device=self.device,
            )
        return F.normalize(classifier.T.float(), dim=1).cpu().contiguous()

    def embed_images(
        self,
        images: Any,
        batch_size: int = 256,
        progress: bool | None = None,
        cache: bool | None = None,
    ) -> torch.Tensor:
        """Embeddings of images.

        Parameters
        ----------
        images : iterable
            PIL images, paths, uint8 arrays [H, W, 3], float tensors [3, H, W] that went through
            ``preprocess``, or a mix; also one of these alone, a torch Dataset (the first entry of
            each item) or a DataLoader of preprocessed batches.
        batch_size : int
            Images encoded at a time; the rows do not depend on it, beyond rounding.
        progress : bool, optional
            A progress bar on stderr; by default after two seconds, and never under a test runner
            or with the environment variable ``CLIPNULL_NO_PROGRESS``.
        cache : bool, optional
            Whether to look for the features on disk, and keep them there (`clipnull.cache`). By
            default for 256 and more images that are files or in memory, while nothing is folded in:
            that is where hashing costs less than embedding, and entries come into use again. True
            asks for it in any other case; images that have to be drawn or decoded for it are then
            read twice. A tower in training mode or with forward hooks is never cached.

        Returns
        -------
        torch.Tensor [n, d], unit rows, float32 on the CPU

        Raises
        ------
        ValueError
            No images, an image that cannot be read (with its path), something that is no image,
            ``cache=True`` for images that can be read only once.
        """
        _batch_size(batch_size)
        name = self._cache_key(images, cache)
        if name is None:
            return self._embed_images(images, batch_size, progress)
        if (Z := feature_cache.read(name)) is None:
            Z = self._embed_images(images, batch_size, progress)
            feature_cache.write(name, Z, repr(self))
        return Z

    def _cache_key(self, images: Any, wanted: bool | None) -> str | None:
        """Where the cache keeps the features of these images; None: nowhere."""
        if wanted is False or feature_cache.folder() is None:
            return None
        pictures: Iterable[Any] | None = _known(images)
        if wanted and pictures is None:
            if _count(images) is None:
                raise ValueError(
                    f"cache: got True, but a {type(images).__name__} can be read only once; want a list, "
                    "paths or a Dataset"
                )
            pictures = _items(images)
        few = (_count(images) or 0) < WORTH_CACHING
        if pictures is None or (not wanted and (few or folded_edits(self))):
            return None
        settings = {"precision": self.precision, "device": self.device.type}
        return feature_cache.key(self.model, self.preprocess, settings, pictures)

    def _embed_images(self, images: Any, batch_size: int, progress: bool | None) -> torch.Tensor:
        from open_clip import get_input_dtype

        dtype = get_input_dtype(self.precision) or torch.float32
        chunks = []
        with torch.inference_mode(), _bar(_count(images), progress) as advance:
            for pixels in self._batches(images, batch_size):
                z = self.model.encode_image(pixels.to(self.device, dtype), normalize=False).float()
                chunks.append(F.normalize(z, dim=1).cpu())
                advance(len(pixels))
        if not chunks:
            raise ValueError("images: got none, want at least one")
        Z = torch.cat(chunks)
        if not torch.isfinite(Z).all():
            bad = int((~torch.isfinite(Z).all(1)).nonzero()[0])
            raise ValueError(f"images: the embedding of image {bad} is NaN or infinite, want finite pixels")
        return Z

    def _batches(self, images: Any, batch_size: int) -> Iterator[torch.Tensor]:
        """The images as the model wants them, float [up to batch_size, 3, H, W]."""
        ready = isinstance(images, torch.Tensor) and images.is_floating_point()
        if ready and images.ndim == 4 and len(images):
            self._tensor(0, images[0])  # it is of the right size
            yield from images.split(batch_size)
            return
        tensors = (self._tensor(i, item) for i, item in enumerate(_items(images)))
        while batch := list(islice(tensors, batch_size)):
            yield torch.stack(batch)

    def _tensor(self, i: int, item: Any) -> torch.Tensor:
        """One image as the model wants it: float [3, H, W]."""
        from clipnull.datasets.pictures import on_white, open_image

        if isinstance(item, torch.Tensor) and item.is_floating_point():
            size = self.image_size
            want = (3, size, size) if isinstance(size, int) else (3, *size)
            if tuple(item.shape) != want:
                raise ValueError(
                    f"images: tensor {i} has shape {tuple(item.shape)}, want {want}, preprocessed"
                )
            return item
        if isinstance(item, str | os.PathLike):
            item = open_image(Path(item))
        elif isinstance(item, torch.Tensor | np.ndarray):
            pixels = np.asarray(item)
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                raise ValueError(f"images: array {i} is {pixels.dtype} {pixels.shape}, want uint8 (H, W, 3)")
            item = Image.fromarray(pixels)
        elif not isinstance(item, Image.Image):
            raise ValueError(
                f"images: item {i} is a {type(item).__name__}, want an image, a path or an array"
            )
        try:
            return self.preprocess(on_white(item))
        except (OSError, SyntaxError) as error:  # PIL reads a file when its pixels are first needed
            path = getattr(item, "filename", "") or f"image {i}"
            raise ValueError(f"images: cannot read {str(path)!r} ({error}), want a picture") from error

    def save(
        self,
        path: str | Path,
        report: Any = None,
        classes: Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Path:
        """Write an open_clip folder with the folded edits baked in, and a receipt beside it.

        Plain ``open_clip.create_model_and_transforms("local-dir:PATH")`` loads what has forgotten,
        without clipnull. A transformers model is written as one of those, for
        ``CLIPModel.from_pretrained("PATH")``. The model here stays as it is.

        Parameters
        ----------
        path : str or Path
            A new or empty folder, or one that `save` wrote, which is replaced.
        report : Report or dict, optional
            Before/after figures for the receipt (fractions).
        classes : list of str, optional
            Names of the forgotten classes; by default the report's.
        dtype : torch.dtype, optional
            Store weights in it; by default as they are.

        Returns
        -------
        Path of the folder.

        Raises
        ------
        ValueError
            The folder holds something else, the model came without a config, ``dtype`` is not a
            floating one, or open_clip's config cannot describe the added projection.

        Notes
        -----
        Everything is written under a temporary name, then renamed: a failure leaves no folder, or
        the previous one.
        """
        if self.config is None:
            raise ValueError(
                "save: this model came without open_clip's model_cfg, want Clip(..., config=...)"
            )
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ValueError(f"dtype: got {dtype!r}, want a floating torch.dtype")
        target = Path(path).expanduser().resolve()
        _replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _whole(target) as folder:
            digest = self._write(folder, dtype)
            receipt = self._receipt(report, classes, digest)
            _dump(folder / RECEIPT, receipt)
        return target

    def _write(self, folder: Path, dtype: torch.dtype | None) -> str:
        """Weights, config and tokenizer; the SHA-256 of the weights."""
        from open_clip import get_model_preprocess_cfg
        from safetensors.torch import save_file

        if isinstance(self.model, hf.TransformersCLIP):
            assert isinstance(self.preprocess, hf.ImageTransform)
            assert isinstance(self.tokenizer, hf.TextTokenizer)
            return _sha256(*hf.write(self.model, self.preprocess, self.tokenizer, folder, dtype))
        state, changes = merged_state(self.model)
        config = copy.deepcopy(self.config) or {}
        for section, entries in changes.items():
            config[section].update(entries)
        save_file(_storable(state, dtype), folder / WEIGHTS, metadata={"format": "pt"})
        _dump(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": get_model_preprocess_cfg(self.model)})
        if config["text_cfg"].get("hf_tokenizer_name") and hasattr(self.tokenizer, "save_pretrained"):
            self.tokenizer.save_pretrained(folder)
        if changes:
            _loads(folder, state)
        return _sha256(folder / WEIGHTS)

    def _receipt(self, report: Any, classes: Sequence[str] | None, digest: str) -> dict[str, Any]:
        edits: list[dict[str, Any]] = [
            {
                "side": side,
                "method": edit.info.get("method"),
                "parameters": {k: v for k, v in edit.info.items() if k not in ("method", "classes")},
                "classes": edit.info.get("classes"),
                "dim": edit.dim,
                "rank": edit.rank,
            }
            for side, edit in folded_edits(self.model)
        ]
        if classes is None:
            named = [name for edit in edits for name in edit["classes"] or []]
            classes = getattr(report, "forget_names", None) or list(dict.fromkeys(named))
        return {
            "model": _without_folders(self.name),
            "pretrained": self.pretrained and Path(self.pretrained).name,
            "classes": [classes] if isinstance(classes, str) else list(classes),
            "edits": edits,
            "report": _figures(report),
            "weights_sha256": digest,
            "versions": _versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "earlier": self.receipt,
        }


def _names(names: str | Sequence[str]) -> list[str]:
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ValueError("names: got none, want at least one class name")
    for name in wanted:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"names: got {name!r}, want text")
    return wanted


def _templates(templates: Any) -> list[Callable[[str], str]]:
    """Templates as functions of the name."""
    import open_clip

    named = {
        "openai": open_clip.OPENAI_IMAGENET_TEMPLATES,
        "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    }
    if templates is None:
        templates = ["{}"]
    elif isinstance(templates, str):
        templates = named.get(templates, [templates])
    prompts = [t.format if isinstance(t, str) else t for t in templates]
    if not prompts:
        raise ValueError("templates: got none, want at least one such as 'a photo of a {}.'")
    for given, prompt in zip(templates, prompts, strict=True):
        try:
            fits = "\0name" in prompt("\0name")
        except (TypeError, IndexError, KeyError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"templates: {given!r} has no place for the name, want '{{}}' in it, or 'openai' or 'simple'"
            )
    return prompts


def _batch_size(batch_size: Any) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}, want a whole number of at least 1")


def _is_one(images: Any) -> bool:
    return isinstance(images, str | os.PathLike | Image.Image) or (
        isinstance(images, torch.Tensor | np.ndarray) and images.ndim == 3
    )


def _count(images: Any) -> int | None:
    if _is_one(images):
        return 1
    # a DataLoader's length counts batches
    return len(images) if hasattr(images, "__getitem__") and hasattr(images, "__len__") else None


def _known(images: Any) -> Sequence[Any] | None:
    """Paths or pixels that tell these images from others, where nothing has to be decoded for them."""
    from clipnull.datasets.pictures import Images, open_image

    if isinstance(images, Images):
        return images.items if images.read in (open_image, Image.fromarray) else None
    if isinstance(images, np.ndarray) and images.dtype.kind not in feature_cache.PIXELS:
        return images.tolist() if images.ndim == 1 else None
    if _is_one(images) or isinstance(images, torch.Tensor | np.ndarray):
        return [images]
    return images if isinstance(images, list | tuple) else None


def _items(images: Any) -> Iterator[Any]:
    """Images one by one, whatever they came in."""
    if _is_one(images):
        yield images
        return
    if isinstance(images, Mapping) or not (isinstance(images, Iterable) or hasattr(images, "__getitem__")):
        raise ValueError(f"images: got a {type(images).__name__}, want images, paths, arrays or a Dataset")
    for item in _each(images):
        if isinstance(item, tuple | list):
            item = item[0] if item else None
        if isinstance(item, torch.Tensor) and item.ndim == 4:
            yield from item
        else:
            yield item


def _each(images: Any) -> Iterator[Any]:
    """The items in order; an index, which may be a label, is used only where there is no other way."""
    n, i = _count(images), 0
    indexed = getattr(type(images), "__iter__", None) in (None, Sequence.__iter__)
    # many Datasets never raise the IndexError that plain iteration waits for
    source = iter(images) if n is None or not indexed else (images[i] for i in range(n))
    try:
        for item in source:
            yield item
            i += 1
    except OSError as error:
        path = getattr(error, "filename", None) or f"item {i}"
        raise ValueError(f"images: cannot read {str(path)!r} ({error}), want a picture") from error


@contextlib.contextmanager
def _bar(total: int | None, progress: bool | None) -> Iterator[Callable[[int], Any]]:
    silent = {"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys()
    if progress is False or (progress is None and silent):
        yield lambda n: None
        return
    from tqdm.auto import tqdm

    delay = 0.0 if progress else 2.0
    with tqdm(total=total, desc="images", unit="image", delay=delay, leave=False, file=sys.stderr) as bar:
        yield bar.update
