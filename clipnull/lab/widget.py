"""The forget/retain lab: controls around the bench and its views."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch
from PIL import Image, UnidentifiedImageError

from clipnull import _check
from clipnull._show import few, percent
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.pictures import LabelledImages, open_image
from clipnull.datasets.registry import load as load_data
from clipnull.lab import controls, views
from clipnull.lab.base import Live, alarm, image, in_turn, png, row
from clipnull.lab.bench import Bench
from clipnull.lab.code import equivalent_python
from clipnull.lab.controls import make
from clipnull.lab.draw import DPI, PICTURE, WIDE, measures
from clipnull.lab.result import LabResult
from clipnull.lab.state import EXAMPLES, VIEWS
from clipnull.lab.views import PANELS
from clipnull.model.clip import Clip
from clipnull.model.loading import load as load_clip

__all__ = ["ForgetRetainLab"]

#: what a dropdown shows that has nothing chosen
CATEGORY, PICTURE_OF = "whole category …", "picture of …"
#: what follows an error: the screen does not
STAYS = ". The last result stays."


class ForgetRetainLab(Live):
    """Choose what to forget and how; see what it does to accuracy, geometry and pictures.

    Parameters
    ----------
    clip : Clip, optional
        Default: `clipnull.load()`; none for embeddings.
    data : LabelledImages or Embeddings, optional
        Default: `clipnull.datasets.load` at the model's image size. Embeddings have no pictures to show.
    state : dict, optional
        Changes to `clipnull.lab.DEFAULT_STATE`.

    Attributes
    ----------
    state : dict
        Plain values; assigning a dict moves the controls. `Bench.compute` of it is what the views draw.
    result : LabResult
        Of the last state that could be computed.
    error : Exception or None
        Why the present state cannot be, or why the last button failed; also on screen.
    controls : dict
        The ipywidgets behind the keys of ``state``.

    Raises
    ------
    ValueError
        A ``state`` that cannot be, here or when it is assigned; see `clipnull.lab.Bench.check`.
    """

    @_check.by_name
    def __init__(
        self,
        clip: Clip | None = None,
        data: LabelledImages | Embeddings | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(data, Embeddings):
            clip = load_clip() if clip is None else clip
            data = load_data(size=clip.image_size) if data is None else data
        self.bench = Bench(clip, data)
        self.case: str | None = None
        self.error: Exception | None = None
        self.result: LabResult
        self._upload: tuple[Image.Image, torch.Tensor] | None = None
        self.sliders = controls.Sliders()
        self.controls = controls.of_state(self.bench, self.sliders)
        self._make_menus()
        self._make_outputs()
        self._connect()
        super().__init__([self._layout()])
        self.state = state or {}

    # --- state --------------------------------------------------------------------------

    @property
    def _d(self) -> int:
        return self.bench.Z.shape[1]

    @property
    def state(self) -> dict[str, Any]:
        """What the controls say, as plain values."""
        values = {key: control.value for key, control in self.controls.items()}
        values.update(self.sliders.read(values["method"]), forget=list(values["forget"]))
        return {**values, "dimensions": None if values["dimensions"] == self._d else values["dimensions"]}

    @state.setter
    def state(self, new: Mapping[str, Any]) -> None:
        self._set(self.bench.check(new))

    @in_turn
    def _set(self, values: Mapping[str, Any]) -> None:
        """Move controls without drawing in between, then draw once."""
        with self.paused():
            self.sliders.take(values["method"], values)
            for key in values.keys() - self.sliders.keys():
                value: Any = self._d if key == "dimensions" and values[key] is None else values[key]
                self.controls[key].value = tuple(value) if key == "forget" else value
        self.update()

    # --- controls -----------------------------------------------------------------------

    def _make_menus(self) -> None:
        """The controls that are no key of the state."""
        bench, seen = self.bench, set(self.bench.labels.tolist())
        categories = [g for g in dict.fromkeys(bench.categories) if g]
        pictured = [c for i, c in enumerate(bench.data.classes) if i in seen]
        self.category = make(widgets.Dropdown, options=[CATEGORY, *categories], help="a category to forget")
        self.view = widgets.ToggleButtons(
            options=[(PANELS[v].title, v) for v in VIEWS],
            tooltips=[PANELS[v].question for v in VIEWS],
            style={"button_width": "auto"},
        )
        of_class = dict(options=[PICTURE_OF, *pictured], help="the first picture of a class")
        self.picture_of = make(widgets.Dropdown, width="11em", **of_class)
        upload: dict[str, Any] = dict(accept="image/*", multiple=False, description="your picture")
        self.file = make(widgets.FileUpload, width="11em", help="a picture file of yours", **upload)
        self.cases = {
            name: make(widgets.Button, description=name, width="auto", help=case.question)
            for name, case in EXAMPLES.items()
        }
        said = {
            "again": ("draw the classes again", "The next classes of the case, or as many others."),
            "code": ("Python", "Show or hide code that does the same without the lab."),
            "reset": ("reset", "Back to the first state."),
        }
        self.buttons = {
            name: make(widgets.Button, description=text, width="auto", help=help)
            for name, (text, help) in said.items()
        }

    def _connect(self) -> None:
        # choosing a picture of the data puts the uploaded one away; first, so that drawing sees it
        self.controls["image"].observe(lambda _: setattr(self, "_upload", None), names="value")
        # a method starts at its own hyperparameters
        self.controls["method"].observe(self._method_chosen, names="value")
        for control in (*self.controls.values(), self.view):
            control.observe(self.changed, names="value")
        self._offer(self.category, self._choose)
        self._offer(self.picture_of, self._choose_picture)
        self.file.observe(self._uploaded, names="value")
        for name, button in self.cases.items():
            button.on_click(lambda _, name=name: self._try(partial(self.show, name)))
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self._try(getattr(self, f"_button_{name}")))

    def _offer(self, menu: Any, action: Callable[[str], None]) -> None:
        """Call ``action`` with what is chosen; the menu lets go of it, so that it can be chosen again."""

        @in_turn
        def chosen(change: Any) -> None:
            if self._paused or change["new"] in (None, menu.options[0]):
                return
            self._try(partial(action, change["new"]))
            menu.value = menu.options[0]

        menu.observe(chosen, names="value")

    def _make_outputs(self) -> None:
        def text(name: str) -> Any:
            widget = widgets.HTML()
            widget.add_class(f"clipnull-{name}")
            return widget

        names = ("numbers", "message", "hint", "caption")
        self.numbers, self.message, self.hint, self.caption = map(text, names)
        self.code = widgets.Textarea(rows=16, layout=widgets.Layout(width="98%", display="none"))
        self.code.add_class("clipnull-code")
        self.image = image()

    def _layout(self) -> widgets.Widget:
        c, buttons = self.controls, (*self.cases.values(), *self.buttons.values())
        keys = ("side", "told", "asked", "listed", "dimensions", "seed")
        left = widgets.VBox(
            [c["forget"], self.category, c["method"], *self.sliders.values(), *(c[key] for key in keys)],
            layout=widgets.Layout(width="22.5em", flex="0 0 auto"),
        )
        right = widgets.VBox(
            [self.numbers, self.message, self.hint, self.view, row(c["image"], self.picture_of, self.file),
             self.image, self.caption, self.code],
            layout=widgets.Layout(flex="1 1 0%", min_width="0"),
        )  # fmt: skip
        controls.show({self.category: len(self.category.options) > 1})
        return widgets.VBox([row(*buttons), widgets.HBox([left, right])])

    # --- drawing ------------------------------------------------------------------------

    def update(self) -> None:
        """Compute the present state and redraw what is on screen; a state that cannot be says why."""
        self._try(self._update)

    def _update(self) -> None:
        self._show_controls()
        result = self.bench.compute(self.state)
        if self._upload is not None:
            result.single = result.top5(self._upload[1])._replace(picture=self._upload[0])
        key = self.view.value
        self.image.value = png(views.view(key, result), DPI)
        self.result, self.numbers.value = result, accuracy_line(result)
        sentence = PANELS[key].sentence(result)
        self.caption.value = _caption(sentence)
        self.alt.value = html.escape(f"{PANELS[key].title}. {sentence}")
        with self.paused():
            self.sliders.tell(result.edit)
        if self.code.layout.display is None:
            self.code.value = self.python()
        self.error, self.message.value = None, ""

    def _show_controls(self) -> None:
        single = self.view.value == "single"
        controls.show(dict.fromkeys((self.controls["image"], self.picture_of), single))
        controls.show({self.file: single and self.bench.clip is not None})

    @in_turn
    def _try(self, action: Callable[[], None]) -> None:
        """Run an action; bad input becomes a sentence on screen, a fault is shown and raised."""
        try:
            action()
        except Exception as problem:
            self.error, self.message.value = problem, alarm(problem, STAYS)
            if not isinstance(problem, ValueError):
                raise

    # --- what the other controls do -----------------------------------------------------

    @in_turn
    def _method_chosen(self, change: Any) -> None:
        if not self._paused:
            with self.paused():
                self.sliders.take(change["new"])

    def _choose(self, forget: Any) -> None:
        self._set(self.bench.check({**self.state, "forget": forget, "image": None}))

    def _choose_picture(self, name: str) -> None:
        self._upload = None
        row = self.bench.where(name)[0]
        if self.controls["image"].value == row:
            self.update()
        self.controls["image"].value = row

    @in_turn
    def show(self, case: str) -> None:
        """Take the state of one of `EXAMPLES` and open the view that shows it."""
        state = self.bench.example(case)
        self.hint.value = f"<b>{html.escape(case)}.</b> <i>{html.escape(EXAMPLES[case].question)}</i>"
        with self.paused():
            self.case, self._upload, self.view.value = case, None, EXAMPLES[case].view
        self._set(state)

    def _button_again(self) -> None:
        """Other classes: of the case's kind, else as many at random. All else stays."""
        seed, kind = self.state["seed"] + 1, len(self.state["forget"])
        drawn = self.bench.drawn(EXAMPLES[self.case].draws if self.case else kind, seed)
        self._set(self.bench.check({**self.state, "forget": drawn, "seed": seed, "image": None}))

    @in_turn
    def _uploaded(self, change: Any) -> None:
        if change["new"]:
            self._try(partial(self._read_upload, change["new"]))
            # so that the same file can be chosen again; ipywidgets 7 keeps a dict that is not to be set
            if isinstance(self.file.value, dict):
                self.file.value.clear()
            else:
                self.file.value = ()

    def _read_upload(self, value: Any) -> None:
        # ipywidgets 7: {name: {"content": bytes}}; 8: ({"content": memoryview, ...},)
        files = list(value.values()) if isinstance(value, dict) else list(value)
        content = bytes(files[-1]["content"])
        try:
            whole = open_image(io.BytesIO(content))
        except ValueError as error:
            cause = error.__cause__
            # Pillow's own text for a file of another kind is an address in memory
            reason = "it is no picture" if isinstance(cause, UnidentifiedImageError) else cause
            raise ValueError(f"picture: cannot be read ({reason}), want a PNG or JPEG") from error
        z = self.bench.embed_picture(whole)
        whole.thumbnail((2 * PICTURE, 2 * PICTURE))
        self._upload = whole, z
        self.update()

    # --- out ----------------------------------------------------------------------------

    def python(self) -> str:
        """The Python that does the same, see `clipnull.lab.equivalent_python`."""
        return equivalent_python(self.bench, self.result.state)

    def save(self, path: str | Path) -> None:
        """Write `python` to a new file; a ValueError where there is one."""
        target = Path(path)
        if target.exists():
            raise ValueError(f"path: got {str(path)!r}, which exists, want a new file")
        target.write_text(self.python(), encoding="utf-8")

    def _button_code(self) -> None:
        shown = self.code.layout.display is None
        self.code.value, self.code.layout.display = self.python(), "none" if shown else None

    def _button_reset(self) -> None:
        self.hint.value, self._upload, self.case = "", None, None
        self.code.layout.display = "none"
        with self.paused():
            self.view.value = "numbers"
        self._set(self.bench.check({}))


def _caption(text: str) -> str:
    style = "line-height:1.35; box-sizing:border-box; padding:0 8px; color:var(--jp-ui-font-color2, inherit)"
    return f'<div style="{style}; max-width:{WIDE}px">{html.escape(text)}</div>'


#: pairs of a forgotten and a kept name whose certificate stands above every view; of more it takes seconds
AT_ONCE = 2000


def accuracy_line(result: LabResult) -> str:
    """What stands above every view, as HTML: the measures, and what the forgotten pictures became."""
    case, edit, went = result.case, result.edit, html.escape(result.report.became())
    cells = "".join(
        f"<span style='white-space:nowrap; margin-right:1em'>{m.name} {percent(m.before)} → "
        f"<b>{percent(m.after)}</b></span> "
        for m in measures(result.report)
    )
    lead = "in <i>Mathematics</i>"
    if len(case.forget) * len(case.retain) <= AT_ONCE:
        lead = f"<b>{float(result.certificate.max()):.2f}</b>"
    return (
        f"<div style='line-height:1.5'>{cells}"
        f"<span style='white-space:nowrap'>certificate {lead} &nbsp; rank {edit.rank}</span><br>"
        f"forgetting {html.escape(few(case.forget_names))}; "
        f"{'their' if len(case.forget) > 1 else 'its'} pictures are now called {went}</div>"
    )
