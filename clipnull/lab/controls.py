"""The lab's controls, each beside the key of the state that it moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from clipnull.lab.state import DIALS, TITLES, dials

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

#: whose style knows no width of a description, or whose description stands after the box
UNALIGNED = (widgets.Button, widgets.Checkbox, widgets.FileUpload)
SIDES = {"image": "the images", "text": "the texts", "both": "both"}


def make(kind: Callable[..., Any], *arguments: Any, width: str = "21.5em", **options: Any) -> Any:
    """A control with a layout of its own: hiding one must not hide the others."""
    if "description" in options and kind not in UNALIGNED:
        options.setdefault("style", {"description_width": "4.6em"})
    return kind(*arguments, layout=widgets.Layout(width=width), **options)


def check_box(text: str, value: bool, width: str) -> Any:
    """A box to tick, its text after it."""
    return make(widgets.Checkbox, value, description=text, indent=False, width=width)


def methods(names: Iterable[str] = TITLES) -> Any:
    """A menu of methods."""
    return make(widgets.Dropdown, options=[(TITLES[m], m) for m in names], description="method")


def moved() -> dict[str, Any]:
    """The sliders of the hyperparameters."""
    return {
        "strength": make(widgets.FloatSlider, 1.0, min=0, max=1, step=0.01, description="α"),
        "lam": make(widgets.SelectionSlider, options=stops("lam"), description="λ"),
        "mu": make(widgets.SelectionSlider, options=stops("mu"), description="μ"),
    }


def stops(key: str, *more: float) -> list[tuple[str, float]]:
    """Options of the λ or μ slider: `DIALS`, for μ zero too, and whatever else a state holds."""
    values = sorted({*DIALS, *more, *([0.0] if key == "mu" else [])})
    return [(f"{v:g}", v) for v in values]


def show(shown: dict[Any, bool]) -> None:
    """Show some controls and hide others."""
    for control, there in shown.items():
        control.layout.display = None if there else "none"


def show_dials(sliders: dict[str, Any], method: str) -> None:
    """Of the sliders of `moved`, only those that the method has."""
    show({sliders[key]: key in dials(method) for key in ("strength", "lam", "mu")})


def of_state(bench: Bench) -> dict[str, Any]:
    """A control for each key of `clipnull.lab.DEFAULT_STATE`."""
    data = bench.data
    here = f"{data.name or 'the data'}, {len(data.classes)} classes"
    parts = [(here, ""), *((s, s) for s in bench.subsets)]
    return {
        "subset": make(widgets.Dropdown, options=parts, description="data"),
        "forget": make(widgets.SelectMultiple, options=data.classes, rows=7),
        "method": methods(),
        **moved(),
        "word": make(widgets.Text, "an animal", description="anchor", continuous_update=False),
        "erase_as": make(
            widgets.Text, description="erase as", placeholder="the class names", continuous_update=False
        ),
        "templates": check_box("prompt templates", True, "11.5em"),
        "synonyms": check_box("keywords too", False, "9em"),
        "side": make(widgets.Dropdown, options=[(v, k) for k, v in SIDES.items()], description="edit"),
        "seed": make(
            widgets.BoundedIntText, 0, 0, 2**31 - 1, description="seed", width="8em",
            style={"description_width": "2.8em"},
        ),
        "image": make(widgets.IntSlider, 0, 0, len(data) - 1, description="picture"),
    }  # fmt: skip
