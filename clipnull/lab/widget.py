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

from clipnull._show import percent
from clipnull.datasets.pictures import open_image
from clipnull.datasets.registry import load as load_data
from clipnull.lab import controls, views
from clipnull.lab.base import Live, alarm, image, row
from clipnull.lab.bench import Bench
from clipnull.lab.code import equivalent_python
from clipnull.lab.controls import make
from clipnull.lab.draw import HALF, PICTURE, WIDE
from clipnull.lab.result import LabResult
from clipnull.lab.state import DEFAULT_STATE, VIEWS
from clipnull.lab.turns import in_turn
from clipnull.lab.views import PANELS, few
from clipnull.model.fold import folded
from clipnull.model.loading import load as load_clip

__all__ = ["ForgetRetainLab"]

#: pixels; a larger upload is refused rather than decoded
LARGEST_UPLOAD = 50_000_000
#: what a dropdown shows that has nothing chosen
NOTHING, CASES, CATEGORY, PICTURE_OF = "(one view)", "a case to look at …", "whole category …", "picture of …"
#: what follows an error: the screen does not
STAYS = ". The last result stays."


class ForgetRetainLab(Live):
    """Choose what to forget and how; see what it does to accuracy, geometry and pictures.

    Parameters
    ----------
    clip : Clip, optional
        Default: `clipnull.load()`.
    data : LabelledImages, optional
        Default: `clipnull.datasets.load` at the model's image size.
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

    def __init__(self, clip: Any = None, data: Any = None, state: Mapping[str, Any] | None = None) -> None:
        clip = load_clip() if clip is None else clip
        data = load_data(size=clip.image_size) if data is None else data
        self.bench = Bench(clip, data)
        self.error: Exception | None = None
        self.result: LabResult
        self._upload: tuple[Image.Image, torch.Tensor] | None = None
        self.controls = controls.of_state(self.bench)
        self._make_menus()
        self._make_outputs()
        self._connect()
        super().__init__([self._layout()])
        self.state = {**self._first(), **(state or {})}

    def _first(self) -> dict[str, Any]:
        """`DEFAULT_STATE`, with a class that the data have."""
        classes = self.bench.data.classes
        known = set(DEFAULT_STATE["forget"]) <= set(classes)
        return {**DEFAULT_STATE, "forget": DEFAULT_STATE["forget"] if known else [classes[0]]}

    # --- state --------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """What the controls say, as plain values."""
        values = {key: control.value for key, control in self.controls.items()}
        values["forget"] = list(values["forget"])
        return values

    @state.setter
    def state(self, new: Mapping[str, Any]) -> None:
        self._set(self.bench.check(new))

    @property
    def visible(self) -> list[str]:
        """Keys of the views on screen."""
        return list(dict.fromkeys(v for v in (self.view.value, self.beside.value) if v != NOTHING))

    @property
    def _data(self) -> Any:
        """The part of the data that is on screen."""
        return self.bench.at(self.controls["subset"].value).data

    @in_turn
    def _set(self, values: Mapping[str, Any]) -> None:
        """Move controls without drawing in between, then draw once."""
        with self.paused():
            self.controls["subset"].value = values["subset"]
            self._follow_data()
            self.search.value = ""
            for key, value in values.items():
                control = self.controls[key]
                if key in ("lam", "mu") and value not in dict(control.options).values():
                    control.options = controls.stops(key, value)
                control.value = tuple(value) if key == "forget" else value
        self.update()

    def _follow_data(self) -> None:
        """Give the controls the classes and pictures of the data on screen."""
        data = self._data
        if tuple(self.controls["forget"].options) != tuple(data.classes):
            self.controls["forget"].options = data.classes
        self.category.options = [CATEGORY, *(g for g in dict.fromkeys(data.categories) if g)]
        seen = set(data.labels.tolist())
        self.picture_of.options = [PICTURE_OF, *(c for i, c in enumerate(data.classes) if i in seen)]
        self.random_k.max = len(data.classes) - 1
        image = self.controls["image"]
        image.value = min(image.value, len(data) - 1)
        image.max = len(data) - 1

    # --- controls -----------------------------------------------------------------------

    def _make_menus(self) -> None:
        """The controls that are no key of the state."""
        C, titles = len(self.bench.data.classes), [(PANELS[v].title, v) for v in VIEWS]
        self.preset = make(widgets.Dropdown, options=[CASES, *self.bench.presets])
        self.search = make(widgets.Text, placeholder="search a class; Ctrl-click adds one")
        self.category = make(widgets.Dropdown, options=[CATEGORY])
        self.random_k = make(widgets.BoundedIntText, 10, 1, C - 1, width="4.2em")
        self.draw_random = make(
            widgets.Button, description="random", width="6.6em",
            tooltip="Forget that many classes, drawn with the seed",
        )  # fmt: skip
        self.view = widgets.ToggleButtons(options=titles, style={"button_width": "8.4em"})
        self.beside = make(
            widgets.Dropdown, options=[(NOTHING, NOTHING), *titles], value=NOTHING,
            description="beside it", width="16em",
        )  # fmt: skip
        self.thumbnails = controls.check_box("thumbnails", False, "8em")
        self.picture_of = make(widgets.Dropdown, options=[PICTURE_OF], width="11em")
        self.file = make(
            widgets.FileUpload, accept="image/*", multiple=False, description="your picture", width="11em"
        )
        self.buttons = {
            name: make(widgets.Button, description=text, width="auto")
            for name, text in (
                ("code", "Python"), ("figure", "save figure"), ("model", "fold and save model"),
                ("reset", "reset"),
            )
        }  # fmt: skip

    def _connect(self) -> None:
        # choosing a picture of the data puts the uploaded one away; first, so that drawing sees it
        self.controls["image"].observe(lambda _: setattr(self, "_upload", None), names="value")
        for key, control in self.controls.items():
            control.observe(self._subset_chosen if key == "subset" else self.changed, names="value")
        for control in (self.view, self.beside, self.thumbnails):
            control.observe(self.changed, names="value")
        self.search.observe(self._searched, names="value")
        self._offer(self.category, self._choose)
        self._offer(self.preset, self.show)
        self._offer(self.picture_of, self._choose_picture)
        self.file.observe(self._uploaded, names="value")
        self.draw_random.on_click(lambda _: self._try(partial(self._choose, self.random_k.value)))
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

        self.numbers, self.message, self.hint = (text(name) for name in ("numbers", "message", "hint"))
        self.captions = [text("caption") for _ in range(2)]
        self.code = widgets.Textarea(rows=16, layout=widgets.Layout(width="98%", display="none"))
        self.code.add_class("clipnull-code")
        self.images = [image() for _ in range(2)]

    def _layout(self) -> widgets.Widget:
        c = self.controls
        left = widgets.VBox(
            [
                self.preset, self.search, c["forget"], self.category,
                row(self.random_k, self.draw_random, c["seed"]),
                c["method"], c["strength"], c["lam"], c["mu"], c["word"], c["erase_as"],
                row(c["templates"], c["synonyms"]), c["side"], c["subset"],
            ],
            layout=widgets.Layout(width="22.5em", flex="0 0 auto"),
        )  # fmt: skip
        self.slots = [
            widgets.VBox([image, caption], layout=widgets.Layout(max_width="100%"))
            for image, caption in zip(self.images, self.captions, strict=True)
        ]
        right = widgets.VBox(
            [
                self.numbers, self.message, self.hint, self.view, row(self.beside, self.thumbnails),
                row(c["image"], self.picture_of, self.file), row(*self.slots), row(*self.buttons.values()),
                self.code,
            ],
            layout=widgets.Layout(flex="1 1 0%", min_width="0"),
        )  # fmt: skip
        return widgets.HBox([left, right])

    # --- drawing ------------------------------------------------------------------------

    def update(self) -> None:
        """Compute the present state and redraw what is on screen; a state that cannot be says why."""
        self._try(self._update)

    def _update(self) -> None:
        state, visible = self.state, self.visible
        self._show_controls(state)
        result = self.bench.compute(state)
        if self._upload is not None:
            picture, z = self._upload
            result.single = result.top5(z)._replace(picture=picture)
        half = len(visible) > 1
        pictures = [views.png(key, result, half, self.thumbnails.value) for key in visible]
        self.result, self.numbers.value = result, accuracy_line(result)
        for k, slot in enumerate(self.slots):
            slot.layout.display = None if k < len(visible) else "none"
            if k < len(visible):
                self.images[k].value = pictures[k]
                self.captions[k].value = _caption(PANELS[visible[k]].sentence(result), half)
        if self.code.layout.display is None:
            self.code.value = self.python()
        self.error, self.message.value = None, ""

    @in_turn
    def figure(self, key: str | None = None) -> Any:
        """The figure of a view (default: the one on screen) for the last state that could be computed."""
        key = self.view.value if key is None else key
        return views.figure(key, self.result, thumbnails=self.thumbnails.value)

    def _show_controls(self, state: Mapping[str, Any]) -> None:
        c, single = self.controls, "single" in self.visible
        controls.show_dials(c, state["method"])
        controls.show({c["word"]: state["method"] == "word", self.thumbnails: "pca" in self.visible})
        controls.show(dict.fromkeys((c["image"], self.picture_of, self.file), single))

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
    def _searched(self, change: Any) -> None:
        words, chosen = change["new"].lower().split(), set(self.controls["forget"].value)
        classes = self._data.classes
        keep = [c for c in classes if c in chosen or all(w in c.lower() for w in words)]
        with self.paused():
            self.controls["forget"].options = keep
            self.controls["forget"].value = tuple(c for c in classes if c in chosen)

    def _choose(self, forget: Any) -> None:
        self._set(self.bench.check({**self.state, "forget": forget}))

    def _choose_picture(self, name: str) -> None:
        self._upload = None
        row = int(self._data.where(name)[0])
        if self.controls["image"].value == row:
            self.update()
        self.controls["image"].value = row

    @in_turn
    def show(self, case: str) -> None:
        """Take the state of a case of ``bench.presets`` and open the view that shows it."""
        preset = self.bench.presets[case]
        self.hint.value = f"<b>{html.escape(case)}.</b> <i>{html.escape(preset.hint)}</i>"
        with self.paused():
            self._upload = None
            self.view.value, self.beside.value = "numbers", preset.view
        self._set(preset.state)

    @in_turn
    def _subset_chosen(self, change: Any) -> None:
        if not self._paused:
            self._try(partial(self._take_subset, change["new"], change["old"]))

    def _take_subset(self, name: str, old: str) -> None:
        self.message.value = f"Reading the pictures of {html.escape(name or self.bench.data.name)} …"
        try:
            data = self.bench.at(name).data
        except Exception:
            with self.paused():
                self.controls["subset"].value = old
            raise
        state = self.state
        keep = [c for c in state["forget"] if c in data.classes][: len(data.classes) - 1]
        self._upload = None
        self._set({**state, "forget": keep or [data.classes[0]], "image": 0})

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
            with Image.open(io.BytesIO(content)) as picture:
                pixels = picture.width * picture.height
            if pixels > LARGEST_UPLOAD:
                raise ValueError(
                    f"it has {pixels / 1e6:.0f} million pixels, at most {LARGEST_UPLOAD / 1e6:.0f} are read"
                )
            whole = open_image(io.BytesIO(content))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            cause = error.__cause__ or error
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

    def _button_code(self) -> None:
        shown = self.code.layout.display is None
        self.code.value, self.code.layout.display = self.python(), "none" if shown else None

    def _button_figure(self) -> None:
        paths = [Path(f"clipnull-{key}.png") for key in self.visible]
        for key, path in zip(self.visible, paths, strict=True):
            self.figure(key).savefig(path, dpi=150)
        self.message.value = f"Saved {' and '.join(path.name for path in paths)}."

    def _button_model(self) -> None:
        self.message.value = f"Saved the edited model in {html.escape(self.save_model().name)}/."

    @in_turn
    def save_model(self, path: str | Path = "unlearned") -> Path:
        """Fold the last edit into the model and save it with its receipt; the model here stays.

        The image side and the text side are folded as chosen.
        """
        result, clip = self.result, self.bench.clip
        with folded(clip, result.edit, side=result.state["side"]):
            return clip.save(path, report=result.report)

    def _button_reset(self) -> None:
        self.hint.value, self._upload = "", None
        self.code.layout.display = "none"
        with self.paused():
            self.view.value, self.beside.value, self.thumbnails.value = "numbers", NOTHING, False
        self._set(self.bench.check(self._first()))


def _caption(text: str, half: bool) -> str:
    style = "line-height:1.35; box-sizing:border-box; padding:0 8px; color:#505050"
    return f'<div style="{style}; max-width:{HALF if half else WIDE}px">{html.escape(text)}</div>'


def accuracy_line(result: LabResult) -> str:
    """What stands above every view, as HTML: accuracies, rank, and what the forgotten pictures became."""
    r, case = result.report, result.case
    went = ", ".join(f"{n} ({k})" for n, k in r.destinations(3)) or "nothing, for there are none"
    cells = "".join(
        f"<td style='padding:0 1em 0 0'>{label} {percent(before)} → <b>{percent(after)}</b></td>"
        for label, before, after in (
            ("forget", r.forget_before, r.forget_after), ("retain", r.retain_before, r.retain_after),
        )
    )  # fmt: skip
    return (
        f"<div style='line-height:1.5'><table><tr>{cells}<td>rank {result.edit.rank}</td></tr></table>"
        f"forgetting {html.escape(few(case.forget_names))}; "
        f"{'their' if len(case.forget) > 1 else 'its'} pictures are now called {html.escape(went)}</div>"
    )
