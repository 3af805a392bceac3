"""Do other words for the class still find it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.auditing.cases import Builder, Eraser, control, edited, images, rebuild
from clipnull.auditing.report import Measurement, mean
from clipnull.erasers import nullspace
from clipnull.evaluation import Case

if TYPE_CHECKING:
    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = [
    "SpannedNames",
    "Word",
    "WordRecall",
    "Words",
    "embed_words",
    "other_words",
    "span_names",
    "word_forms",
]

#: words without a meaning
MADE_UP = ["blorf", "wug", "dax", "snarp", "zill"]
#: prompts that no lesson builds its names from
TEMPLATES = ["this is a {}.", "a sketch of one {} on paper", "look, a {}!", "{}, icon", "the {} I saw"]


def word_forms(
    name: str, keywords: Sequence[str] = (), categories: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Other ways to say a name, by simple English rules.

    Parameters
    ----------
    name : str
    keywords : list of str
        Synonyms and related words.
    categories : list of str
        Coarser classes; ``"animal-mammal"`` gives two words.

    Returns
    -------
    dict of str to list of str
        plural, article, misspelling, keyword, category, description (the keywords in one phrase);
        kinds that have no text are left out.

    Examples
    --------
    >>> word_forms("fox", ["red", "vixen"], ["animal-mammal"])["plural"]
    ['foxes']
    """
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        plural = name[:-1] + "ies"
    else:
        plural = name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")
    i = len(name) // 2  # the middle: first letters matter most to a reader and to a tokenizer
    keys = [k for k in dict.fromkeys(keywords) if k.lower() != name.lower()]
    forms = {
        "plural": [plural],
        "article": [f"the {name}", f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"],
        "misspelling": [name[:i] + name[i + 1 :], name[:i] + name[i : i + 1] + name[i:],
                        name[: i - 1] + name[i : i + 1] + name[i - 1 : i] + name[i + 1 :]],
        "keyword": keys,
        "category": list(dict.fromkeys(w for c in categories for w in c.split("-") if w)),
        "description": [f"something with {', '.join(keys[:-1])} and {keys[-1]}"] if len(keys) > 1 else [],
    }  # fmt: skip
    return {k: [w for w in dict.fromkeys(v) if w and w != name] for k, v in forms.items() if any(v)}


class Words:
    """Other words for forgotten classes, embedded.

    Parameters
    ----------
    embeddings : array [k, d]
    owner : array of int [k]
        The forgotten class that each of them stands for.
    texts, kinds : list of str [k], optional
        The word, and what sort of word it is.
    made_up : array [q, d], optional
        Embeddings of words without a meaning, as a control. An edit may leave images nowhere in
        particular, and then any word that is nowhere in particular takes them.

    Raises
    ------
    ValueError
        Bad arrays, lists of another length.
    """

    def __init__(
        self,
        embeddings: ArrayLike,
        owner: ArrayLike,
        texts: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        made_up: ArrayLike | None = None,
    ) -> None:
        self.embeddings = _check.rows("words", embeddings, nonzero=True)
        k, d = self.embeddings.shape
        self.owner = torch.as_tensor(owner)
        self.texts = [f"word {i}" for i in range(k)] if texts is None else list(texts)
        self.kinds = ["word"] * k if kinds is None else list(kinds)
        if not len(self.texts) == len(self.kinds) == k:
            got = f"{len(self.texts)} and {len(self.kinds)}"
            raise ValueError(f"texts, kinds: got {got}, want {k}, one per word")
        self.made_up = None if made_up is None else _check.rows("made_up", made_up, d, nonzero=True)


class Word(NamedTuple):
    """Recall of the owner's images when a word takes the place of its name.

    ``back``: whether that is half of what the name recalled, and more than any made-up word recalls.
    """

    text: str
    kind: str
    owner: int
    before: float
    after: float
    control: float
    back: bool


@dataclass(frozen=True)
class WordRecall(Measurement):
    """Mean recall by the words of one kind, and the words."""

    words: tuple[Word, ...] = ()


def other_words(case: Case, edit: Eraser, words: Words, seed: int = 0) -> list[WordRecall]:
    """Does another name bring the class back?

    Parameters
    ----------
    case : Case
    edit : Edit or callable
    words : Words
    seed : int
        Of the random subspace.

    Returns
    -------
    list of WordRecall
        One per kind of word. Control: the made-up words after the edit; without them, the word after
        a random subspace of the same rank.

    Raises
    ------
    ValueError
        No image of a forgotten class; words of another dimension; an owner that is not forgotten.

    References
    ----------
    Prompt variants reactivate what was erased: arXiv 2605.26992. Measurement and control are ours.
    """
    W, who = _checked(case, words)
    X, named = edited(images(case), edit), case.recall(case.predicted)
    before, after = (_recall_by(case, x, W, who) for x in (images(case), X))
    if words.made_up is None:
        random = edited(images(case), control(case, edit, seed))
        against, idle, bar = "a random subspace of the same rank", _recall_by(case, random, W, who), 0 * after
    else:
        found = _recall_by_any(case, X, words.made_up.to(case.T))
        against, idle = "made-up words", torch.stack([found[c].mean() for c in who.tolist()])
        bar = torch.stack([found[c].max() for c in who.tolist()])
    back = (after >= 0.5 * named) & (after > bar)
    columns = (x.tolist() for x in (who, before, after, idle, back))
    read = [Word(*row) for row in zip(words.texts, words.kinds, *columns, strict=True)]
    rows = []
    for kind in dict.fromkeys(words.kinds):
        mine = tuple(w for w in read if w.kind == kind)
        b, a, c = map(mean, zip(*((w.before, w.after, w.control) for w in mine), strict=True))
        said = _back(mine, named, "" if words.made_up is None else " and more than a made-up word does")
        rows.append(WordRecall(f"other words: {kind}", b, a, c, against, said, "2605.26992", words=mine))
    return rows


def _back(words: Sequence[Word], named: float, more: str) -> str:
    back = sum(w.back for w in words)
    if not back and not any(w.before for w in words):
        return "The model did not know the class by these words before either."
    said = f"{back} of {len(words)} bring back half of what the name had ({_show.percent(named)}){more}"
    best = max(words, key=lambda w: w.after + w.back)
    if best.after > 0:
        verb = "the best is" if best.back else "the most has"
        said += f"; {verb} {best.text!r}, {_show.percent(best.after)}"
    return said + "."


def _checked(case: Case, words: Words) -> tuple[torch.Tensor, torch.Tensor]:
    W = _check.rows("words", words.embeddings, case.require().T.shape[1]).to(case.T)
    who = _check.labels("owner", words.owner, len(W), len(case.T))
    if strangers := sorted(set(who.tolist()) - set(case.forget)):
        raise ValueError(f"owner: classes {strangers} are not forgotten, want classes of the forget set")
    return W, who


def _recall_by(case: Case, X: torch.Tensor, W: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
    """Recall [k] of the owner's images when each word of ``W`` replaces the owner's name."""
    out = torch.zeros(len(W), dtype=torch.float64)
    for c in who.unique().tolist():
        x, mine = X[case.labels == c], (who == c).nonzero()[:, 0]
        scores = x @ case.T.T
        scores[:, c] = -torch.inf
        out[mine] = ((x @ W[mine].T) > scores.amax(1, keepdim=True)).double().mean(0).cpu()
    return out


def _recall_by_any(case: Case, X: torch.Tensor, M: torch.Tensor) -> dict[int, torch.Tensor]:
    """Recall [q] of each forgotten class's images by each row of ``M``."""
    return {c: _recall_by(case, X, M, torch.full((len(M),), c)) for c in case.forget}


class SpannedNames(NamedTuple):
    """An edit that spans ``added`` more words per class: its rank, and what recalls the forgotten.

    Recall by the name, by words of the half that may be spanned, by words of the other half and by
    made-up words (NaN without such), and accuracy on the retained classes; fractions.
    """

    added: int
    rank: int
    by_name: float
    by_spannable: float
    by_unseen: float
    by_made_up: float
    retain: float


def span_names(
    case: Case,
    words: Words,
    builder: Builder | None = None,
    counts: Sequence[int] = (0, 1, 2, 4, 8),
    seed: int = 0,
) -> list[SpannedNames]:
    """The cure for other words, and its price: an edit that spans more names.

    Parameters
    ----------
    case : Case
    words : Words
        A random half of each class's words may be spanned; the others are never spanned, so that
        they show whether the cure reaches words nobody thought of.
    builder : callable, optional
        ``(T_f, T_r) -> Edit``; by default the nullspace projector.
    counts : sequence of int
        Words added to the name of each class.
    seed : int
        Which half, in which order.

    Returns
    -------
    list of SpannedNames
        One per count.

    Raises
    ------
    ValueError
        As `other_words`.
    """
    W, who = _checked(case, words)
    order = torch.randperm(len(W), generator=torch.Generator().manual_seed(seed))
    # every class's words in the shuffled order: even places may be spanned, odd ones never are
    of_class = {c: [i for i in order.tolist() if int(who[i]) == c] for c in case.forget}
    first = {c: ids[::2] for c, ids in of_class.items()}
    halves = [[i for ids in of_class.values() for i in ids[start::2]] for start in (0, 1)]
    rows = []
    for count in counts:
        added = [i for ids in first.values() for i in ids[:count]]
        T_f = torch.cat([case.T_f, W[added]])
        edit = builder(T_f, case.T_r) if builder else nullspace(T_f)
        X = edited(images(case), edit)
        by = [mean(_recall_by(case, X, W[half], who[half]).tolist()) for half in halves]
        idle = {} if words.made_up is None else _recall_by_any(case, X, words.made_up.to(case.T))
        by.append(mean([float(r.mean()) for r in idle.values()]))
        predicted = case.predict(X)
        rows.append(SpannedNames(count, edit.rank, case.recall(predicted), *by, case.accuracy(predicted)))
    return rows


def embed_words(
    clip: Clip, data: LabelledImages, forget: ClassesLike, more: Mapping[str, Sequence[str]] | None = None
) -> Words:
    """Other words for some classes, embedded.

    Parameters
    ----------
    clip : Clip
    data : LabelledImages
        Its ``keywords``, ``subcategories`` and ``categories`` are words too (see `word_forms`);
        those that are another class's name are left out.
    forget : list of int or str
    more : dict of str to list of str, optional
        Class name -> texts of your own, such as descriptions.

    Returns
    -------
    Words
        They stand in the data's prompt templates, names in `TEMPLATES` too, your own texts as they are.
    """
    index = _check.class_indices("forget", forget, len(data.classes), data.classes)
    taken = {c.lower() for c in data.classes}
    found: dict[tuple[int, str], str] = {}
    for c in index:
        coarse = [data.subcategories[c], data.categories[c]]
        for kind, forms in word_forms(data.classes[c], data.keywords[c], coarse).items():
            for text in forms:
                if text.lower() not in taken:
                    found.setdefault((c, text), kind)
    plain = [(c, t.format(data.classes[c]), "template") for t in TEMPLATES for c in index]
    plain += [(c, t, "yours") for c in index for t in (more or {}).get(data.classes[c], ())]
    W = [clip.embed_text([t for _, t in found], templates=data.templates)] if found else []
    W.append(clip.embed_text([t for _, t, _ in plain]))
    owner, texts, kinds = zip(*((c, t, kind) for (c, t), kind in found.items()), *plain, strict=True)
    made_up = clip.embed_text(MADE_UP, templates=data.templates)
    return Words(torch.cat(W), torch.tensor(owner), texts, kinds, made_up)


def cured(case: Case, edit: Eraser, words: Words, seed: int) -> Measurement:
    """`span_names` with half of the words against none of them, as a line of the table."""
    count = -(-int(torch.bincount(words.owner).max()) // 2)
    none, all_ = span_names(case, words, lambda T_f, T_r: rebuild(edit, T_f, T_r), (0, count), seed)
    said = (
        f"Spanning half of the words (rank {none.rank} → {all_.rank}) takes recall by the other half from "
        f"{_show.percent(none.by_unseen)} to {_show.percent(all_.by_unseen)}, and the retained classes "
        f"from {_show.percent(none.retain)} to {_show.percent(all_.retain)}."
    )
    before = mean(_recall_by(case, images(case), *_checked(case, words)).tolist())
    name, against = "other words, half spanned", "spanning the names alone"
    return Measurement(name, before, all_.by_unseen, none.by_unseen, against, said, "2605.26992")
