"""The forget/retain lab: controls over `clipnull.lab.Bench`, views from `clipnull.lab_views`."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from PIL import Image

from clipnull import datasets, models, plots, surgery
from clipnull.lab import CONSISTENT, DEFAULT_STATE, METHODS, SIDES, VIEWS, Bench, LabResult, code_for
from clipnull.lab_views import VIEW_CLASSES, View, percent

__all__ = ["ForgetRetainLab", "show_panel"]

DPI = 90
#: pixels; a larger upload is refused rather than decoded
LARGEST_UPLOAD = 50_000_000
NOTHING = "(one view)"
CASES = "a case to look at …"


class ForgetRetainLab(widgets.VBox):
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
        Plain values; assigning a dict moves the controls. `compute` of it is what the views draw.
    result : LabResult
        Of the last state that could be computed.
    error : Exception or None
        Why the present state cannot be; also on screen.
    controls : dict
        The ipywidgets behind the keys of ``state``.
    """

    def __init__(self, clip: Any = None, data: Any = None, state: Mapping[str, Any] | None = None) -> None:
        clip = models.load() if clip is None else clip
        data = datasets.load(size=clip.image_size) if data is None else data
        self.bench = Bench(clip, data)
        self._benches: dict[str, Bench] = {}
        self.error: Exception | None = None
        self.result: LabResult
        self._views: dict[str, View] = {}
        self._upload: Image.Image | None = None
        self._paused = False
        self._make_controls()
        self._make_outputs()
        super().__init__([self._layout()])
        first = {**DEFAULT_STATE, **(state or {})}
        if not state and DEFAULT_STATE["forget"][0] not in data.classes:
            first["forget"] = [data.classes[0]]
        self.state = first

    # --- state --------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """What the controls say, as plain values."""
        values = {key: control.value for key, control in self.controls.items()}
        values["forget"] = list(values["forget"])
        return values

    @state.setter
    def state(self, new: Mapping[str, Any]) -> None:
        checked = self.bench.check(new)
        self._set(checked)

    def compute(self, state: Mapping[str, Any], views: Iterable[str] = VIEWS) -> LabResult:
        """What every view draws for ``state``; pure, see `clipnull.lab.Bench.compute`."""
        return self.bench.compute(state, views)

    @property
    def visible(self) -> list[str]:
        """Keys of the views on screen."""
        return list(dict.fromkeys(v for v in (self.view.value, self.beside.value) if v != NOTHING))

    def _set(self, values: Mapping[str, Any]) -> None:
        """Move controls without drawing in between, then draw once."""
        self._paused = True
        try:
            self.search.value = ""
            for key, value in values.items():
                control = self.controls[key]
                control.value = tuple(value) if key == "forget" else value
        finally:
            self._paused = False
        self.update()

    # --- controls -----------------------------------------------------------------------

    def _make_controls(self) -> None:
        classes, wide = self.bench.data.classes, widgets.Layout(width="19em")
        short = {"description_width": "5.5em"}
        log = dict(base=10, min=-2, max=4, step=0.25, readout_format=".3g", continuous_update=True)
        c: dict[str, Any] = {
            "forget": widgets.SelectMultiple(options=classes, rows=7, layout=wide),
            "method": widgets.Dropdown(options=[(v, k) for k, v in METHODS.items()], layout=wide),
            "strength": widgets.FloatSlider(1.0, min=0, max=1, step=0.05, description="α", layout=wide),
            "lam": widgets.FloatLogSlider(DEFAULT_STATE["lam"], description="λ", layout=wide, **log),
            "mu": widgets.FloatLogSlider(DEFAULT_STATE["mu"], description="μ", layout=wide, **log),
            "components": widgets.IntSlider(3, 0, 30, description="p", layout=wide),
            "word": widgets.Text("an animal", description="anchor", layout=wide, continuous_update=False),
            "erase_as": widgets.Text(
                "",
                description="erase as",
                placeholder="the class names",
                layout=wide,
                continuous_update=False,
            ),
            "templates": widgets.Checkbox(True, description="prompt templates", indent=False),
            "synonyms": widgets.Checkbox(False, description="keywords too", indent=False),
            "side": widgets.ToggleButtons(options=list(SIDES), style={"button_width": "4.6em"}),
            "seed": widgets.BoundedIntText(
                0, 0, 10**6, description="seed", layout=widgets.Layout(width="10em")
            ),
            "image": widgets.IntSlider(0, 0, len(self.bench.data) - 1, description="picture", layout=wide),
        }
        for key in ("strength", "lam", "mu", "components", "word", "erase_as", "image"):
            c[key].style = short
        self.controls = c
        self.search = widgets.Text(placeholder="search a class", layout=wide)
        self.category = widgets.Dropdown(options=self._categories(), layout=widgets.Layout(width="11em"))
        self.random_k = widgets.BoundedIntText(10, 1, len(classes) - 1, layout=widgets.Layout(width="4.5em"))
        self.draw_random = widgets.Button(description="random", layout=widgets.Layout(width="6em"))
        self.preset = widgets.Dropdown(options=[CASES, *self.bench.presets], layout=wide)
        self.subset = widgets.Dropdown(options=self._subsets(), layout=wide)
        self.view = widgets.ToggleButtons(
            options=[(VIEW_CLASSES[v].title, v) for v in VIEWS], style={"button_width": "7.2em"}
        )
        self.beside = widgets.Dropdown(
            options=[(NOTHING, NOTHING), *((VIEW_CLASSES[v].title, v) for v in VIEWS)],
            value=NOTHING,
            description="beside",
        )
        self.thumbnails = widgets.Checkbox(False, description="thumbnails", indent=False)
        self.file = widgets.FileUpload(accept="image/*", multiple=False, description="your picture")
        self.buttons = {
            name: widgets.Button(description=text, layout=widgets.Layout(width="auto"))
            for name, text in (
                ("code", "Python"),
                ("figure", "save figure"),
                ("model", "fold and save model"),
                ("reset", "reset"),
            )
        }
        self._connect()

    def _categories(self) -> list[str]:
        return ["category …", *(g for g in dict.fromkeys(self.bench.data.categories) if g)]

    def _subsets(self) -> list[str]:
        name = self.bench.data.name
        return (
            ["classroom", *dict.fromkeys(c["category"] for c in datasets.class_table())]
            if name == "twemoji"
            else [name]
        )

    def _connect(self) -> None:
        # choosing a picture of the data puts the uploaded one away; first, so that drawing sees it
        self.controls["image"].observe(lambda _: setattr(self, "_upload", None), names="value")
        for control in self.controls.values():
            control.observe(self._changed, names="value")
        for control in (self.view, self.beside, self.thumbnails):
            control.observe(self._changed, names="value")
        self.search.observe(self._searched, names="value")
        self.category.observe(self._category_chosen, names="value")
        self.preset.observe(self._preset_chosen, names="value")
        self.subset.observe(self._subset_chosen, names="value")
        self.file.observe(self._uploaded, names="value")
        self.draw_random.on_click(lambda _: self._try(self._random))
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self._try(getattr(self, f"_button_{name}")))

    def _make_outputs(self) -> None:
        self.numbers = widgets.HTML()
        self.numbers.add_class("clipnull-numbers")
        self.message = widgets.HTML()
        self.message.add_class("clipnull-message")
        self.hint = widgets.HTML()
        self.code = widgets.Textarea(rows=16, layout=widgets.Layout(width="100%", display="none"))
        self.images = [widgets.Image(format="png", layout=widgets.Layout(max_width="100%")) for _ in range(2)]

    def _layout(self) -> widgets.Widget:
        c, row = self.controls, lambda *w: widgets.HBox(list(w), layout=widgets.Layout(flex_flow="row wrap"))
        left = widgets.VBox(
            [
                self.preset, self.search, c["forget"], row(self.category, self.random_k, self.draw_random),
                c["method"], c["strength"], c["lam"], c["mu"], c["components"], c["word"], c["erase_as"],
                row(c["templates"], c["synonyms"]), c["side"], c["seed"], self.subset,
            ],
            layout=widgets.Layout(width="20.5em", flex="0 0 auto"),
        )  # fmt: skip
        right = widgets.VBox(
            [
                self.numbers, self.message, self.hint, self.view, row(self.beside, self.thumbnails),
                row(c["image"], self.file), row(*self.images), row(*self.buttons.values()), self.code,
            ],
            layout=widgets.Layout(flex="1 1 0%", min_width="0"),
        )  # fmt: skip
        return widgets.HBox([left, right])

    # --- drawing ------------------------------------------------------------------------

    def _changed(self, change: Any = None) -> None:
        if not self._paused:
            self.update()

    def update(self) -> None:
        """Compute the present state and redraw what is on screen; a state that cannot be says why."""
        self._try(self._update)

    def _update(self) -> None:
        state = self.state
        self._show_controls(state)
        self.result = self.bench.compute(state, self.visible)
        if self._upload is not None and "single" in self.visible:
            after = self.bench.upload(self._upload, self.result)
            self.result.single = {"row": None, "true": "", "picture": self._upload, **after}
        self.numbers.value = _numbers(self.result)
        for image, key in zip(self.images, [*self.visible, None], strict=False):
            image.layout.display = "none" if key is None else None
            if key is not None:
                image.value = self._png(key)

    def _png(self, key: str) -> bytes:
        if key not in self._views:
            self._views[key] = VIEW_CLASSES[key](self.bench)
        view = self._views[key]
        view.thumbnails = self.thumbnails.value  # type: ignore[attr-defined]
        view.draw(self.result)
        buffer = io.BytesIO()
        view.fig.savefig(buffer, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
        return buffer.getvalue()

    def figure(self, key: str | None = None) -> Any:
        """The figure of a view (default: the one on screen) for the present state."""
        key = self.view.value if key is None else key
        if key not in self.visible:
            self.result = self.bench.compute(self.state, [*self.visible, key])
        self._png(key)
        return self._views[key].fig

    def _show_controls(self, state: Mapping[str, Any]) -> None:
        method = state["method"]
        shown = {
            "strength": method in ("partial", "random"),
            "lam": method in CONSISTENT,
            "mu": method in CONSISTENT,
            "components": method == "coarse",
            "word": method == "word",
            "image": "single" in self.visible,
        }
        for key, show in shown.items():
            self.controls[key].layout.display = None if show else "none"
        self.file.layout.display = None if shown["image"] else "none"
        self.thumbnails.layout.display = None if "pca" in self.visible else "none"

    def _try(self, action: Any) -> None:
        """Run an action; bad input becomes a sentence on screen, a fault is shown and raised."""
        try:
            action()
        except ValueError as problem:
            self.error = problem
            self.message.value = _sentence(str(problem))
        except Exception as problem:
            self.error = problem
            self.message.value = _sentence(f"{type(problem).__name__}: {problem}")
            raise
        else:
            if action == self._update:
                self.error, self.message.value = None, ""

    # --- what the other controls do -----------------------------------------------------

    def _searched(self, change: Any) -> None:
        words, chosen = change["new"].lower().split(), set(self.controls["forget"].value)
        classes = self.bench.data.classes
        keep = [c for c in classes if c in chosen or all(w in c.lower() for w in words)]
        paused, self._paused = self._paused, True
        try:
            self.controls["forget"].options = keep
            self.controls["forget"].value = tuple(c for c in classes if c in chosen)
        finally:
            self._paused = paused

    def _choose(self, forget: Any) -> None:
        self._set({**self.state, "forget": self.bench.check({**self.state, "forget": forget})["forget"]})

    def _category_chosen(self, change: Any) -> None:
        if change["new"] in self.bench.data.categories:
            self._try(lambda: self._choose(change["new"]))

    def _random(self) -> None:
        self._choose(int(self.random_k.value))

    def _preset_chosen(self, change: Any) -> None:
        if change["new"] in self.bench.presets:
            hint, state = self.bench.presets[change["new"]]
            self.hint.value = f"<i>{html.escape(hint)}</i>"
            self._set(state)

    def _subset_chosen(self, change: Any) -> None:
        self._try(lambda: self._load_subset(change["new"]))

    def _load_subset(self, name: str) -> None:
        if name not in self._benches:
            size = self.bench.clip.image_size
            data = datasets.load("twemoji", subset=name, size=size)
            self._benches[name] = Bench(self.bench.clip, data)
        self.bench, self._views = self._benches[name], {}
        classes, state = self.bench.data.classes, self.state
        keep = [c for c in state["forget"] if c in classes] or [classes[0]]
        self._paused = True
        try:
            self.controls["forget"].options = classes
            self.category.options = self._categories()
            self.preset.options = [CASES, *self.bench.presets]
            self.controls["image"].value = 0
            self.controls["image"].max = len(self.bench.data) - 1
            self.random_k.max = len(classes) - 1
        finally:
            self._paused = False
        self._set({**state, "forget": keep, "image": 0})

    def _uploaded(self, change: Any) -> None:
        self._try(lambda: self._read_upload(change["new"]))

    def _read_upload(self, value: Any) -> None:
        # ipywidgets 7: {name: {"content": bytes}}; 8: ({"content": memoryview, ...},)
        files = list(value.values()) if isinstance(value, dict) else list(value)
        if not files:
            self._upload = None
            self.update()
            return
        try:
            picture: Image.Image = Image.open(io.BytesIO(bytes(files[-1]["content"])))
            pixels = picture.width * picture.height
            if pixels > LARGEST_UPLOAD:
                raise ValueError(
                    f"{pixels / 1e6:.0f} million pixels, want at most {LARGEST_UPLOAD / 1e6:.0f}"
                )
            picture = picture.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"picture: cannot be read ({error}), want a PNG or JPEG") from error
        self._upload = picture
        self.update()

    # --- out ----------------------------------------------------------------------------

    def python(self) -> str:
        """The equivalent Python; runs as it is."""
        data, default = self.bench.data, "cn.datasets.load(size=clip.image_size)"
        twemoji = f'cn.datasets.load("twemoji", subset={self.subset.value!r}, size=clip.image_size)'
        return code_for(self.bench.check(self.state), twemoji if data.name == "twemoji" else default)

    def _button_code(self) -> None:
        self.code.value, self.code.layout.display = self.python(), None

    def _button_figure(self) -> None:
        path = Path(f"clipnull-{self.view.value}.png")
        self.figure().savefig(path, dpi=150)
        self.message.value = f"Saved the figure as {html.escape(path.name)}."

    def _button_model(self) -> None:
        self.message.value = f"Saved the edited model in {html.escape(self.save_model().name)}/."

    def save_model(self, path: str | Path = "unlearned") -> Path:
        """Fold the present edit into the model and save it with its receipt; the model here stays.

        The image side and the text side are folded as chosen.
        """
        result, clip = self.result, self.bench.clip
        with surgery.folded(clip, result.edit, side=result.state["side"]):
            return clip.save(path, report=result.report)

    def _button_reset(self) -> None:
        self.preset.value, self.hint.value, self._upload = CASES, "", None
        first = {**DEFAULT_STATE}
        if not set(first["forget"]) <= set(self.bench.data.classes):
            first["forget"] = [self.bench.data.classes[0]]
        self._set(self.bench.check(first))
        self.code.layout.display = "none"


def _sentence(text: str) -> str:
    return f'<span style="color:#b00020">{html.escape(text)}. The last result stays.</span>'


def _numbers(result: LabResult) -> str:
    r = result.report
    names = ", ".join(r.forget_names[:4]) + (f" and {len(r.forget) - 4} more" if len(r.forget) > 4 else "")
    went = ", ".join(f"{n} ({k})" for n, k in r.destinations(3))
    cells = "".join(
        f"<td style='padding:0 1em 0 0'>{label} {percent(before)} → <b>{percent(after)}</b></td>"
        for label, before, after in (
            ("forget", r.forget_before, r.forget_after),
            ("retain", r.retain_before, r.retain_after),
        )
    )
    return (
        f"<table><tr>{cells}<td>rank {result.edit.rank}</td></tr></table>"
        f"<div>forgetting {html.escape(names)}; its pictures are now called {html.escape(went)}</div>"
    )


def show_panel(bench: Bench, case: str, view: str) -> None:
    """One case of the lab without widgets: its figure, and a printed sentence with the numbers.

    Parameters
    ----------
    bench : Bench
    case : str
        A name in ``bench.presets``.
    view : str
        A name in `clipnull.lab.VIEWS`.
    """
    hint, state = bench.presets[case]
    result = bench.compute(state, [view])
    drawn = VIEW_CLASSES[view](bench)
    drawn.draw(result)
    r = result.report
    went = ", ".join(f"{n} ({k})" for n, k in r.destinations(3))
    print(f"{case}. {hint}")
    print(
        f"forget {percent(r.forget_before)} → {percent(r.forget_after)}, "
        f"retain {percent(r.retain_before)} → {percent(r.retain_after)}, rank {result.edit.rank}; "
        f"forgotten pictures became: {went}"
    )
    plots.show(drawn.fig, alt=f"{case}, {drawn.title}: {drawn.heading.get_text()}")
