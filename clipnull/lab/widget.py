"""The forget/retain lab: controls around the bench and its views, and the Python that does the same."""

import html
import inspect
import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pprint import pformat
from typing import Any

import ipywidgets as widgets
import torch
from PIL import Image

from clipnull import _check
from clipnull._show import few, percent
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.pictures import LARGEST, LabelledImages, open_image
from clipnull.datasets.registry import load as load_data
from clipnull.erasers import METHODS
from clipnull.lab import views
from clipnull.lab.base import Live, image, in_turn, make, png, row, show
from clipnull.lab.bench import Bench, LabResult
from clipnull.lab.state import CURVES, EVERY, EXAMPLES, PARTS, SIGNS, STOPS, TITLES, Example, dials
from clipnull.model.clip import Clip
from clipnull.model.fold import folded_edits
from clipnull.model.loading import load as load_clip

__all__ = ["ForgetRetainLab", "equivalent_python"]

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
TOLD_SAID = f"The prompt under which the eraser reads the names{PROMPTS_SAID}\n{EVERY}: all of them"
ASKED_SAID = f"The prompt of the names that pictures are compared with{PROMPTS_SAID}"


class ForgetRetainLab(Live):
    """Choose what to forget and how; see what it does to accuracy, geometry and pictures.

    By default with `clipnull.load()` and `clipnull.datasets.load`; embeddings need no model. ``state`` is a
    dict of changes to `clipnull.lab.DEFAULT_STATE`; read, it is whole and of plain values; assigned, it moves
    the ``controls`` behind its keys. ``result`` is of the last state that could be computed.
    """

    instead = ". The last result stays."

    @_check.by_name
    def __init__(
        self, clip: Clip | None = None, data: LabelledImages | Embeddings | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(data, Embeddings):
            clip = load_clip() if clip is None else clip
            data = load_data(size=clip.image_size) if data is None else data
        self.bench = Bench(clip, data)
        self.case = ""
        self.result: LabResult
        self._upload: tuple[Image.Image, torch.Tensor] | None = None
        self.controls = of_state(self.bench)
        self._make_menus()
        super().__init__([self._layout()])
        self.state = state or {}

    @property
    def state(self) -> dict[str, Any]:
        values = {key: control.value for key, control in self.controls.items()}
        values |= {key: None for key in CURVES if key not in dials(values["method"])}
        whole = values["dimensions"] == self.controls["dimensions"].max
        return values | {"forget": list(values["forget"])} | ({"dimensions": None} if whole else {})

    @state.setter
    @in_turn
    def state(self, new: Mapping[str, Any]) -> None:
        """Move controls without drawing in between, then draw once."""
        values = self.bench.check(new)
        whole = self.controls["dimensions"].max
        with self.paused():
            turn(self.controls, values)
            values |= {"forget": tuple(values["forget"]), "dimensions": values["dimensions"] or whole}
            for key in values.keys() - CURVES.keys():
                self.controls[key].value = values[key]
        self.update()

    def _make_menus(self) -> None:
        """The controls that are no key of the state."""
        bench, seen = self.bench, set(self.bench.labels.tolist())
        categories = ["whole category …", *filter(None, dict.fromkeys(bench.categories))]
        self.category = self._menu(categories, self._choose, help="a category to forget")
        pictured = ["picture of …", *(c for i, c in enumerate(bench.data.classes) if i in seen)]
        self.picture_of = self._menu(pictured, self._choose_picture, width="11em", help="the first of a kind")
        titles, questions, _ = zip(*views.VIEWS.values(), strict=True)
        look = {"tooltips": questions, "style": {"button_width": "auto"}}
        self.view = widgets.ToggleButtons(options=list(zip(titles, views.VIEWS, strict=True)), **look)
        upload = dict(accept="image/*", description="your picture")
        self.file = make(widgets.FileUpload, width="11em", help="a picture file of yours", **upload)
        self.file.observe(self._uploaded, names="value")
        press, again = self._button, "The next classes of the case, or as many others."
        self.cases = {k: press(k, partial(self.show, k), case.question) for k, case in EXAMPLES.items()}
        self.buttons = {
            "again": press("draw the classes again", self._again, again),
            "code": press("Python", self._show_code, "Show or hide code that does the same without the lab."),
            "reset": press("reset", partial(self.show, ""), "Back to the first state."),
        }
        # choosing a picture of the data puts the uploaded one away; first, so that drawing sees it
        self.controls["image"].observe(lambda _: setattr(self, "_upload", None), names="value")
        # a method starts at its own hyperparameters
        self.controls["method"].observe(self._method_chosen, names="value")
        for control in (*self.controls.values(), self.view):
            control.observe(self.changed, names="value")

    def _menu(self, options: list[str], action: Callable[[str], None], **look: Any) -> widgets.Dropdown:
        """A menu of an action; it lets go of what was chosen, so that it can be chosen again."""
        menu = make(widgets.Dropdown, options=options, **look)

        def chosen(change: Any) -> None:
            if menu.index:
                self.attempt(partial(action, menu.value))
                menu.index = 0

        menu.observe(chosen, names="value")
        return menu

    def _button(self, text: str, action: Callable[[], None], help: str) -> widgets.Button:
        button = make(widgets.Button, description=text, width="auto", help=help)
        button.on_click(lambda _: self.attempt(action))
        return button

    def _layout(self) -> widgets.Widget:
        self.code = widgets.Textarea(rows=16, layout=widgets.Layout(width="98%", display="none"))
        self.numbers, self.message, self.hint, self.caption = (widgets.HTML() for _ in range(4))
        for name in ("numbers", "message", "hint", "caption", "code"):
            getattr(self, name).add_class(f"clipnull-{name}")
        self.image = image()
        c, buttons = self.controls, (*self.cases.values(), *self.buttons.values())
        keys = (*CURVES, "side", "told", "asked", "listed", "dimensions", "seed")
        left = widgets.VBox(
            [c["forget"], self.category, c["method"], *(c[key] for key in keys)],
            layout=widgets.Layout(width="22.5em", flex="0 0 auto"),
        )
        right = widgets.VBox(
            [self.numbers, self.message, self.hint, self.view, row(c["image"], self.picture_of, self.file),
             self.image, self.caption, self.code],
            layout=widgets.Layout(flex="1 1 0%", min_width="0"),
        )  # fmt: skip
        show(len(self.category.options) > 1, self.category)
        return widgets.VBox([row(*buttons), widgets.HBox([left, right])])

    def draw(self) -> None:
        """Compute the present state and redraw what is on screen."""
        key, (title, *_) = self.view.value, views.VIEWS[self.view.value]
        show(key == "single", self.controls["image"], self.picture_of)
        show(key == "single" and self.bench.clip is not None, self.file)
        result = self.bench.compute(self.state)
        if self._upload is not None:
            result.single = result.top5(self._upload[1])._replace(picture=self._upload[0])
        fig, sentence = views.drawn(key, result)
        if result.state["mu"] == "auto":  # its stop says what was chosen; there is room for no more
            mu, slider = float(f"{result.edit.info['mu']:.3g}"), self.controls["mu"]
            said = f"{mu:g}".replace("10000", "10⁴")
            with self.paused():
                slider.options = [(f"auto: {said}", "auto"), *slider.options[1:]]  # the first is chosen then
        self.image.value = png(fig, views.DPI)
        self.result, self.numbers.value = result, accuracy_line(result)
        style = "line-height:1.35; box-sizing:border-box; padding:0 8px; "
        style += f"color:var(--jp-ui-font-color2, inherit); max-width:{views.WIDE}px"
        self.caption.value = f'<div style="{style}">{html.escape(sentence)}</div>'
        self.alt.value = html.escape(f"{title}. {sentence}")
        if self.code.layout.display is None:
            self.code.value = self.python()

    @in_turn
    def _method_chosen(self, change: Any) -> None:
        if not self._paused:
            with self.paused():
                turn(self.controls, self.bench.check({"method": change["new"]}))

    def _choose(self, forget: Any, **more: Any) -> None:
        self.state = {**self.state, "forget": forget, "image": None, **more}

    def _choose_picture(self, name: str) -> None:
        with self.paused():
            self._upload, self.controls["image"].value = None, self.bench.where(name)[0]
        self.update()

    @in_turn
    def show(self, case: str) -> None:
        """Take the state of one of `EXAMPLES` and open the view that shows it; "" is the first state."""
        example = EXAMPLES.get(case, Example("", 0, {}, "numbers"))
        state = self.bench.example(case) if case else {}
        self.hint.value = case and f"<b>{case}.</b> <i>{example.question}</i>"
        show(bool(case) and self.code.layout.display is None, self.code)
        with self.paused():
            self.case, self._upload, self.view.value = case, None, example.view
        self.state = state

    def _again(self) -> None:
        """Other classes: of the case's kind, else as many at random. All else stays."""
        seed, kind = self.state["seed"] + 1, len(self.state["forget"])
        self._choose(self.bench.drawn(EXAMPLES[self.case].draws if self.case else kind, seed), seed=seed)

    def _uploaded(self, change: Any) -> None:
        if value := change["new"]:
            # ipywidgets 7: {name: {"content": bytes}}; 8: ({"content": memoryview, ...},)
            *_, file = value.values() if isinstance(value, dict) else value
            self.attempt(partial(self._read, bytes(file["content"])))
            self.file.set_trait("value", type(value)())  # so that the same file can be chosen again

    def _read(self, content: bytes) -> None:
        try:
            whole = open_image(io.BytesIO(content))
        except ValueError as error:
            most = f"{LARGEST // 10**6} million pixels"
            raise ValueError(f"picture: cannot be read, want a PNG or JPEG of at most {most}") from error
        z = self.bench.embed_picture(whole)
        whole.thumbnail((2 * views.PICTURE, 2 * views.PICTURE))
        self._upload = whole, z
        self.update()

    def python(self) -> str:
        """The Python that does the same, see `clipnull.lab.equivalent_python`."""
        return equivalent_python(self.bench, self.result.state)

    def save(self, path: str | Path) -> None:
        """Write `python` to a new file; a ValueError where there is one."""
        if Path(path).exists():
            raise ValueError(f"path: got {str(path)!r}, which exists, want a new file")
        Path(path).write_text(self.python(), encoding="utf-8")

    def _show_code(self) -> None:
        self.code.value = self.python()
        show(self.code.layout.display is not None, self.code)


def stops(key: str, value: Any = "auto") -> list[tuple[str, Any]]:
    """Where λ's or μ's slider stops; as many for every method, for the browser follows no new length."""
    auto = [("auto", "auto")] if key == "mu" else []
    numbers = sorted({*STOPS, 0.0 if auto else math.inf, *({value} - {"auto"})})
    return [*auto, *((f"{x:g}".replace("inf", "∞"), x) for x in numbers)]


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
    look = {k: {"description": sign, "help": help} for k, (sign, help) in SIGNS.items()}
    menu, told = partial(make, widgets.Dropdown), [*asked, (EVERY, EVERY)]
    return {
        "forget": make(widgets.SelectMultiple, options=bench.data.classes, rows=7, help="names to forget"),
        "method": menu(options=[(t, m) for m, t in TITLES.items()], description="method", help=METHODS_SAID),
        **{k: make(widgets.FloatSlider, 1.0, min=0, max=1, step=0.01, **look[k]) for k in PARTS},
        **{k: make(widgets.SelectionSlider, options=stops(k), **look[k]) for k in ("lam", "mu")},
        "side": menu(options=[(v, k) for k, v in SIDES.items()], description="edit", help=SIDES_SAID),
        "told": menu(options=told, description="told", help=TOLD_SAID),
        "asked": menu(options=asked, description="asked", help=ASKED_SAID),
        "listed": make(widgets.FloatSlider, 1.0, min=0, max=1, step=0.05, description="listed",
                       help="share of the kept names that the eraser is told of"),
        "dimensions": make(widgets.IntSlider, d, min(2, d), d, description="dims",
                           help="dimensions of the space: the main ones of its names"),
        "seed": make(widgets.BoundedIntText, 0, 0, 2**31 - 1, description="seed",
                     help="of what is drawn: classes, listed names, the random subspace"),
        "image": make(widgets.IntSlider, 0, 0, len(bench.Z) - 1, description="picture",
                      help="which picture of the table"),
    }  # fmt: skip


def accuracy_line(result: LabResult) -> str:
    """What stands above every view, as HTML: the measures, and what the forgotten pictures became."""
    case, edit, went = result.case, result.edit, html.escape(result.report.became())
    cells = "".join(
        f"<span style='white-space:nowrap; margin-right:1em'>{name} {percent(m.before)} → "
        f"<b>{percent(m.after)}</b></span> "
        for name, m in views.measures(result.report).items()
    )
    lead = "in <i>Mathematics</i>"
    if len(case.forget) * len(case.retain) <= 2000:  # of more pairs of names it takes seconds
        lead = f"<b>{float(result.certificate.max()):.2f}</b>"
    return (
        f"<div style='line-height:1.5'>{cells}"
        f"<span style='white-space:nowrap'>certificate {lead} &nbsp; rank {edit.rank}</span><br>"
        f"forgetting {html.escape(few(case.forget_names))}; "
        f"{'their' if len(case.forget) > 1 else 'its'} pictures are now called {went}</div>"
    )


@_check.by_name
def equivalent_python(bench: Bench, state: Mapping[str, Any]) -> str:
    """The Python that does what a state does, up to its ``report``, but for what was made by hand."""
    state, shipped = bench.check(state), isinstance(bench.data, Embeddings)
    size = state["dimensions"]

    main: Callable[[str], str] = str if size is None else "main({})".format

    def names(prompt: str) -> str:
        if shipped:
            return f"data.prompts[{_literal(prompt)}]" if prompt else "data.T"
        templates = _literal([prompt]) if prompt else "data.templates"
        return f"clip.embed_text(data.classes, templates={templates})"

    own, *others = bench.prompts if state["told"] == EVERY else [state["told"]]
    lines = ["import torch", "import clipnull as cn", "", *_loads(bench)]
    if size is not None:
        lines += [
            f"V = torch.linalg.svd({names('')}, full_matrices=False).Vh[:{size}].T",
            "", "", "def main(X):", "    return torch.nn.functional.normalize(X @ V, dim=1)", "", "",
        ]  # fmt: skip
    if others:
        each = main("data.prompts[p]" if shipped else "clip.embed_text(data.classes, templates=[p])")
        lines += [f"others = {_literal(others)}", f"prompts = torch.stack([{each} for p in others])"]
    given = ["told.T_f", "told.T_r", *(f"{k}={_literal(state[k])}" for k in dials(state["method"]))]
    if state["method"] == "random":
        given.append(f"seed={state['seed']}")
    return "\n".join([
        *lines,
        f"forget = {_literal(state['forget'])}",
        f"listed = {_literal(bench.listed(state))}",
        f"T = {main(names(own))}",
        f"told = cn.Case(None, T, None, forget, data.classes, listed{', prompts' if others else ''})",
        f"edit = cn.METHODS[{_literal(state['method'])}].make({', '.join(given)})",
        f"Z = {main('data.Z' if shipped else 'clip.embed_images(data.images)')}",
        f"T = {main(names(state['asked']))}",
        "case = cn.Case(Z, T, data.labels, forget, data.classes, listed)",
        f"report = case.evaluate(edit, side={_literal(state['side'])})",
        "print(report)",
        "",
    ])  # fmt: skip


def _loads(bench: Bench) -> list[str]:
    """The statements that make ``clip`` and ``data``."""
    clip, data = bench.clip, bench.data
    if isinstance(data, Embeddings):
        if data.loaded_with is None:
            return ["# data: the embeddings that you gave to the lab; no call of the package makes them"]
        return [f"data = cn.datasets.embeddings({', '.join(map(_literal, data.loaded_with))})"]
    lines = ["# clip: the model that you gave to the lab; no call of cn.load makes it"]
    if clip is not None and clip.loaded_with is not None and not folded_edits(clip):
        lines = [f"clip = cn.load({_arguments(load_clip, clip.loaded_with)})"]
    if data.loaded_with is None:
        return [*lines, "# data: the images that you gave to the lab; no call of cn.datasets.load makes them"]
    lines.append(f"data = cn.datasets.load({_arguments(load_data, data.loaded_with)})")
    return lines if data.picked is None else [*lines, f"data = data.subset({_literal(data.picked)})"]


def _arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """A call's arguments as Python, those left at their default omitted; the first by position."""
    default = {k: p.default for k, p in inspect.signature(function).parameters.items()}
    (_, first), *rest = given.items()
    named = [f"{k}={_literal(v)}" for k, v in rest if k not in default or v != default[k]]
    return ", ".join([_literal(first), *named])


def _literal(x: Any) -> str:
    """A plain value as Python source, long lists broken into lines; infinity as `float` reads it."""
    if x == float("inf"):
        return "float('inf')"
    return pformat(str(x) if isinstance(x, (Path, torch.device)) else x, width=100, compact=True)
