"""Which kinds of thing a class is, looked up in WordNet's nouns: tiger -> big cat, feline, ...

WordNet 3.0 is read as Debian's package ``wordnet-base`` installs it. What is found ships in
``classes.json`` (``kinds``), so only ``python -m tools.pocket.recipe --look-up`` needs it.

References: Fellbaum (ed.), WordNet, MIT Press 1998. Of a word's senses that can be what is drawn,
that one counts whose gloss shares most words with what the class table says (Lesk 1986).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path("/usr/share/wordnet")
MOST = 4
#: Unicode group -> WordNet's files of the senses that can be meant; one of the first set goes before
#: one of the second. 04 acts, 05 animals, 06 artifacts, 08 bodies, 10 communication, 13 food, 14 groups,
#: 15 places, 17 natural objects, 19 phenomena, 20 plants, 21 possessions, 25 shapes, 27 substances, 28 times
FILES = {
    "animals-nature": ({"05", "20"}, {"06", "08", "14", "17"}),
    "food-drink": ({"13"}, {"05", "06", "20"}),
    "travel-places": ({"06", "17", "19"}, {"14", "15", "27", "28"}),
    "activities": ({"06"}, {"04", "10", "13", "14", "20"}),
    "objects": ({"06"}, {"08", "10", "13", "17", "21", "27"}),
}
#: what follows such a word in a label does not name the thing
AFTER = "with|without|of|in|on|at|and|over|behind|showing|tilted|done|not"
#: too wide or too learned to say of a picture: left out of the chain
UNSAID = {
    "abstraction", "act", "activity", "agent", "anapsid", "angiosperm", "art", "article", "artifact",
    "attribute", "business", "carrier", "causal agent", "chordate", "coelenterate", "collection",
    "commodity", "communication", "consumer goods", "covering", "creation", "database", "diapsid",
    "enterprise", "entity", "event", "foodstuff", "fundamental quantity", "group", "information",
    "instrumentality", "line", "living thing", "material", "matter", "measure", "message", "metatherian",
    "natural elevation", "natural object", "natural phenomenon", "nutriment", "object", "organism",
    "organization", "part", "phasianid", "phenomenon", "physical entity", "physical phenomenon", "placental",
    "plant organ", "plant part", "process", "produce", "product", "psychological feature", "relation",
    "representation", "reproductive structure", "simple closed curve", "social group", "solid",
    "spermatophyte", "standard", "substance", "system of measurement", "thing", "time period", "unit",
    "vascular plant", "vertebrate", "way", "whole",
}  # fmt: skip
#: label -> kinds that only a wrong sense of the word has: the next sense is tried; "" refuses all
STRUCK: dict[str, set[str]] = {
    "black cat": {"marten"}, "paw prints": {""}, "phoenix": {"genus", "constellation"},
    "dragon face": {"lizard", "constellation"}, "dragon": {"lizard", "constellation"}, "dolphin": {"fish"},
    "spiral shell": {""}, "jellyfish": {"siphonophore"}, "rosette": {"leaf"},
    "potted plant": {"building complex"}, "sheaf of rice": {"package"}, "nest with eggs": {""},
    "cheese wedge": {""}, "rice ball": {""}, "cup with straw": {"punch"},
    "clinking glasses": {"optical instrument"}, "ice": {""}, "wood": {"wind instrument", "golf club"},
    "post office": {"branch", "agency"}, "wedding": {"party"}, "cityscape": {"painting"},
    "cityscape at dusk": {"painting"}, "hot springs": {"town"}, "carousel horse": {""},
    "kick scooter": {"motorboat"}, "railway track": {"belt"}, "oil drum": {"percussion instrument"},
    "wheel": {"wheeled vehicle"}, "police car light": {"actinic radiation"},
    "horizontal traffic light": {"actinic radiation"}, "vertical traffic light": {"actinic radiation"},
    "flying saucer": {"saucer"}, "tram car": {"motor vehicle"}, "sun": {"actinic radiation"},
    "shooting star": {"actinic radiation"}, "water wave": {"weather"}, "fire": {"fireplace"},
    "balloon": {"aircraft"}, "party popper": {""}, "confetti ball": {"game equipment", "projectile"},
    "mirror ball": {"game equipment", "projectile"}, "wrapped gift": {"sharing"},
    "flying disc": {"sound recording"}, "cricket game": {"game equipment"}, "goal net": {"computer network"},
    "curling stone": {"building material", "pericarp"}, "hair pick": {"thread"},
    "gem stone": {"building material"}, "speaker low volume": {""}, "speaker medium volume": {""},
    "speaker high volume": {""}, "control knobs": {"projection"}, "electric plug": {"blockage"},
    "television": {"telecommunication system"}, "notebook with decorative cover": {"portable computer"},
    "notebook": {"portable computer"}, "blue book": {"directory", "booklet", "report"},
    "bookmark tabs": {"key"}, "label": {""}, "credit card": {"open-end credit"}, "e-mail": {""},
    "card index dividers": {"structure"}, "broken chain": {"necklace", "ligament"}, "drop of blood": {""},
    "toilet": {"room"}, "roll of paper": {"film"},
}  # fmt: skip


class Synset(NamedTuple):
    """One sense: its lexicographer file, words, the offsets of the senses above it, and its gloss."""

    file: str
    words: list[str]
    above: list[str]
    gloss: str


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith(" "))  # the licence is indented


def read(folder: Path = FOLDER) -> tuple[dict[str, list[str]], dict[str, Synset]]:
    """WordNet's nouns: word -> offsets of its senses, the commonest first; offset -> synset.

    Raises
    ------
    ValueError
        The files are not there.
    """
    if not (folder / "data.noun").is_file():
        raise ValueError(f"folder: no data.noun in {str(folder)!r}, want Debian's wordnet-base installed")
    senses = {}
    for line in _lines(folder / "index.noun"):
        word, *rest = line.split()
        senses[word.replace("_", " ")] = [part for part in rest if re.fullmatch(r"\d{8}", part)]
    synsets = {}
    for line in _lines(folder / "data.noun"):
        # offset, file, type, number of words, (word, id) each, number of pointers, (sign, offset, …) each
        head, _, gloss = line.partition("|")
        offset, file, _, count, *rest = head.split()
        words, rest = rest[: 2 * int(count, 16) : 2], rest[2 * int(count, 16) + 1 :]
        above = [rest[i + 1] for i in range(0, len(rest) - 1, 4) if rest[i] in ("@", "@i")]
        synsets[offset] = Synset(file, [word.replace("_", " ") for word in words], above, gloss.lower())
    return senses, synsets


def _chain(offset: str, synsets: Mapping[str, Synset]) -> list[str]:
    """The first word of each sense above one, nearest first."""
    names: list[str] = []
    while synsets[offset].above:
        offset = synsets[offset].above[0]
        names.append(synsets[offset].words[0])
    return [name for name in names if name not in UNSAID]


def _words(label: str) -> Iterator[str]:
    """What to look up: the whole label, then its head noun; plurals also as singulars."""
    whole = label.lower().replace("-", " ")
    plain = re.sub(rf"( face| button| symbol)$|(?<=.) ({AFTER}) .*", "", whole)
    for word in dict.fromkeys([whole, plain, plain.split()[-1]]):
        yield word
        for end, singular in (("ies", "y"), ("s", ""), ("es", "")):
            if word.endswith(end):
                yield word.removesuffix(end) + singular


def kinds_of(
    entry: Mapping[str, Any], senses: Mapping[str, list[str]], synsets: Mapping[str, Synset]
) -> list[str]:
    """At most `MOST` kinds of one entry of the class table, the narrowest first; none if none is found.

    If the label's head noun is all that WordNet has, that noun is the first kind (guide dog -> dog).
    """
    label = entry["label"].lower().replace("-", " ")
    context = {part for text in entry["keywords"] for part in text.split()} - set(label.split())
    context |= {*re.split("[- ]", entry["category"]), *entry["subcategory"].split("-")}
    struck = STRUCK.get(entry["label"], set())
    best, other = FILES[entry["category"]]

    def agreement(offset: str) -> tuple[bool, int]:
        words = re.findall("[a-z]+", " ".join([synsets[offset].gloss, *_chain(offset, synsets)]))
        return synsets[offset].file in best, len(context & set(words))

    for word in _words(entry["label"]):
        drawn = [offset for offset in senses.get(word, []) if synsets[offset].file in best | other]
        for offset in sorted(drawn, key=agreement, reverse=True):  # stable: of equals the commonest
            head = [word] if label.endswith(f" {word}") else []
            names = [name for name in dict.fromkeys([*head, *_chain(offset, synsets)]) if name != label]
            if names and not struck & {*names, ""}:
                return names[:MOST]
    return []


def look_up(classes: Sequence[Mapping[str, Any]], folder: Path = FOLDER) -> list[list[str]]:
    """The kinds of every class of the table."""
    senses, synsets = read(folder)
    return [kinds_of(entry, senses, synsets) for entry in classes]
