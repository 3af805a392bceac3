"""Find a class of a data set by the name that the literature gives it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from clipnull import _check

__all__ = ["match_class"]


def match_class(name: str, classes: Sequence[str]) -> int:
    """Index of the class that ``name`` means, although a data set may spell it another way.

    Compared are, in this order: the names as they are; their words, without case, punctuation and
    a WordNet id; the same words in any order; the words before a first comma (synonyms follow it).

    Parameters
    ----------
    name : str
        As the protocol has it.
    classes : sequence of str

    Raises
    ------
    ValueError
        No class matches, or several do at the first step that finds any.

    Examples
    --------
    >>> match_class("2009 Spyker C8 Coupe", ["Audi TT 2011", "Spyker C8 Coupe 2009"])
    1
    >>> match_class("toy poodle", ["n02113624-toy_poodle", "n02113712-miniature_poodle"])
    0
    """
    first = name.partition(",")[0]
    spellings: list[tuple[str, Callable[[str], Any]]] = [
        (name, lambda c: c),
        (name, _words),
        (name, lambda c: sorted(_words(c))),
        (first, lambda c: sorted(_words(c.partition(",")[0]))),
    ]
    for wanted, spell in spellings:
        found = [i for i, c in enumerate(classes) if spell(c) == spell(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"name: {name!r} may be any of {', '.join(repr(classes[i]) for i in found)}, want one class"
            )
    near = ", ".join(map(repr, _check.closest(name, classes)))
    raise ValueError(f"name: no class is {name!r}; the closest are {near}")


def _words(name: str) -> list[str]:
    """Lower-case words of a name: "n02097298-Scotch_terrier" -> scotch, terrier."""
    plain = re.sub(r"^n\d{8}[-_ ]", "", name)
    return re.findall(r"\w+", plain.replace("_", " ").lower())
