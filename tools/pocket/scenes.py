"""A scene first (`clipnull.datasets.Scene`), then the picture drawn from it.

The description holds what a caption may say. What it leaves open (the exact angle, shift, shade and
noise) is drawn at random within what the description allows.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from clipnull import datasets
from clipnull.datasets.emoji import (
    CENTRE,
    COLOURS,
    GAIN,
    PAIR,
    SHADE,
    TURN,
    ZOOM,
    Placement,
    random_background,
)
from tools.pocket.art import STYLES

INPUT = 64
MEAN = torch.tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
STD = torch.tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)
ARTISTS = list(STYLES)


@dataclass(frozen=True)
class Scene(datasets.Scene):
    """What a training picture shows.

    Attributes
    ----------
    cls : int
        Class of the object; of two, the left one.
    artist : str
        Who drew it (a key of `STYLES`).
    beside : int or None
        Class of a second object to its right, by the same artist.
    """

    cls: int
    artist: str
    beside: int | None = field(default=None, kw_only=True)  # type: ignore[assignment]


class Sprites:
    """The art on one device: which classes each artist drew, and the pictures of a list of them."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.rgba = torch.from_numpy(arrays["x"]).permute(0, 3, 1, 2)
        pairs = zip(arrays["y"].tolist(), arrays["s"].tolist(), strict=True)
        self.row = {(c, ARTISTS[s]): i for i, (c, s) in enumerate(pairs)}
        self.artists: dict[int, list[str]] = {}
        self.classes: dict[str, list[int]] = {}
        for c, artist in self.row:
            self.artists.setdefault(c, []).append(artist)
            self.classes.setdefault(artist, []).append(c)

    def to(self, device: str) -> Sprites:
        """Moves the pictures, and returns itself."""
        self.rgba = self.rgba.to(device)
        return self

    def of(self, pairs: Sequence[tuple[int, str]]) -> torch.Tensor:
        """Premultiplied float RGBA [n, 4, S, S] in [0, 1]: edges blend with any background."""
        x = self.rgba[[self.row[pair] for pair in pairs]].float() / 255
        return torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1)


def random_scene(cls: int, sprites: Sprites, rng: random.Random, rare: float = 1.0) -> Scene:
    """A scene of one class; ``rare`` in [0, 1] scales how often what is rare or hard happens."""
    artist = rng.choice(sprites.artists[cls])
    looks = dict(
        background=random_background(rng),
        grey=rng.random() < 0.08 * rare,
        blurred=rng.random() < 0.12 * rare,
        light=rng.choices(list(GAIN), [0.15, 0.7, 0.15])[0],
    )
    if rng.random() < 0.02 + 0.1 * rare:
        return Scene(cls, artist, beside=rng.choice(sprites.classes[artist]), **looks)  # type: ignore[arg-type]
    size = rng.choices(list(ZOOM), [0.2, 0.6, 0.2])[0]
    place = rng.choice(list(CENTRE)) if size == "small" else "centre"
    pose = dict(size=size, place=place, upside_down=rng.random() < 0.05 * rare)
    return Scene(cls, artist, **looks, **pose)  # type: ignore[arg-type]


class _Uniform:
    """Random tensors of one generator, on its device."""

    def __init__(self, gen: torch.Generator) -> None:
        self.gen = gen

    def __call__(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=self.gen, device=self.gen.device) * (high - low) + low

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.gen, device=self.gen.device)

    def within(self, ranges: Sequence[tuple[float, float]]) -> torch.Tensor:
        """One number per range [n], uniform in its logarithm."""
        low, high = torch.tensor(ranges, device=self.gen.device).log().unbind(1)
        return torch.exp(low + (high - low) * self(len(low)))


def _pose(
    x: torch.Tensor, zoom: torch.Tensor, centre: torch.Tensor, turn: torch.Tensor, u: _Uniform
) -> torch.Tensor:
    """Art [n, 4, S, S] turned (radians), mirrored half of the time and moved: [n, 4, INPUT, INPUT]."""
    n, shrunk = len(x), zoom > 1.3
    x[shrunk] = F.avg_pool2d(x[shrunk], 3, 1, 1)  # no aliasing where several pixels become one
    turn = turn + u(n, low=-TURN, high=TURN)
    mirror = torch.where(u(n) < 0.5, -1.0, 1.0)
    aspect = torch.exp(u(n, low=-0.1, high=0.1))
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    linear = torch.stack([cos * mirror, -sin * aspect, sin * mirror, cos * aspect], 1).view(n, 2, 2)
    theta = torch.cat([linear, -linear @ centre[:, :, None]], 2)  # from the frame to the art
    grid = F.affine_grid(theta, [n, 4, INPUT, INPUT], align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _centres(placements: Sequence[Placement], u: _Uniform) -> torch.Tensor:
    """One at random per placement [n, 2]."""
    middle = torch.tensor([p.centre for p in placements], device=u.gen.device)
    reach = torch.tensor([p.reach for p in placements], device=u.gen.device)
    return middle + u(len(placements), 2, low=-1) * reach


def _objects(scenes: Sequence[Scene], sprites: Sprites, u: _Uniform) -> torch.Tensor:
    """The art in its place: premultiplied RGBA [n, 4, INPUT, INPUT]."""
    device, placements = sprites.rgba.device, [s.placement for s in scenes]
    zoom, centre = u.within([p.zoom for p in placements]), _centres(placements, u)
    turn = torch.tensor([torch.pi * s.upside_down for s in scenes], device=device)
    x = _pose(sprites.of([(s.cls, s.artist) for s in scenes]), zoom, centre, turn, u)
    second = [(s.beside, s.artist) for s in scenes if s.beside is not None]
    if second:
        n = len(second)
        centre, zoom = _centres([PAIR[1]] * n, u), u.within([PAIR[1].zoom] * n)
        front = _pose(sprites.of(second), zoom, centre, torch.zeros(n, device=device), u)
        rows = torch.tensor([s.beside is not None for s in scenes], device=device)
        x[rows] = front + x[rows] * (1 - front[:, 3:])
    return x


def _backgrounds(scenes: Sequence[Scene], u: _Uniform) -> torch.Tensor:
    """[n, 3, INPUT, INPUT]: plain, or a horizontal or vertical gradient between two unlike colours."""
    n, device = len(scenes), u.gen.device
    named = {"white": (1.0, 1.0, 1.0), "gradient": (0.0, 0.0, 0.0), **COLOURS}
    plain = torch.tensor([named[s.background] for s in scenes], device=device)
    shade = torch.tensor([s.background in COLOURS for s in scenes], device=device)[:, None]
    plain = plain + shade * u.normal(n, 3) * SHADE
    first = u(n, 3)
    second = (first + u(n, 3, low=0.3, high=0.7)) % 1
    pale = torch.where(u(n, 1) < 0.5, 0.4, 1.0)
    first, second = 1 - (1 - first) * pale, 1 - (1 - second) * pale
    ramp = torch.linspace(0, 1, INPUT, device=device)
    ramp = torch.where(u(n, 1, 1, 1) < 0.5, ramp.view(1, 1, 1, -1), ramp.view(1, 1, -1, 1))
    gradient = first[:, :, None, None] + (second - first)[:, :, None, None] * ramp
    graded = torch.tensor([s.background == "gradient" for s in scenes], device=device)
    return torch.where(graded.view(n, 1, 1, 1), gradient, plain[:, :, None, None])


def draw(scenes: Sequence[Scene], sprites: Sprites, gen: torch.Generator) -> torch.Tensor:
    """The pictures of some scenes, RGB [n, 3, INPUT, INPUT] in [0, 1], on the generator's device."""
    n, u = len(scenes), _Uniform(gen)
    x = _objects(scenes, sprites, u)
    colour, alpha = x[:, :3], x[:, 3:]
    mix = torch.eye(3, device=gen.device) + u.normal(n, 3, 3) * 0.07
    colour = torch.einsum("nij,njhw->nihw", mix, colour) * u.within([GAIN[s.light] for s in scenes]).view(
        n, 1, 1, 1
    )
    mean = colour.mean(1, keepdim=True)
    saturation = u(n, low=0.5, high=1.4) * torch.tensor([not s.grey for s in scenes], device=gen.device)
    colour = mean + (colour - mean) * saturation.view(n, 1, 1, 1)
    x = (colour + _backgrounds(scenes, u) * (1 - alpha)).clamp(0, 1)
    blurred = torch.tensor([s.blurred for s in scenes], device=gen.device)
    for _ in range(2):
        x[blurred] = F.avg_pool2d(x[blurred], 3, 1, 1, count_include_pad=False)
    return (x + u.normal(n, 3, INPUT, INPUT) * u(n, 1, 1, 1, high=0.04)).clamp(0, 1)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """What the image tower takes."""
    return (pictures - MEAN.to(pictures.device)) / STD.to(pictures.device)
