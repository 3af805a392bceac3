"""clipnull: learn, do and doubt closed-form class unlearning in CLIP (arXiv 2512.14137).

Importing costs torch and nothing more: no model, no network, no file. Modules that need
open_clip, matplotlib or ipywidgets are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from clipnull import erasers, subspace
from clipnull.audit import AuditReport, audit
from clipnull.erasers import METHODS, Edit, consistent, nullspace, random_subspace
from clipnull.evaluate import Evaluator, Report, drop_label, evaluate, protocol_score, sweep, sweep_sizes

if TYPE_CHECKING:
    from clipnull import (
        attacks,
        audit_plots,
        baselines,
        cache,
        datasets,
        exercises,
        model,
        models,
        one_style,
        pixels,
        plots,
        protocol,
        protocol_plots,
        widgets,
    )
    from clipnull.model import fold, folded, unfold
    from clipnull.models import Clip, load

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "AuditReport",
    "Clip",
    "Edit",
    "Evaluator",
    "Report",
    "attacks",
    "audit",
    "audit_plots",
    "baselines",
    "cache",
    "consistent",
    "datasets",
    "drop_label",
    "erasers",
    "evaluate",
    "exercises",
    "fold",
    "folded",
    "load",
    "model",
    "models",
    "nullspace",
    "one_style",
    "pixels",
    "plots",
    "protocol",
    "protocol_plots",
    "protocol_score",
    "random_subspace",
    "subspace",
    "sweep",
    "sweep_sizes",
    "unfold",
    "widgets",
]

_LAZY = {"Clip": "models", "load": "models", "fold": "model", "folded": "model", "unfold": "model"}
_MODULES = {
    "attacks",
    "audit_plots",
    "baselines",
    "cache",
    "datasets",
    "exercises",
    "model",
    "models",
    "one_style",
    "pixels",
    "plots",
    "protocol",
    "protocol_plots",
    "widgets",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"clipnull.{_LAZY[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"clipnull.{name}")
    raise AttributeError(f"module 'clipnull' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
