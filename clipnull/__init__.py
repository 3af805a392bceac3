"""clipnull: learn, do and doubt closed-form class unlearning in CLIP (arXiv 2512.14137).

Importing costs nothing: every name is found when it is first used, and what it needs (torch, open_clip,
matplotlib, ipywidgets) is imported then.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

#: module -> the names that people import from the package itself
_TABLE = {
    "auditing": "AuditReport audit",
    "comparison": "Comparison Sweep Trial compare sweep sweep_sizes trials",
    "edit": "Edit",
    "erasers": "METHODS consistent nullspace random_subspace",
    "evaluation": "Case candidate_masking evaluate",
    "model": "Clip fold folded load unfold",
    "hull": "certificate nearest_mixture",
    "report": "Report",
    "": "auditing comparison datasets erasers evaluation exercises hull lab measures model plots protocol "
    "solver subspace",
}
_MODULE = {name: module for module, names in _TABLE.items() for name in names.split()}

__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'clipnull' has no attribute {name!r}")
    module = _MODULE[name]
    found = importlib.import_module(f"clipnull.{module or name}")
    globals()[name] = value = getattr(found, name) if module else found
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
