"""The guarded extreme: LEACE, which erases what any linear probe could find."""

from __future__ import annotations

import warnings

import torch

from clipnull import _check
from clipnull.auditing.cases import both_kinds
from clipnull.auditing.report import NotMeasured
from clipnull.evaluation import Case

__all__ = ["leace"]


@_check.by_name
def leace(case: Case) -> torch.Tensor:
    """The case's image embeddings [n, d] with the forgotten classes' means made equal, by labels alone.

    Raises
    ------
    ValueError
        No image of a forgotten, or of a retained, class; ``concept-erasure`` is not installed.

    References
    ----------
    arXiv 2306.03819. The guarantee is for these embeddings, not scaled to unit length.
    """
    concept = (both_kinds(case).labels[:, None] == torch.tensor(case.forget)).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        try:
            from concept_erasure import LeaceEraser
        except ModuleNotFoundError as error:
            raise NotMeasured('concept-erasure is not installed: pip install -e ".[leace]"') from error
    Z = case.images
    # by default, 0.01, it passes over one class in a hundred
    return LeaceEraser.fit(Z.double(), concept, svd_tol=1e-6)(Z.double()).to(Z.dtype)
