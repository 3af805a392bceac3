"""Can a classifier trained on edited embeddings still tell the class? After LEACE none can."""

import math
import warnings

import torch

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.auditing.controls import both_kinds, fewest
from clipnull.auditing.report import Measurement, NotMeasured
from clipnull.edit import Edit
from clipnull.evaluation import Case

__all__ = ["leace", "linear_probe", "probe", "yes_or_no"]


@_check.by_name
def linear_probe(X: ArrayLike, labels: ArrayLike, folds: int = 4, seed: int = 0) -> torch.Tensor:
    """Cross-validated predictions [n] of scikit-learn's ridge classifier, which weighs classes equally.

    Features ``X`` [n, d] are centred and divided by one number: dividing each by its own would amplify the
    rounding that an erased direction leaves behind until a probe can read it. The largest class, or each of
    two, has an image for every fold. A probe recovers what was unlearned: arXiv 2604.08271.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    X = _check.rows("X", X).detach().double()
    y = _check.labels("labels", labels, len(X), 2**31)
    counts = torch.unique(y, return_counts=True)[1]
    most = int(counts.min() if len(counts) == 2 else counts.max())
    if len(counts) < 2 or most < 2:
        raise NotMeasured("labels: want two classes or more, with two images, one per fold")
    X = X - X.mean(0)
    x = (X / X.std(0, correction=0).max().clamp_min(1e-30)).cpu().numpy()
    split = StratifiedKFold(min(folds, most), shuffle=True, random_state=seed)
    # products this small are slower on several threads than on one; classes may be smaller than the folds
    with warnings.catch_warnings(action="ignore", category=UserWarning), threadpool_limits(1):
        ridge = RidgeClassifier(class_weight="balanced")
        return torch.as_tensor(cross_val_predict(ridge, x, y.cpu().numpy(), cv=split))


@_check.by_name
def yes_or_no(case: Case, X: ArrayLike, folds: int = 4, seed: int = 0) -> float:
    """Balanced accuracy of a cross-validated probe on ``X [n, d]`` asked "is it a forgotten class?"."""
    return balanced(X, case.gone, folds, seed)


def balanced(X: ArrayLike, yes: torch.Tensor, folds: int, seed: int) -> float:
    said = linear_probe(X, yes.long(), folds, seed).bool()
    return (_check.share(said[yes]) + _check.share(~said[~yes])) / 2


@_check.by_name
def probe(case: Case, edit: Edit, folds: int = 4, seed: int = 0) -> Measurement:
    """`yes_or_no` on unit embeddings, before and after the edit (arXiv 2604.08271); control: 50%, chance."""
    least = fewest(both_kinds(case))
    Z, n = case.images, int(case.gone.sum())
    b, a = (yes_or_no(case, X, min(folds, least), seed) for X in (Z, edit.apply_image(Z, normalize=True)))
    room = math.sqrt((1 / n + 1 / (len(Z) - n)) / 4)  # two standard errors of a guess
    said = f" The edit takes {edit.rank} of {edit.dim} directions; a probe may use any of the others."
    if b <= 0.5 + room:
        said = f"On {n} images, {_show.percent(b)} before the edit cannot be told from chance (50%)."
    elif a <= 0.5 + room:
        said = "Gone: no better than chance (50%)." + said
    else:
        left = 100 * (a - 0.5) / (b - 0.5)
        said = f"{left:.0f}% of what it found above chance is still there." + said
    return Measurement("linear probe", b, a, 0.5, "chance", said, "2604.08271")


@_check.by_name
def leace(case: Case) -> torch.Tensor:
    """The case's images [n, d] with the forgotten classes' means made equal, by labels: arXiv 2306.03819.

    The guarantee is for these embeddings, not scaled to unit length.
    """
    concept = (both_kinds(case).labels[:, None] == torch.tensor(case.forget)).double()
    try:
        with warnings.catch_warnings(action="ignore"):  # its import uses what torch deprecates
            from concept_erasure import LeaceEraser
    except ModuleNotFoundError as error:
        raise NotMeasured('concept-erasure is not installed: pip install -e ".[leace]"') from error
    Z = case.images
    # by default, 0.01, it passes over one class in a hundred
    return LeaceEraser.fit(Z.double(), concept, svd_tol=1e-6)(Z.double()).to(Z.dtype)
