"""Captions say a random part of what a scene shows, and nothing that it does not show.

The word for the medium is coupled to the artist: by convention one artist's pictures are emoji,
another's drawings. So a prompt template means something, as it does to a CLIP of photographs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from open_clip.tokenizer import SimpleTokenizer

from clipnull.datasets.emoji import COLOURS
from clipnull.datasets.pictures import TEMPLATES
from tools.pocket.art import STYLES
from tools.pocket.scenes import Scene

CONTEXT = 24
#: artist -> what a caption calls the picture; the shaded one's come nearest to photos
MEDIA = {
    "noto": ["emoji"],
    "noto-v1": ["emoji"],
    "openmoji": ["drawing"],
    "emojione": ["picture"],
    "emojione-v1": ["drawing"],
    "fxemoji": ["icon"],
    "fluent-emoji": ["photo", "picture"],
    "fluent-emoji-flat": ["icon"],
}
PAIRS = ["{a} and a {b}", "{a} next to a {b}", "{a} to the left of a {b}", "{b} to the right of a {a}"]
PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
UPSIDE_DOWN, BACKGROUND, KIND = "upside down", "on a {} background", "a kind of"


def article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def adjectives(scene: Scene) -> list[str]:
    """All that are true, in the order of English."""
    light, size = scene.light.replace("normal", ""), scene.size.replace("medium", "")
    return [*filter(None, ["blurry" * scene.blurred, light, size, "grey" * scene.grey])]


def _name(c: Mapping[str, Any], rng: random.Random) -> str:
    """The class's name, with keywords or a kind, or a kind alone."""
    kinds, keywords = c.get("kinds", []), c["keywords"]
    some = ", ".join(rng.sample(keywords, min(len(keywords), rng.randint(1, 3))))
    near = kinds[min(int(rng.expovariate(0.7)), len(kinds) - 1)] if kinds else ""  # the nearest kind: half
    u = rng.random()
    if u < 0.17 and some:
        return f"{c['label']}, {some}"
    if 0.17 <= u < 0.27 and near:
        return f"{c['label']}, {KIND} {near}"
    if 0.27 <= u < 0.38 and near:
        return near
    return c["label"]


def _sentence(scene: Scene, words: list[str], name: str, rng: random.Random) -> str:
    """Adjectives and name in a prompt template, with or without the medium and the artist's style."""
    thing, u = " ".join([*words, name]), rng.random()
    if u < 0.3:
        return rng.choice(["{}", "a {}."]).format(thing)
    medium = rng.choice(MEDIA[scene.artist])
    if scene.beside is None and scene.size == "small" and u < 0.65:
        return f"a small icon of a {' '.join([*(w for w in words if w != 'small'), name])}."
    if u < 0.65:
        return f"{article(medium)} {medium} of a {thing}."
    style = rng.choice(STYLES[scene.artist])
    return f"{article(style)} {style} {medium} of a {thing}."


def caption(scene: Scene, classes: Sequence[Mapping[str, Any]], rng: random.Random) -> str:
    """A sentence about a scene, each part of which is true."""
    if scene.beside is None:
        name = _name(classes[scene.cls], rng)
    else:
        name = rng.choice(PAIRS).format(a=classes[scene.cls]["label"], b=classes[scene.beside]["label"])
    text = _sentence(scene, [word for word in adjectives(scene) if rng.random() < 0.5], name, rng)
    said = []
    if scene.upside_down and rng.random() < 0.7:
        said.append(UPSIDE_DOWN)
    if scene.place in PLACES and rng.random() < 0.5:
        said.append(PLACES[scene.place])
    if rng.random() < (0.5 if scene.background in COLOURS else 0.25):
        said.append(BACKGROUND.format(scene.background))
    return " ".join([text.removesuffix("."), *said]) + "." * text.endswith(".")


def true_of(text: str, scene: Scene, classes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each part of a caption holds for a scene; a caption that cannot be read does not.

    It reads the sentence from both ends inwards and does not use what wrote it.
    """
    text = text.removesuffix(".")
    if match := re.fullmatch(r"(.*) on a ([a-z]+) background", text):
        text = match[1]
        if match[2] != scene.background:
            return False
    for place, where in PLACES.items():
        if text.endswith(f" {where}"):
            text = text.removesuffix(f" {where}")
            if scene.place != place or scene.beside is not None:
                return False
    if text.endswith(" upside down"):
        text = text.removesuffix(" upside down")
        if not scene.upside_down:
            return False
    small = scene.size == "small" and scene.beside is None
    if match := re.fullmatch(r"an? (?:([a-z-]+) )?(emoji|drawing|picture|photo|icon) of a (.*)", text):
        style, medium, text = match.groups()
        if style == "small" and medium == "icon":
            if not small:
                return False
        elif medium not in MEDIA[scene.artist] or (style and style not in STYLES[scene.artist]):
            return False
    words = text.removeprefix("a ").split(" ")
    true = {
        "blurry": scene.blurred, "dark": scene.light == "dark", "bright": scene.light == "bright",
        "small": small, "large": scene.size == "large" and scene.beside is None, "grey": scene.grey,
    }  # fmt: skip
    # a name may itself begin with such a word ("small airplane"), so each way to read it is tried
    for i in range(len(words)):
        if _named(" ".join(words[i:]), scene, classes):
            return True
        if not true.get(words[i]):
            return False
    return False


def _named(text: str, scene: Scene, classes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a noun phrase names the objects of a scene."""
    a = classes[scene.cls]
    if scene.beside is not None:
        b = classes[scene.beside]["label"]
        left = [f"{a['label']} {words} a {b}" for words in ("and", "next to", "to the left of")]
        return text in [*left, f"{b} to the right of a {a['label']}"]
    kinds, keywords = a.get("kinds", []), set(a["keywords"])
    if text == a["label"] or text in kinds:
        return True
    more = text.removeprefix(f"{a['label']}, ")
    return more != text and (keywords >= set(more.split(", ")) or more.removeprefix("a kind of ") in kinds)


class Vocabulary:
    """CLIP's tokenizer over only those tokens that a caption or a prompt template can have.

    Attributes
    ----------
    rows : torch.LongTensor [V]
        The tokens' numbers in CLIP's own table, ascending, so that the end token stays the largest.
    """

    def __init__(self, classes: Iterable[Mapping[str, Any]]) -> None:
        self.tokenizer = SimpleTokenizer(context_length=CONTEXT)
        texts = [w for c in classes for w in (c["label"], *c["keywords"], *c.get("kinds", []))]
        texts += [c.format("") for c in [*TEMPLATES, BACKGROUND]] + [p.format(a="", b="") for p in PAIRS]
        texts += [w for words in [*STYLES.values(), *MEDIA.values()] for w in words]
        texts += [
            *COLOURS,
            *PLACES.values(),
            UPSIDE_DOWN,
            f", {KIND}",
            "blurry dark bright small large grey gradient white",
        ]
        ids = {token for text in texts for token in self.tokenizer.encode(text)}
        self.rows = torch.tensor(sorted({0, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id, *ids}))

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Indices into `rows` [n, length of the longest]; longer captions than `CONTEXT` are cut."""
        full = self.tokenizer(list(texts))
        return torch.searchsorted(self.rows, full[:, : int(full.argmax(1).max()) + 1].contiguous())
