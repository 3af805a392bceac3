"""The lab's controls, each beside the key of the state that it moves."""

import html
import math
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.lab.bench import Bench
from clipnull.lab.state import EVERY, PARTS, SIGNS, STOPS, TITLES, dials

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


def show(shown: dict[Any, bool]) -> None:
    """Show some controls and hide others."""
    for control, there in shown.items():
        control.layout.display = None if there else "none"


class Sliders(dict[str, Any]):
    """The sliders of the hyperparameters, by name; those of one method are shown."""

    def __init__(self) -> None:
        stops = {"lam": [0.0, *STOPS], "mu": ["auto", 0.0, *STOPS]}
        super().__init__()
        for key, (sign, help) in SIGNS.items():
            kind: Any = widgets.FloatSlider if key in PARTS else widgets.SelectionSlider
            part = dict(value=1.0, min=0, max=1, step=0.01)
            look = part if key in PARTS else {"options": stops[key]}
            self[key] = make(kind, description=sign, help=help, **look)

    def take(self, method: str, values: Mapping[str, Any] | None = None) -> None:
        """Show a method's sliders at these values, by default its own."""
        own, values = dials(method), values or METHODS[method].defaults
        show({slider: key in own for key, slider in self.items()})
        for key in own:
            value = values.get(key, 1.0)
            if key not in PARTS:
                # as many stops for every method: the browser does not follow a slider's new length
                numbers = sorted({*STOPS, math.inf if key == "lam" else 0.0, *({value} - {"auto"})})
                stops = [(f"{x:g}".replace("inf", "∞"), x) for x in numbers]
                self[key].options = [("auto", "auto"), *stops] if key == "mu" else stops
            self[key].value = value

    def tell(self, edit: Edit) -> None:
        """Write the μ that was chosen on its stop "auto"."""
        slider = self["mu"]
        if slider.value == "auto" and "mu" in edit.info:
            mu = float(f"{edit.info['mu']:.3g}")
            said = "10⁴" if mu == 1e4 else f"{mu:g}"  # there is room for no more
            slider.options = [(f"auto: {said}", "auto"), *slider.options[1:]]  # the first is chosen then


def of_state(bench: Bench, sliders: Sliders) -> dict[str, Any]:
    """A control for each key of `clipnull.lab.DEFAULT_STATE`."""
    d, asked = bench.Z.shape[1], [(p or "the table's own prompt", p) for p in bench.prompts]
    return {
        "forget": make(widgets.SelectMultiple, options=bench.data.classes, rows=7, help="names to forget"),
        "method": make(widgets.Dropdown, options=[(t, m) for m, t in TITLES.items()], description="method",
                       help=METHODS_SAID),
        **sliders,
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
