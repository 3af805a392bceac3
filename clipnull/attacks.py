"""Attacks on an edit: read it off the weights, train it away, look before it.

Measurements 5, 6 and 8 of the audit. Each is a function over arrays, with its control:

- `fingerprint`: from two last layers alone, what was edited and which name was forgotten.
- `relearn`, `relearning`: a few gradient steps on the edited layer with k labelled images.
- `layer_probe`: what a linear probe finds at every layer of the tower, before and after.

`layers` and `clipnull.surgery.last_layer` fetch the arrays from a model. The last layer is written
z = h P, with h [n, w] the features before the projection and P [w, d]; a bias is one more row of P,
and h then has a column of ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.erasers import METHODS, Edit, build

__all__ = [
    "ARMS",
    "READERS",
    "Fingerprint",
    "LayerProbe",
    "Relearned",
    "fingerprint",
    "fingerprint_rates",
    "layer_probe",
    "layers",
    "relearn",
    "relearning",
]

#: name of the features in front of the last layer, and of what leaves it, in `layers`
HIDDEN, EMBEDDING = "before the projection", "embedding"


# --- 5: fingerprint ------------------------------------------------------------------------

#: how a name is read off the difference of two layers (see `fingerprint`)
READERS: dict[str, str] = {
    "left": "share of the name in the span of L",
    "left, centred": "share of the name less the mean name in the span of L",
    "right": "share of the name in the span of R",
}


@dataclass(frozen=True)
class Fingerprint:
    """What the difference of two last layers gives away.

    Attributes
    ----------
    rank : int
        Number of directions edited; 0 when the layers are equal up to rounding.
    singular_values : torch.Tensor [min(w, d)], float64
        Of the difference, falling.
    noise : float
        Singular values up to this one are rounding.
    left, right : torch.Tensor [d, rank], float64
        Orthonormal bases of the spans of L and R.
    scores : dict of str to torch.Tensor [C]
        For each of `READERS`, how much of each name lies in the span, from 0 to 1.
    names : list of str [C]
    """

    rank: int
    singular_values: torch.Tensor
    noise: float
    left: torch.Tensor
    right: torch.Tensor
    scores: dict[str, torch.Tensor]
    names: list[str]

    def ranking(self, reader: str = "left") -> list[str]:
        """Names by falling score; empty when nothing was edited."""
        _check.one_of("reader", reader, READERS)
        if not self.rank:
            return []
        return [self.names[i] for i in self.scores[reader].argsort(descending=True, stable=True).tolist()]

    def place(self, name: str, reader: str = "left") -> int:
        """Where ``name`` comes in the ranking: 1 is first; the number of names when nothing was edited.

        Raises
        ------
        ValueError
            A name that is not in the vocabulary.
        """
        (i,) = _check.class_indices("name", [name], len(self.names), self.names)
        score = self.scores[_check.one_of("reader", reader, READERS)]
        return int((score > score[i]).sum()) + 1 if self.rank else len(self.names)


def fingerprint(
    before: ArrayLike,
    after: ArrayLike,
    vocabulary: ArrayLike,
    names: Sequence[str] | None = None,
    precision: torch.dtype | None = None,
) -> Fingerprint:
    """Read rank, directions and the forgotten name off two last layers.

    Parameters
    ----------
    before, after : array [w, d]
        Last layer of the two models, z = h P; for an image-side edit W = I - L R^T.
    vocabulary : array [C, d]
        Text embeddings of names that may have been forgotten.
    names : list of str [C], optional
        Default: their indices as text.
    precision : torch.dtype, optional
        Number format that the weights went through, when coarser than the arrays' own; decides
        which singular values are rounding.

    Returns
    -------
    Fingerprint

    Raises
    ------
    ValueError
        Layers of different shapes, a vocabulary of another width, names of another number.

    Notes
    -----
    The difference is D = P - P W = P L R^T. Its row space is the span of R whatever P is. Its
    column space is that of P L, so P^+ D = L R^T gives the span of L (of its part in the row
    space of P, if w < d). Which one points at the name differs by method:

    - nullspace, partial: L = U, R = alpha U: both, exactly.
    - CCUP: L = T_f, the name itself, exactly. R = lam M^{-1} T_f is the name with the retained
      names divided out: nearly orthogonal to them, so that the name stands out, but no longer its
      nearest direction.
    - anchored: L = T_f - A. With A the mean this is the name less the mean, so the names have to
      be centred before they are compared; with A the coarse self a part of that is missing.
      R as CCUP.
    - a random subspace: neither.

    Rounding moves a weight by at most half of the machine epsilon relative to itself, so it cannot
    make a singular value above eps / 2 * ||P||_F; four times that is the threshold.

    References
    ----------
    Ours. That the forgotten class can be read off the weights: arXiv 2604.07386.

    Examples
    --------
    >>> import torch
    >>> from clipnull import nullspace
    >>> P, names = torch.eye(3), torch.eye(3)
    >>> found = fingerprint(P, P @ nullspace(names[1]).matrix(), names, ["cat", "dog", "owl"])
    >>> found.rank, found.ranking()[0]
    (1, 'dog')
    """
    P, Q = _check.rows("before", before), _check.rows("after", after)
    if P.shape != Q.shape:
        raise ValueError(f"after: got shape {tuple(Q.shape)}, want {tuple(P.shape)} like before")
    T = _check.rows("vocabulary", vocabulary, P.shape[1], nonzero=True).double()
    names = [str(i) for i in range(len(T))] if names is None else list(names)
    if len(names) != len(T):
        raise ValueError(f"names: got {len(names)}, want {len(T)}, one a row of the vocabulary")
    eps = max(torch.finfo(t).eps for t in (P.dtype, Q.dtype, precision or P.dtype))
    noise = 2 * eps * float(Q.double().norm())
    U, s, Vt = torch.linalg.svd(P.double() - Q.double(), full_matrices=False)
    rank = int((s > noise).sum())
    read = torch.linalg.lstsq(P.double(), U[:, :rank], driver="gelsd").solution
    left, right = torch.linalg.qr(read).Q, Vt[:rank].T
    unit, centred = F.normalize(T, dim=1), F.normalize(T - T.mean(0), dim=1)
    scores = {
        "left": (unit @ left).norm(dim=1),
        "left, centred": (centred @ left).norm(dim=1),
        "right": (unit @ right).norm(dim=1),
    }
    return Fingerprint(rank, s, noise, left, right, scores, names)


def fingerprint_rates(
    weight: ArrayLike,
    vocabulary: ArrayLike,
    known: Sequence[int],
    targets: Sequence[int] | None = None,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """How often `fingerprint` names the right class first, over many single forgotten classes.

    Parameters
    ----------
    weight : array [w, d]
        Last layer of the un-edited model.
    vocabulary : array [C, d]
        All the names the reader of the weights considers.
    known : list of int
        Which of them are the classes of the data set: one is forgotten, the others retained.
    targets : list of int, optional
        Which of ``known`` to forget, one at a time; all by default.
    methods : list of str
        Keys of `clipnull.METHODS`; ``"random"`` is the control.
    seed : int
        For the control.

    Returns
    -------
    list of dict
        For each method and reader: method, reader, first (fraction named first), top5 (fraction
        among the first five), rank (of the difference, median), classes (how many were tried).
    """
    P = _check.rows("weight", weight)
    T = _check.rows("vocabulary", vocabulary, P.shape[1], nonzero=True)
    known = _check.class_indices("known", known, len(T))
    targets = _check.class_indices("targets", known if targets is None else targets, len(T))
    if missing := [t for t in targets if t not in known]:
        raise ValueError(f"targets: {missing} are not among known, want classes of the data set")
    rows = []
    for method in methods:
        places: dict[str, list[int]] = {reader: [] for reader in READERS}
        ranks = []
        for i, c in enumerate(targets):
            edit = build(method, T[c], T[[k for k in known if k != c]], seed=seed + i)
            found = fingerprint(P, edit.apply_image(P), T)
            ranks.append(found.rank)
            for reader in READERS:
                places[reader].append(found.place(str(c), reader))
        for reader, p in places.items():
            at = torch.tensor(p)
            first, top5 = (float((at <= k).double().mean()) for k in (1, 5))
            rank = int(torch.tensor(ranks).median())
            rows.append(
                dict(method=method, reader=reader, first=first, top5=top5, rank=rank, classes=len(targets))
            )
    return rows


# --- 6: relearning -------------------------------------------------------------------------

#: who learns in `relearning`: what is compared with what
ARMS: dict[str, str] = {
    "edited": "the edited layer, the true name",
    "un-edited": "the layer before the edit, the true name",
    "never seen": "the layer before the edit, a made-up name",
}


@dataclass(frozen=True)
class Relearned:
    """A short training of the last layer.

    Attributes
    ----------
    shots : int
        Images of the class it was trained with.
    goal : float
        Recall (fraction) that counts as "back".
    recall : list of float
        Recall of the class on images it was not trained with, after 0, 1, 2, ... steps (fraction).
    retain : list of float
        Accuracy on the other classes' images, after as many steps (fraction).
    """

    shots: int
    goal: float
    recall: list[float] = field(default_factory=list)
    retain: list[float] = field(default_factory=list)

    @property
    def steps(self) -> int | None:
        """Steps until recall first reached the goal; None if it did not."""
        return next((i for i, r in enumerate(self.recall) if r >= self.goal), None)


def relearn(
    H: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike,
    T: ArrayLike,
    target: int,
    shots: int = 4,
    *,
    goal: float = 0.8,
    max_steps: int = 50,
    lr: float = 1e-3,
    scale: float = 100.0,
    seed: int = 0,
) -> Relearned:
    """Bring a class back by a few gradient steps on the last layer, with k of its images.

    The attacker has ``shots`` labelled images of the class and nothing else, and trains the layer
    with Adam on the zero-shot cross-entropy over all the names.

    Parameters
    ----------
    H : array [n, w]
        Features before the projection.
    labels : array of int [n]
    weight : array [w, d]
        The layer to start from, edited or not; z = h P.
    T : array [C, d]
        Text embeddings of the names.
    target : int
        The class to bring back.
    shots : int
        k, taken at random from the images of the class; recall is measured on its other images.
    goal : float
        Recall (fraction) at which the training stops.
    max_steps : int
    lr : float
        Of Adam: about the size of the change of a weight in one step.
    scale : float
        What cosines are multiplied by to make logits.
    seed : int
        Which images.

    Returns
    -------
    Relearned

    Raises
    ------
    ValueError
        Bad arrays, an unknown class, or a class with no images left to measure on.

    References
    ----------
    Ours; that a few samples bring a class back: arXiv 2506.01318.
    """
    raise NotImplementedError


def relearning(
    H: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike,
    T: ArrayLike,
    edits: Mapping[int, Edit],
    shots: Sequence[int] = (1, 2, 4, 8),
    *,
    made_up: ArrayLike | None = None,
    arms: Sequence[str] = tuple(ARMS),
    seed: int = 0,
    **options: Any,
) -> list[dict[str, Any]]:
    """`relearn` against its controls: the un-edited layer, and a class whose name was never seen.

    Parameters
    ----------
    H, labels, weight, T
        As in `relearn`; ``weight`` is that of the un-edited model.
    edits : mapping of int to Edit
        Class to bring back -> the edit that forgot it.
    shots : sequence of int
    made_up : array [d] or [k, d], optional
        Embeddings of made-up words, which replace the name of the class in the arm "never seen"
        (cycled through); default: random unit vectors, as close to the mean name as names are.
    arms : sequence of str
        Keys of `ARMS`.
    seed : int
    **options
        Of `relearn`.

    Returns
    -------
    list of dict
        For each arm and k: arm, shots, steps (median over classes; infinite when most never came
        back), back (fraction of classes that came back), recall_start, recall_end, retain_start,
        retain_end (means, fractions).
    """
    raise NotImplementedError


# --- 8: where it lives ---------------------------------------------------------------------


@dataclass(frozen=True)
class LayerProbe:
    """What a linear probe finds at one layer.

    Attributes
    ----------
    layer : str
    width : int
        Number of features.
    before, after : float
        Recall of the forgotten classes by a probe trained on features of the un-edited and of the
        edited model (fraction, cross-validated).
    control : float
        The same with shuffled labels.
    identical : bool
        Whether the features before and after the edit are equal, bit by bit.
    """

    layer: str
    width: int
    before: float
    after: float
    control: float
    identical: bool


def layers(clip: Any, images: Any, batch_size: int = 256) -> dict[str, torch.Tensor]:
    """Features of an image tower at every stage, by forward hooks.

    Parameters
    ----------
    clip : Clip
    images
        As in ``Clip.embed_images``.

    Returns
    -------
    dict of str to torch.Tensor [n, width]
        The stages in order, averaged over positions; then "before the projection", H [n, w] with
        a column of ones if the last layer has a bias; then "embedding", H P [n, d] of unit rows.

    Raises
    ------
    ValueError
        A tower that clipnull does not know.
    """
    raise NotImplementedError


def layer_probe(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    labels: ArrayLike,
    forget: Any,
    *,
    classes: Sequence[str] | None = None,
    folds: int = 4,
    seed: int = 0,
) -> list[LayerProbe]:
    """Train a linear probe on every layer's features and see where the forgotten classes are.

    Parameters
    ----------
    before, after : mapping of str to array [n, width]
        Layer -> features, of the un-edited and of the edited model (`layers`).
    labels : array of int [n]
    forget : list of int or of str
        Whose recall is reported; names need ``classes``.
    folds : int
        Of the cross-validation; every image is predicted by a probe that did not see it.
    seed : int
        Folds, and the shuffled labels of the control.

    Returns
    -------
    list of LayerProbe
        One a layer.

    Notes
    -----
    The probe is scikit-learn's ridge classifier over all classes on standardised features: linear,
    and fitted in closed form.
    """
    raise NotImplementedError
