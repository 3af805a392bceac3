"""Do other words for the class still find it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.cases import _Case, _case, _control, _zero_shot, edited, rebuild
from clipnull.auditing.report import Builder, Eraser, Measurement, _mean, _pc
from clipnull.erasers import Edit, nullspace

if TYPE_CHECKING:
    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = ["embed_words", "other_words", "span_names", "word_forms"]

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
    end = ("s", "x", "z", "ch", "sh")
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        plural = name[:-1] + "ies"
    else:
        plural = name + ("es" if name.endswith(end) else "s")
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


def other_words(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    words: ArrayLike,
    owner: ArrayLike,
    kinds: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    made_up: ArrayLike | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Does another name bring the class back?

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluation`.
    edit : Edit or callable
    words : array [k, d]
        Embeddings of the other words.
    owner : array of int [k]
        The forgotten class that each of them stands for.
    kinds, texts : list of str [k], optional
        What sort of word it is, and the word.
    made_up : array [q, d], optional
        Embeddings of words without a meaning: the control. An edit may leave images nowhere in
        particular, and then any word that is nowhere in particular takes them.
    seed : int
        Of the random subspace.

    Returns
    -------
    list of Measurement
        One line a kind: recall of the owner's images when the word takes the place of its name
        among the candidates, mean over words. Control: the made-up words after the edit; without
        them, the word after a random subspace of the same rank. ``details``, word by word: texts,
        owner, cosine (with the name), before, after, control, random (after the random subspace),
        back (whether it recalls half of what the name did, and more than any made-up word).

    Raises
    ------
    ValueError
        As `controls`; an owner that is not forgotten, lists of another length.

    References
    ----------
    Prompt variants reactivate what was erased: arXiv 2605.26992. Measurement and control are ours.
    """
    case = _case(Z, T, labels, forget)
    W, who = _words(case, words, owner)
    kinds = list(kinds) if kinds is not None else ["word"] * len(W)
    texts = list(texts) if texts is not None else [f"word {i}" for i in range(len(W))]
    if not len(kinds) == len(texts) == len(W):
        raise ValueError(f"kinds, texts: got {len(kinds)} and {len(texts)}, want {len(W)}, one a word")
    X = edited(case.Z, edit)
    sets = [case.Z, X, edited(case.Z, _control(case, edit, seed))]
    before, after, random = (_recall_by(case, rows, W, who) for rows in sets)
    cosine = (F.normalize(W, dim=1) * F.normalize(case.T[who], dim=1)).sum(1)
    named = case.recall(_zero_shot(case.Z, case.T))
    control, bar, against = random, torch.zeros_like(after), "a random subspace of the same rank"
    if made_up is not None:
        M = _check.rows("made_up", made_up, case.T.shape[1], nonzero=True).to(case.T)
        found = _recall_by_any(case, X, M)
        control = torch.stack([found[c].mean() for c in who.tolist()])
        bar, against = torch.stack([found[c].max() for c in who.tolist()]), "made-up words"
    back = (after >= 0.5 * named) & (after > bar)
    columns = dict(
        owner=who, cosine=cosine, before=before, after=after, control=control, random=random, back=back
    )
    rows = []
    for kind in dict.fromkeys(kinds):
        pick = torch.tensor([i for i, k in enumerate(kinds) if k == kind])
        b, a, c = (_mean(x[pick].tolist()) for x in (before, after, control))
        details = {k: v[pick] for k, v in columns.items()} | dict(texts=[texts[i] for i in pick])
        said = _back(details, named, made_up is not None)
        rows.append(
            Measurement(f"other words: {kind}", b, a, c, against, said, "2605.26992", details=details)
        )
    return rows


def _back(details: Mapping[str, Any], named: float, made_up: bool) -> str:
    back, after, n = details["back"], details["after"], len(details["texts"])
    if not details["before"].any() and not back.any():
        return "The model did not know the class by these words before either."
    more = " and more than a made-up word does" if made_up else ""
    said = f"{int(back.sum())} of {n} bring back half of what the name had ({_pc(named)}){more}"
    best = int((after + back).argmax())
    if after[best] > 0:
        verb = "the best is" if back[best] else "the most has"
        said += f"; {verb} {details['texts'][best]!r}, {_pc(float(after[best]))}"
    return said + "."


def _words(case: _Case, words: ArrayLike, owner: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    W = _check.rows("words", words, case.T.shape[1], nonzero=True).to(case.T)
    who = _check.labels("owner", owner, len(W), len(case.T))
    if strangers := sorted(set(who.tolist()) - set(case.forget)):
        raise ValueError(f"owner: classes {strangers} are not forgotten, want classes of the forget set")
    return W, who


def _recall_by(case: _Case, X: torch.Tensor, W: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
    """Recall [k] of the owner's images when each word of ``W`` replaces the owner's name."""
    out = torch.zeros(len(W), dtype=torch.float64)
    for c in who.unique().tolist():
        x, mine = X[case.y == c], (who == c).nonzero()[:, 0]
        scores = x @ case.T.T
        scores[:, c] = -torch.inf
        out[mine] = ((x @ W[mine].T) > scores.amax(1, keepdim=True)).double().mean(0).cpu()
    return out


def _recall_by_any(case: _Case, X: torch.Tensor, M: torch.Tensor) -> dict[int, torch.Tensor]:
    """Recall [q] of each forgotten class's images by each row of ``M``."""
    return {c: _recall_by(case, X, M, torch.full((len(M),), c)) for c in case.forget}


def span_names(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    words: ArrayLike,
    owner: ArrayLike,
    builder: Builder | None = None,
    counts: Sequence[int] = (0, 1, 2, 4, 8),
    made_up: ArrayLike | None = None,
    seed: int = 0,
) -> list[dict[str, float]]:
    """The cure for other words, and its price: an edit that spans more names.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluation`.
    words, owner
        As in `other_words`. A random half of each class's words may be spanned; the others are
        never spanned, so that they show whether the cure reaches words nobody thought of.
    builder : callable, optional
        ``(T_f, T_r) -> Edit``; by default the nullspace projector.
    counts : sequence of int
        Words added to the name of each class.
    made_up : array [q, d], optional
        Words without a meaning, as in `other_words`.
    seed : int
        Which half, in which order.

    Returns
    -------
    list of dict
        For each count: added, rank, by_name, by_spannable, by_unseen (recall of the forgotten
        classes' images by their name, by words of the first half, by words of the other half),
        by_made_up (NaN without such words), retain (accuracy on the others).
    """
    case = _case(Z, T, labels, forget)
    W, who = _words(case, words, owner)
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(W), generator=g)
    # every class's words in the shuffled order: even places may be spanned, odd ones never are
    of_class = {c: [i for i in order.tolist() if int(who[i]) == c] for c in case.forget}
    first = {c: ids[::2] for c, ids in of_class.items()}
    halves = [[i for ids in of_class.values() for i in ids[start::2]] for start in (0, 1)]
    nonsense = None if made_up is None else _check.rows("made_up", made_up, case.T.shape[1]).to(case.T)
    rows = []
    for count in counts:
        added = [i for ids in first.values() for i in ids[:count]]
        T_f, T_r = torch.cat([case.T[case.forget], W[added]]), case.T[case.retain]
        edit = builder(T_f, T_r) if builder else nullspace(T_f)
        X = edited(case.Z, edit)
        by = [_mean(_recall_by(case, X, W[half], who[half]).tolist()) for half in halves]
        idle = {} if nonsense is None else _recall_by_any(case, X, nonsense)
        predicted = _zero_shot(X, case.T)
        rows.append(
            dict(added=count, rank=edit.rank, by_name=case.recall(predicted), by_spannable=by[0],
                 by_unseen=by[1], by_made_up=_mean([float(r.mean()) for r in idle.values()]),
                 retain=case.accuracy(predicted))
        )  # fmt: skip
    return rows


def embed_words(
    clip: Clip, data: LabelledImages, forget: Any, more: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
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
    dict
        Arguments of `other_words`: words [k, d], owner [k], kinds, texts, made_up [q, d]. Words stand
        in the data's prompt templates, names in `TEMPLATES` too, your own texts as they are.
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
    owner, texts, kinds = [c for c, _ in found], [t for _, t in found], list(found.values())
    W = [clip.embed_text(texts, templates=data.templates)] if texts else []
    plain = [(c, t.format(data.classes[c]), "template") for t in TEMPLATES for c in index]
    plain += [(c, t, "yours") for c in index for t in (more or {}).get(data.classes[c], ())]
    W.append(clip.embed_text([t for _, t, _ in plain]))
    owner += [c for c, _, _ in plain]
    texts += [t for _, t, _ in plain]
    kinds += [k for _, _, k in plain]
    made_up = clip.embed_text(MADE_UP, templates=data.templates)
    return dict(words=torch.cat(W), owner=torch.tensor(owner), kinds=kinds, texts=texts, made_up=made_up)


def _cured(case: _Case, edit: Eraser, words: ArrayLike, owner: ArrayLike, seed: int) -> Measurement:
    """`span_names` with half of the words against none of them, as a line of the table."""
    count = -(-max(torch.bincount(torch.as_tensor(owner)).tolist()) // 2)

    def builder(T_f: torch.Tensor, T_r: torch.Tensor) -> Edit:
        return rebuild(edit, T_f, T_r)

    none, all_ = span_names(
        case.Z, case.T, case.y, case.forget, words, owner, builder, counts=(0, count), seed=seed
    )
    said = (
        f"Spanning half of the words (rank {none['rank']:.0f} → {all_['rank']:.0f}) takes recall by the "
        f"other half from {_pc(none['by_unseen'])} to {_pc(all_['by_unseen'])}, and the retained classes "
        f"from {_pc(none['retain'])} to {_pc(all_['retain'])}."
    )
    before = _recall_by(case, case.Z, *_words(case, words, owner))
    return Measurement(
        "other words, half spanned", _mean(before.tolist()), all_["by_unseen"], none["by_unseen"],
        "spanning the names alone", said, "2605.26992", details=dict(rows=[none, all_]),
    )  # fmt: skip
