"""Attacks on an edit: read it off the weights, train it away, look before it.

Measurements 5, 6 and 8 of the audit. Each is a function over arrays, with its control:

- `fingerprint`: from two last layers alone, what was edited and which name was forgotten.
- `relearn`, `relearning`: a few gradient steps on the edited layer with k labelled images.
- `layer_probe`: what a linear probe finds at every layer of the tower, before and after.

`layers` and `clipnull.model.last_layer` fetch the arrays from a model. The last layer is written
z = h P, with h [n, w] the features before the projection and P [w, d]; a bias is one more row of P,
and h then has a column of ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.erasers import METHODS, Edit
from clipnull.model import last_layer, unprojected

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
    "ridge_probe",
    "shuffled_weights",
    "weakest_directions",
]

M = TypeVar("M", bound=Any)

#: what `layers` calls the input, the features in front of the last layer, and what leaves it
PIXELS, HIDDEN, EMBEDDING = "pixels", "before the projection", "embedding"


# --- 5: fingerprint ------------------------------------------------------------------------

#: how a name is read off the difference of two layers (see `fingerprint`)
READERS: dict[str, str] = {
    "left": "share of the name in the span of L",
    "left, centred": "share of the name less the mean name in the span of L",
    "either": "the larger of these two, for a reader who does not know the method",
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

    def ranking(self, reader: str = "either") -> list[str]:
        """Names by falling score; empty when nothing was edited."""
        _check.one_of("reader", reader, READERS)
        if not self.rank:
            return []
        return [self.names[i] for i in self.scores[reader].argsort(descending=True, stable=True).tolist()]

    def place(self, name: str, reader: str = "either") -> int:
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
      be centred before they are compared. R as CCUP.
    - a random subspace: neither.

    Rounding moves a weight by at most half of the machine epsilon relative to itself, so it cannot
    make a singular value above eps / 2 * ||Q||_F, Q the layer after; four times that, and what the SVD
    itself may err by, is the threshold.

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
    return _read(P, _inverse(P), Q, T, names, precision)


def _inverse(P: torch.Tensor) -> torch.Tensor:
    """P^+ [d, w], float64; what is rounding of P counts as zero."""
    x = P.double()
    return torch.linalg.pinv(x, atol=2 * torch.finfo(P.dtype).eps * x.norm())


def _read(
    P: torch.Tensor,
    inverse: torch.Tensor,
    Q: torch.Tensor,
    T: torch.Tensor,
    names: list[str],
    precision: torch.dtype | None = None,
) -> Fingerprint:
    eps = max(torch.finfo(t).eps for t in (P.dtype, Q.dtype, precision or P.dtype))
    U, s, Vt = torch.linalg.svd(P.double() - Q.double(), full_matrices=False)
    own = max(P.shape) * torch.finfo(s.dtype).eps * float(s[0])  # of the SVD itself
    noise = 2 * eps * float(Q.double().norm()) + own
    rank = int((s > noise).sum())
    left, right = torch.linalg.qr(inverse @ U[:, :rank]).Q, Vt[:rank].T
    unit, centred = F.normalize(T, dim=1), F.normalize(T - T.mean(0), dim=1)
    raw, less_mean = (unit @ left).norm(dim=1), (centred @ left).norm(dim=1)
    scores = {
        "left": raw,
        "left, centred": less_mean,
        "either": torch.maximum(raw, less_mean),
        "right": (unit @ right).norm(dim=1),
    }
    return Fingerprint(rank, s, noise, left, right, scores, names)


def weakest_directions(after: ArrayLike, vocabulary: ArrayLike, rank: int = 1) -> torch.Tensor:
    """Fingerprint without the original: the share of each name in what the edited layer hardly writes.

    Parameters
    ----------
    after : array [w, d]
        The edited last layer, z = h P W.
    vocabulary : array [C, d]
        Text embeddings of names that may have been forgotten.
    rank : int
        Directions looked at.

    Returns
    -------
    torch.Tensor [C], float64
        ||V^T t|| / ||t||, V the right singular vectors of the ``rank`` smallest singular values.

    Raises
    ------
    ValueError
        Arrays that do not fit, ``rank`` not in 1 ... min(w, d).

    Notes
    -----
    Wherever W is singular, or nearly so, P W is too: a projector (alpha = 1) sends its span to
    zero, and there P W has singular values that are rounding, whatever P is. For one name all
    singular values of W but two are 1, and the product of those two is |1 - R^T L|. An oblique
    edit makes one of them large, so that the other is small, and its right singular vector lies
    near L.

    References
    ----------
    Ours.
    """
    Q = _check.rows("after", after).double()
    T = F.normalize(_check.rows("vocabulary", vocabulary, Q.shape[1], nonzero=True).double(), dim=1)
    rank = int(_check.number("rank", rank, 1, min(Q.shape)))
    return (T @ torch.linalg.svd(Q, full_matrices=False).Vh[-rank:].T).norm(dim=1)


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
    inverse, names, rows = _inverse(P), [str(i) for i in range(len(T))], []
    for method in methods:
        places: dict[str, list[int]] = {reader: [] for reader in READERS}
        ranks = []
        for i, c in enumerate(targets):
            edit = METHODS[method].make(T[c], T[[k for k in known if k != c]], seed=seed + i)
            found = _read(P, inverse, edit.apply_image(P), T.double(), names)
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

#: who learns in `relearning`, and with what
ARMS: dict[str, str] = {
    "edited": "the edited layer, the class and its name",
    "un-edited": "the layer before the edit, the class and its name",
    "new name": "the layer before the edit, the class under a name that it never had",
    "no class": "the layer before the edit, pictures of all other classes mixed under that name",
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
        """Steps until recall reached the goal; None if it did not."""
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
    max_steps: int = 40,
    step: float = 0.005,
    norm: float | None = None,
    scale: float = 100.0,
    others: int = 200,
    seed: int = 0,
) -> Relearned:
    """Bring a class back by a few gradient steps on the last layer, with k of its images.

    The attacker has ``shots`` labelled images of the class and nothing else, and follows the
    gradient of the zero-shot cross-entropy over all the names, in steps of equal length.

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
        k, taken from one half of the images of the class; recall is measured on the other half.
    goal : float
        Recall (fraction) at which the training stops.
    max_steps : int
    step : float
        Length of a step, as a share of ``norm``.
    norm : float, optional
        Default: the Frobenius norm of ``weight``. To compare an edited layer with an un-edited one, give
        that of the un-edited one to both: an oblique edit enlarges the layer, and with it the steps.
    scale : float
        What cosines are multiplied by to make logits.
    others : int
        Images of other classes, taken at random, on which the accuracy is measured meanwhile.
    seed : int
        Which images.

    Returns
    -------
    Relearned

    Raises
    ------
    ValueError
        Bad arrays, an unknown class, fewer than 2 k images of it, or no image of another class.

    References
    ----------
    Ours; that a few samples bring a class back: arXiv 2506.01318.
    """
    H = _check.rows("H", H).float()
    P = _check.rows("weight", weight).to(H)
    if P.shape[0] != H.shape[1]:
        raise ValueError(f"weight: got {P.shape[0]} rows, want {H.shape[1]}, one a feature of H")
    T = _check.rows("T", T, P.shape[1], nonzero=True).to(H)
    y = _check.labels("labels", labels, len(H), len(T)).to(H.device)
    (target,) = _check.class_indices("target", target, len(T))
    generator = torch.Generator().manual_seed(seed)
    own, rest = (_shuffled(mask, generator) for mask in (y == target, y != target))
    half = len(own) // 2
    if not 1 <= shots <= half:
        raise ValueError(
            f"shots: got {shots}, want 1 to {half}, half of the {len(own)} images of class {target}"
        )
    if len(rest) == 0:
        raise ValueError("labels: every image is of the class to bring back, want others to measure on")
    train, test, rest = own[:shots], own[half:], rest[:others]
    length = _check.number("step", step, 0.0, 1.0) * (float(P.norm()) if norm is None else norm)
    result, wanted = Relearned(shots, goal), y[train]
    for i in range(max_steps + 1):
        for rows, curve in ((test, result.recall), (rest, result.retain)):
            curve.append(float(((H[rows] @ P @ T.T).argmax(1) == y[rows]).double().mean()))
        if result.recall[-1] >= goal or i == max_steps:
            break
        P = P.detach().requires_grad_()
        loss = F.cross_entropy(scale * F.normalize(H[train] @ P, dim=1) @ T.T, wanted)
        (slope,) = torch.autograd.grad(loss, P)
        P = P.detach() - length * F.normalize(slope.flatten(), dim=0).view_as(P)
    return result


def _shuffled(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Positions of a mask in random order."""
    index = mask.nonzero()[:, 0]
    return index[torch.randperm(len(index), generator=generator).to(index.device)]


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
    """`relearn` against its controls: the un-edited layer, a new name, and no class at all.

    Parameters
    ----------
    H, labels, weight, T
        As in `relearn`; ``weight`` is that of the un-edited model.
    edits : mapping of int to Edit
        Class to bring back -> the image-side edit that forgot it.
    shots : sequence of int
    made_up : array [k, d], optional
        Embeddings of made-up words: the names of the arms "new name" and "no class", cycled
        through. Default: random directions, at the angle to the mean name that names have.
    arms : sequence of str
        Keys of `ARMS`.
    seed : int
    **options
        Of `relearn`. All arms take steps of the same length, a share of the norm of ``weight``.

    Returns
    -------
    list of dict
        For each arm and k: arm, shots, steps (median over classes; infinite when most did not come
        back), back (fraction of classes that did), recall_start, recall_end, retain_start,
        retain_end (means, fractions).

    Raises
    ------
    ValueError
        As `relearn`; no edits; an unknown arm.
    """
    H, T = _check.rows("H", H), _check.rows("T", T, nonzero=True)
    P = _check.rows("weight", weight, T.shape[1])
    y = _check.labels("labels", labels, len(H), len(T))
    targets = _check.class_indices("edits", list(edits), len(T))
    words = (
        _made_up(T, len(targets), seed) if made_up is None else _check.rows("made_up", made_up, T.shape[1])
    )
    options.setdefault("norm", float(P.norm()))
    rows = []
    for arm in arms:
        _check.one_of("arm", arm, ARMS)
        for k in shots:
            runs = []
            for i, c in enumerate(targets):
                layer, names, X, classes = P, T, H, y
                if arm == "edited":
                    layer = edits[c].apply_image(P)
                if arm in ("new name", "no class"):
                    names = T.clone()
                    names[c] = words[i % len(words)].to(T)
                if arm == "no class":
                    X, classes = _no_class(H, y, c, seed + i)
                runs.append(relearn(X, classes, layer, names, c, k, seed=seed + i, **options))
            steps = [math.inf if r.steps is None else r.steps for r in runs]
            row = {"arm": arm, "shots": k, "steps": median(steps)}
            row["back"] = sum(map(math.isfinite, steps)) / len(steps)
            for name in ("recall", "retain"):
                curves = [getattr(r, name) for r in runs]
                row[f"{name}_start"] = sum(c[0] for c in curves) / len(curves)
                row[f"{name}_end"] = sum(c[-1] for c in curves) / len(curves)
            rows.append(row)
    return rows


def _made_up(T: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Random unit rows [n, d] with the cosine to the mean name that names have on average."""
    mean = F.normalize(T.mean(0), dim=0)
    cosine = float((F.normalize(T, dim=1) @ mean).mean())
    u = torch.randn(n, T.shape[1], generator=torch.Generator().manual_seed(seed)).to(T)
    across = F.normalize(u - (u @ mean)[:, None] * mean, dim=1)
    return cosine * mean + math.sqrt(max(0.0, 1 - cosine**2)) * across


def _no_class(H: torch.Tensor, y: torch.Tensor, c: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels without class c, its label given to as many random images of the others."""
    keep = y != c
    X, labels = H[keep], y[keep].clone()
    generator = torch.Generator().manual_seed(seed)
    labels[torch.randperm(len(labels), generator=generator)[: int((~keep).sum())]] = c
    return X, labels


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
    untrained : float
        The same on features of a tower that has learned nothing; NaN without one.
    """

    layer: str
    width: int
    before: float
    after: float
    control: float
    identical: bool
    untrained: float = math.nan


def layers(clip: Any, images: Any, batch_size: int = 256) -> dict[str, torch.Tensor]:
    """Features of an image tower at every stage, by forward hooks.

    Parameters
    ----------
    clip : Clip
    images
        As in ``Clip.embed_images``.

    Returns
    -------
    dict of str to torch.Tensor [n, width], float32 on the CPU
        "pixels", the input averaged down to 16 x 16: what no network was needed for; the stages in
        order, averaged over positions; "before the projection", H [n, w], with a column of ones if
        the last layer has a bias; "embedding", H P [n, d] scaled to unit rows.

    Raises
    ------
    ValueError
        A tower that clipnull does not know; what ``embed_images`` raises.
    """
    visual = clip.model.visual
    found: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, pooled: bool) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            x = output if pooled else _pooled(output, getattr(visual, "transformer", None))
            found.setdefault(name, []).append(x.detach().float().cpu())

        return hook

    def look(module: Any, inputs: Any) -> None:
        small = F.adaptive_avg_pool2d(inputs[0].detach().float(), 16).flatten(1)
        found.setdefault(PIXELS, []).append(small.cpu())

    hooks = [visual.register_forward_pre_hook(look), visual.register_forward_hook(keep(HIDDEN, True))]
    hooks += [stage.register_forward_hook(keep(name, False)) for name, stage in _stages(visual)]
    try:
        with unprojected(clip):
            clip.embed_images(images, batch_size=batch_size)
    finally:
        for handle in hooks:
            handle.remove()
    # in the order in which they ran; the tower as a whole ends last
    features = {name: torch.cat(chunks) for name, chunks in found.items()}
    P = last_layer(clip)
    if len(P) == features[HIDDEN].shape[1] + 1:
        features[HIDDEN] = torch.cat([features[HIDDEN], torch.ones(len(features[HIDDEN]), 1)], 1)
    return features | {EMBEDDING: F.normalize(features[HIDDEN] @ P, dim=1)}


def shuffled_weights(clip: M, seed: int = 0) -> M:
    """A copy of a model whose image tower has learned nothing: each weight tensor in random order.

    The copy has the same weights, layer by layer, and none of what they do together. A folded
    layer is shuffled as it is, edited.

    Parameters
    ----------
    clip : Clip
    seed : int

    Returns
    -------
    A copy of ``clip``.
    """
    other = copy.deepcopy(clip)
    generator = torch.Generator().manual_seed(seed)
    for p in other.model.visual.parameters():
        order = torch.randperm(p.numel(), generator=generator).to(p.device)
        p.data = p.data.flatten()[order].view_as(p)
    return other


def _stages(visual: Any) -> list[tuple[str, Any]]:
    """The blocks of a ViT (open_clip's, timm's or transformers'), or the stages of a ResNet or timm trunk."""
    if hasattr(visual, "layer1"):
        return [(f"stage {i}", getattr(visual, f"layer{i}")) for i in range(1, 5)]
    trunk = getattr(visual, "trunk", None)
    blocks: Iterable[Any] = getattr(getattr(visual, "transformer", None), "resblocks", ())
    blocks = blocks or getattr(trunk, "blocks", ()) or getattr(trunk, "stages", ())
    blocks = blocks or getattr(getattr(getattr(visual, "vision_model", None), "encoder", None), "layers", ())
    return [(f"block {i}", block) for i, block in enumerate(blocks, 1)]


def _pooled(x: torch.Tensor, transformer: Any) -> torch.Tensor:
    """Mean over the positions of a map [n, c, h, w] or of tokens [n, L, c] (or [L, n, c])."""
    if x.ndim == 4:
        return x.mean((2, 3))
    return x.mean(1 if getattr(transformer, "batch_first", True) else 0)


def layer_probe(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    labels: ArrayLike,
    forget: Any,
    *,
    untrained: Mapping[str, ArrayLike] | None = None,
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
    untrained : mapping of str to array [n, width], optional
        The same layers of a tower that has learned nothing (`shuffled_weights`), as a control: what
        a probe finds there is in the pixels.
    folds : int
        Of the cross-validation: every image is predicted by a probe that did not see it.
    seed : int
        Folds, and the shuffled labels of the control.

    Returns
    -------
    list of LayerProbe
        One a layer.

    Raises
    ------
    ValueError
        Different layers before and after, bad arrays, an unknown class, a forgotten class with
        fewer images than folds.

    Notes
    -----
    The probe is `ridge_probe` over all classes, on features scaled together by one number. One scale
    for each feature would blow up the rounding that an erased direction leaves behind until a probe
    can read it.
    """
    for name, other in (("after", after), ("untrained", before if untrained is None else untrained)):
        if list(before) != list(other):
            raise ValueError(f"{name}: has layers {list(other)}, want {list(before)} like before")
    n = len(_check.rows("before", next(iter(before.values()))))
    size = len(classes) if classes is not None else int(torch.as_tensor(labels).max()) + 1
    y = _check.labels("labels", labels, n, size).cpu().numpy()
    index = _check.class_indices("forget", forget, size, classes)
    fewest = min(int((y == c).sum()) for c in index)
    if not 2 <= folds <= fewest:
        raise ValueError(
            f"folds: got {folds}, want 2 to {fewest}, the images of the smallest forgotten class"
        )
    shuffled = np.random.default_rng(seed).permutation(y)

    def recall(X: ArrayLike, labels: np.ndarray) -> float:
        right = ridge_probe(X, labels, folds, seed).numpy() == labels
        return float(right[np.isin(labels, index)].mean())

    probes = []
    for layer, (X, Y) in ((k, (before[k], after[k])) for k in before):
        b, same = recall(X, y), torch.equal(torch.as_tensor(X), torch.as_tensor(Y))
        probes.append(
            LayerProbe(
                layer,
                int(torch.as_tensor(X).shape[1]),
                b,
                b if same else recall(Y, y),
                recall(X, shuffled),
                same,
                math.nan if untrained is None else recall(untrained[layer], y),
            )
        )
    return probes


def ridge_probe(X: ArrayLike, labels: ArrayLike, folds: int = 4, seed: int = 0) -> torch.Tensor:
    """Cross-validated predictions of a linear probe in closed form, scikit-learn's ridge classifier.

    Much faster than the logistic regression of `clipnull.audit.linear_probe`, for many layers or
    many edits.

    Parameters
    ----------
    X : array [n, width]
    labels : array of int [n]
    folds : int
    seed : int
        Of the folds.

    Returns
    -------
    torch.Tensor [n]
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    x = _check.rows("X", X).double().cpu().numpy()
    x = (x - x.mean(0)) / max(x.std(0).max(), 1e-30)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return torch.as_tensor(cross_val_predict(RidgeClassifier(), x, np.asarray(labels), cv=split))
