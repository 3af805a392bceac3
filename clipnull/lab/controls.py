"""The lab's controls, each beside the key of the state that it moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from clipnull.edit import Edit
from clipnull.lab.state import LAB_METHODS, STOPS, TITLES, dials

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

#: whose style knows no width of a description
UNALIGNED = (widgets.Button, widgets.FileUpload)
SIDES = {"image": "the images", "text": "the texts", "both": "both"}


def make(kind: Callable[..., Any], *arguments: Any, width: str = "21.5em", **options: Any) -> Any:
    """A control with a layout of its own: hiding one must not hide the others."""
    if "description" in options and kind not in UNALIGNED:
        options.setdefault("style", {"description_width": "4.6em"})
    return kind(*arguments, layout=widgets.Layout(width=width), **options)


def methods(names: Iterable[str] = TITLES) -> Any:
    """A menu of methods."""
    return make(widgets.Dropdown, options=[(TITLES[m], m) for m in names], description="method")


def show(shown: dict[Any, bool]) -> None:
    """Show some controls and hide others."""
    for control, there in shown.items():
        control.layout.display = None if there else "none"


class Sliders(dict[str, Any]):
    """The sliders of the hyperparameters, by name; those of one method are shown."""

    def __init__(self) -> None:
        super().__init__(
            strength=make(widgets.FloatSlider, 1.0, min=0, max=1, step=0.01, description="α"),
            lam=make(widgets.SelectionSlider, options=[0.0, *STOPS], description="λ"),
            mu=make(widgets.SelectionSlider, options=["auto", 0.0, *STOPS], description="μ"),
        )

    def take(self, method: str, values: Mapping[str, Any] | None = None) -> None:
        """Show a method's sliders at these values, by default its own."""
        own, values = dials(method), values or LAB_METHODS[method].defaults
        show({slider: key in own for key, slider in self.items()})
        for key in own:
            if key != "strength":
                # as many stops for every method: the browser does not follow a slider's new length
                rule = ["auto"] if key == "mu" else []
                end = [math.inf] if key == "lam" else [0.0]
                numbers = {*STOPS, *end, *([values[key]] if values[key] != "auto" else [])}
                self[key].options = [(stop(v), v) for v in [*rule, *sorted(numbers)]]
            self[key].value = values[key]

    def read(self, method: str) -> dict[str, Any]:
        """The values of a method's sliders; None for those that it has not."""
        own = dials(method)
        return {key: slider.value if key in own else None for key, slider in self.items()}

    def tell(self, edit: Edit) -> None:
        """Write the μ that was chosen on its stop "auto"."""
        slider = self["mu"]
        if slider.value == "auto" and "mu" in edit.info:
            options = [(f"auto: {edit.info['mu']:.3g}", "auto"), *slider.options[1:]]
            if options != list(slider.options):
                slider.options = options
                slider.value = "auto"


def stop(value: float | str) -> str:
    """A stop of a slider in words."""
    return value if isinstance(value, str) else f"{value:g}".replace("inf", "∞")


def of_state(bench: Bench, sliders: Sliders) -> dict[str, Any]:
    """A control for each key of `clipnull.lab.DEFAULT_STATE`."""
    return {
        "forget": make(widgets.SelectMultiple, options=bench.data.classes, rows=7),
        "method": methods(),
        **sliders,
        "word": make(widgets.Text, "an animal", description="word", continuous_update=False),
        "erase_as": make(
            widgets.Text, description="erase as", placeholder="the class names", continuous_update=False
        ),
        "side": make(widgets.Dropdown, options=[(v, k) for k, v in SIDES.items()], description="edit"),
        "seed": make(widgets.BoundedIntText, 0, 0, 2**31 - 1, description="seed"),
        "image": make(widgets.IntSlider, 0, 0, len(bench.data) - 1, description="picture"),
    }  # fmt: skip
