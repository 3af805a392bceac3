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
    """Image embeddings from which LEACE of the ``concept-erasure`` package took the forgotten classes.

    Parameters
    ----------
    case : Case
        Its names play no part; its labels do, so this is not data-free.

    Returns
    -------
    torch.Tensor [n, d]
        x - A (x - mean), A of rank at most the number of forgotten classes: of all affine maps that
        make the class means equal, the one that moves embeddings least in mean square. For each
        forgotten class, no linear probe says "is it this one?" better than a constant.

    Raises
    ------
    ValueError
        No image of a forgotten, or of a retained, class; ``concept-erasure`` is not installed.

    Notes
    -----
    The package drops directions whose whitened cross-covariance with the labels is below
    ``svd_tol``, 0.01 by default. That of one class in a hundred is; we ask for 1e-6.

    The guarantee holds on the embeddings it was fitted on, as they leave the eraser. Scaling them
    to unit length afterwards is not linear, and can bring the class back.

    References
    ----------
    arXiv 2306.03819.
    """
    concept = (both_kinds(case).labels[:, None] == torch.tensor(case.forget)).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        try:
            from concept_erasure import LeaceEraser
        except ModuleNotFoundError as error:
            raise NotMeasured('concept-erasure is not installed: pip install -e ".[leace]"') from error
    Z = case.loaded
    return LeaceEraser.fit(Z.double(), concept, svd_tol=1e-6)(Z.double()).to(Z.dtype)
