"""Do other words for the class still find it?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.auditing.controls import control
from clipnull.auditing.report import SUBSPACE, Measurement
from clipnull.datasets.pictures import LabelledImages
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.model import Clip

__all__ = ["Word", "Words", "embed_words", "other_words"]


#: words without a meaning
MADE_UP = "blorf wug dax snarp zill".split()


@dataclass(frozen=True, eq=False)
class Words:
    """Other words for forgotten classes: embeddings [k, d], their ``owner`` [k] (a forgotten class), texts.

    ``made_up`` [q, d] have no meaning, as a control: an edit may leave images where any odd word takes them.
    """

    embeddings: ArrayLike
    owner: ArrayLike
    texts: Sequence[str]
    made_up: ArrayLike | None = None


class Word(NamedTuple):
    """Recall of the owner's images by a word; ``back``: half of what the name had, more than any made-up."""

    text: str
    owner: int
    before: float
    after: float
    control: float
    back: bool


@_check.by_name
def other_words(case: Case, edit: Edit, words: Words, seed: int = 0) -> Measurement:
    """Does another name bring the class back, as prompt variants do (arXiv 2605.26992)? The measure is ours.

    Control: the made-up words after the edit; without any, a random subspace of the same rank.
    """
    d = case.require().T.shape[1]
    W = _check.rows("words", words.embeddings, d, nonzero=True).to(case.T)
    who = _check.labels("owner", words.owner, len(W), len(case.T))
    if strangers := sorted(set(who.tolist()) - set(case.forget)):
        raise ValueError(f"owner: classes {strangers} are not forgotten, want classes of the forget set")
    Z, named = case.images, case.recall(case.predicted)
    X = edit.apply_image(Z)
    before, after = (_recall_by(case, x, W, who) for x in (Z, X))
    if words.made_up is None:
        against, more, bar = SUBSPACE, "", 0 * after
        idle = _recall_by(case, control(edit, seed).apply_image(Z), W, who)
    else:
        against, more = "made-up words", " and more than a made-up word does"
        M = _check.rows("made_up", words.made_up, d, nonzero=True).to(case.T)
        found = {c: _recall_by(case, X, M, torch.full((len(M),), c)) for c in case.forget}
        idle = torch.stack([found[c].mean() for c in who.tolist()])
        bar = torch.stack([found[c].max() for c in who.tolist()])
    back = (after >= 0.5 * named) & (after > bar)
    columns = (x.tolist() for x in (who, before, after, idle, back))
    read = tuple(Word(*row) for row in zip(words.texts, *columns, strict=True))
    best = max(read, key=lambda w: w.after + w.back)
    had = f"bring back half of what the name had ({_show.percent(named)}){more}"
    said = f"{int(back.sum())} of {len(W)} {had}; most of all {best.text!r}, {_show.percent(best.after)}."
    b, a, c = (float(x.mean()) for x in (before, after, idle))
    return Measurement("other words", b, a, c, against, said, "2605.26992", words=read)


def _recall_by(case: Case, X: torch.Tensor, W: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
    """Recall [k] of the owner's images when each word of ``W`` replaces the owner's name."""
    out = torch.zeros(len(W), dtype=torch.float64)
    for c in who.unique().tolist():
        x, mine = X[case.labels == c], (who == c).nonzero()[:, 0]
        scores = x @ case.T.T
        scores[:, c] = -torch.inf
        out[mine] = ((x @ W[mine].T) > scores.amax(1, keepdim=True)).double().mean(0).cpu()
    return out


@_check.by_name
def embed_words(
    clip: Clip, data: LabelledImages, forget: ClassesLike, more: Mapping[str, Sequence[str]] | None = None
) -> Words | None:
    """The data's ``keywords`` and ``more`` (class name -> texts) for some classes, and made-up words.

    The names of other classes are left out. None where no class has any.
    """
    taken, found = {c.lower() for c in data.classes}, dict[tuple[int, str], None]()
    for c in _check.class_indices("forget", forget, len(data.classes), data.classes):
        own = [*data.keywords[c], *(more or {}).get(data.classes[c], ())]
        found |= {(c, text): None for text in own if text.lower() not in taken}
    if not found:
        return None
    owner, texts = zip(*found, strict=True)
    W, made_up = (clip.embed_text(list(t), templates=data.templates) for t in (texts, MADE_UP))
    return Words(W, torch.tensor(owner), texts, made_up)
