"""The lab's controls, each beside the key of the state that it moves."""

import html
import math
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from clipnull.erasers import METHODS
from clipnull.lab.bench import Bench
from clipnull.lab.state import CURVES, EVERY, PARTS, SIGNS, STOPS, TITLES

#: whose style knows no width of a description
UNALIGNED = (widgets.Button, widgets.FileUpload)
SIDES = {"image": "the pictures", "text": "the names", "both": "both"}
#: what the choices of a menu mean, line by line
METHODS_SAID = "What a forgotten name becomes." + "".join(f"\n{k}: {m.becomes}" for k, m in METHODS.items())
SIDES_SAID = """What the edit is applied to.
the pictures: z becomes Wᵀz
the names: t becomes Wt, at length 1 again
both: one and the other"""
PROMPTS_SAID = """.
the table's own prompt: that of its names
{}: the place of the name; multi: the mean of many prompts"""
EVERY_SAID = f"\n{EVERY}: all of them are forgotten"


def make(
    kind: Callable[..., Any], *arguments: Any, width: str = "21.5em", help: str = "", **options: Any
) -> Any:
    """A control with a layout of its own: hiding one must not hide the others."""
    if "description" in options and kind not in UNALIGNED:
        options.setdefault("style", {"description_width": "4.6em"})
    made = kind(*arguments, layout=widgets.Layout(width=width), **options)
    if help and kind is widgets.Dropdown and made.description:
        # ipywidgets shows no tip of a menu that has a description; `guard.js` copies this one to the menu
        made.description = f'<span title="{html.escape(help)}">{made.description}</span>'
        if made.has_trait("description_allow_html"):  # ipywidgets 7 always does
            made.description_allow_html = True
    if help:  # the name of the trait differs between ipywidgets 7 and 8
        made.set_trait("tooltip" if made.has_trait("tooltip") else "description_tooltip", help)
    return made


def show(there: bool, *controls: widgets.Widget) -> None:
    for control in controls:
        control.layout.display = None if there else "none"


def stops(key: str, value: Any = "auto") -> list[tuple[str, Any]]:
    """Where λ's or μ's slider stops; as many for every method, for the browser follows no new length."""
    auto = [("auto", "auto")] if key == "mu" else []
    numbers = sorted({*STOPS, 0.0 if auto else math.inf, *({value} - {"auto"})})
    return [*auto, *((f"{x:g}".replace("inf", "∞"), x) for x in numbers)]


def dial(key: str) -> Any:
    sign, help = SIGNS[key]
    if key in PARTS:
        return make(widgets.FloatSlider, 1.0, min=0, max=1, step=0.01, description=sign, help=help)
    return make(widgets.SelectionSlider, options=stops(key), description=sign, help=help)


def turn(controls: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Show the sliders of the hyperparameters that a checked state has, at its values."""
    for key in CURVES:
        value, slider = state[key], controls[key]
        show(value is not None, slider)
        if value is not None:
            if key not in PARTS:
                slider.options = stops(key, value)
            slider.value = value


def of_state(bench: Bench) -> dict[str, Any]:
    """A control for each key of `clipnull.lab.DEFAULT_STATE`."""
    d, asked = bench.Z.shape[1], [(p or "the table's own prompt", p) for p in bench.prompts]
    return {
        "forget": make(widgets.SelectMultiple, options=bench.data.classes, rows=7, help="names to forget"),
        "method": make(widgets.Dropdown, options=[(t, m) for m, t in TITLES.items()], description="method",
                       help=METHODS_SAID),
        **{key: dial(key) for key in CURVES},
        "side": make(widgets.Dropdown, options=[(v, k) for k, v in SIDES.items()], description="edit",
                     help=SIDES_SAID),
        "told": make(widgets.Dropdown, options=[*asked, (EVERY, EVERY)], description="told",
                     help=f"The prompt under which the eraser reads the names{PROMPTS_SAID}{EVERY_SAID}"),
        "asked": make(widgets.Dropdown, options=asked, description="asked",
                      help=f"The prompt of the names that pictures are compared with{PROMPTS_SAID}"),
        "listed": make(widgets.FloatSlider, 1.0, min=0, max=1, step=0.05, description="listed",
                       help="share of the kept names that the eraser is told of"),
        "dimensions": make(widgets.IntSlider, d, min(2, d), d, description="dims",
                           help="dimensions of the space: the main ones of its names"),
        "seed": make(widgets.BoundedIntText, 0, 0, 2**31 - 1, description="seed",
                     help="of what is drawn: classes, listed names, the random subspace"),
        "image": make(widgets.IntSlider, 0, 0, len(bench.Z) - 1, description="picture",
                      help="which picture of the table"),
    }  # fmt: skip
