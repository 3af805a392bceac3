"""Names draw as themselves in every figure: mathematics in them, their length and their letters change nothing."""

from __future__ import annotations

import io
import math
import unicodedata
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from clipnull import plots
from clipnull.auditing.confidence import Bins
from clipnull.auditing.words import Word
from clipnull.lab import Film
from clipnull.plots.base import DPI, short
from clipnull.protocol.published import BeforeRow
from clipnull.protocol.result import SummaryRow
from clipnull.report import Change, NWay

PICTURE = Image.new("RGB", (16, 16), "orange")
SCORES = np.array([0.6, 0.3, 0.1])
Z = np.array([[9.0, 1.0, 0.2], [-7.0, 2.5, -0.4], [1.5, -4.0, 0.6]])


def report(after, search):
    accuracies = dict(forget_before=1.0, forget_after=after, retain_before=0.8, retain_after=0.7)
    ways = {n: NWay(k, 1 / k, 0.9, after) for n, k in ((2, 2), ("all", 9))}
    return SimpleNamespace(**accuracies, n_way=ways, search=Change(0.9, search))


def measurement(name):
    return SimpleNamespace(
        name=name, before=0.9, after=0.2, control=0.5, spread=0.1, against=name, unit="%", values=(0.4, 0.5),
        cells=lambda: [name, "0.9", "0.2", "0.5"],
    )  # fmt: skip


def fingerprint(names):
    found = SimpleNamespace(
        rank=1, singular_values=torch.tensor([7.0, 3e-6, 1e-6]), noise=4e-6, names=names,
        scores=torch.tensor(SCORES), ranking=lambda: names,
    )  # fmt: skip
    return plots.fingerprint(found, names[:1], title="Read off the weights")


def layer_probe(names):
    probes = [SimpleNamespace(layer=n, before=0.9, after=0.8, control=0.1, identical=True) for n in names]
    return plots.layer_probe(probes, (0.9, 0.1))


def words(names):
    row = SimpleNamespace(
        words=[Word(n, i, 0.9, 0.5, 0.1, False) for i, n in enumerate(names)], against=names[0]
    )
    return plots.words(row, names[::-1])


def reliability(names):
    bins = Bins(images=[0, 30], confidence=[0, 0.6], accuracy=[0, 0.5])
    return plots.reliability(dict.fromkeys(names, bins))


def recall_before(names):
    return plots.recall_before(
        [BeforeRow(m, d, c, 4, 0.5, 0.6, 40.0) for m in names[:2] for d in names for c in names]
    )


def score_parts(names):
    parts, change = (0.1, 0.2, 0.3), Change(0.8, 0.1)
    return plots.score_parts(
        [
            SummaryRow("m", joint, n, 5, change, change, change, 0, 0, 0, parts, 0.6, 1)
            for n in names
            for joint in (False, True)
        ]
    )


def curves(names, **how):
    series = {n: [1.0, 1e-5] for n in names}
    return plots.curves([1, 100], series, x_label=names[0][:20], y_label="k", title=f"Of {names[1]}", **how)


#: every public figure that draws names, and the film of lesson 07
DRAWN = {
    "anchor_maps": lambda n: plots.anchor_maps(np.eye(3), dict.fromkeys(n, SCORES[:3]), title="Anchors"),
    "collateral": lambda n: plots.collateral(SCORES, -SCORES, n),
    "cone": lambda n: plots.cone(dict.fromkeys(n, Z)),
    "controls": lambda n: plots.controls([measurement(name) for name in n]),
    "cumulative_variance": lambda n: plots.cumulative_variance(dict.fromkeys(n, Z), title="Variance"),
    "curves": curves,
    "curves of powers": lambda n: curves(n, log="xy"),
    "film": lambda n: Film(
        [[PICTURE] * 3] * 2, [n] * 2, {key: [-0.1, 0.1] for key in n}, [0.2, 0.0, 0.1]
    ).figure(),
    "fingerprint": fingerprint,
    "hyperparameter_map": lambda n: plots.hyperparameter_map(
        [1.0, 2.0], [0.0, 1.0, 2.0], dict.fromkeys(n, np.ones((2, 3))), best=(0, 1)
    ),
    "image_grid": lambda n: plots.image_grid([PICTURE] * 3, n, title="Pictures"),
    "layer_probe": layer_probe,
    "n_way": lambda n: plots.n_way(dict.fromkeys(n, report(0.02, 0.9))),
    "n_way, silent": lambda n: plots.n_way(
        {n[0]: report(0.6, 0.9), n[1]: report(0.0, 0.7), n[2]: report(0.0, 0.4)}
    ),
    "pca_scatter": lambda n: plots.pca_scatter(Z, n, title="T"),
    "recall_before": recall_before,
    "reliability": reliability,
    "score_parts": score_parts,
    "scores_before_after": lambda n: plots.scores_before_after(
        SCORES, SCORES[::-1], n, forget=n[:1], title="T"
    ),
    "two_means": lambda n: plots.two_means(dict(zip(n, (Z, Z[::-1] + 1, Z), strict=True))),
    "verdicts": lambda n: plots.verdicts({"panel": {name: [0.9, 0.1] for name in n}}, ["a", "b"], title="T"),
    "words": words,
    "zero_shot_bars": lambda n: plots.zero_shot_bars(PICTURE, n, SCORES, SCORES[::-1]),
}
#: these draw no names, or are no figures
NAMELESS = {"Figure", "alt", "cosine_histogram", "describe", "pca", "show"}
NAMES = {
    "mathematics": [r"a $\frac$", "b $a_1$ and $\\alpha^2$ \\$", "_c_ caf\udce9\n\ttwo"],
    "long": ["a" + 10_000 * "x", "b" + 2_000 * " word", "c" + 10_000 * "$"],
}


#: draw no more names than two: of classes, or of styles
FIRST_TWO = {"scores_before_after"}


def test_every_public_figure_is_here():
    assert {name.partition(",")[0].partition(" of ")[0] for name in DRAWN} - {"film"} | NAMELESS == {
        name for name in dir(plots) if name in vars(plots) and getattr(vars(plots)[name], "__module__", "").startswith("clipnull.plots.")
    }  # fmt: skip


def drawn_texts(fig):
    """Draw, and what was drawn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied")
        fig.savefig(io.BytesIO(), dpi=DPI)
    return [text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip()]


def words_of(text):
    return unicodedata.normalize("NFC", " ".join(text.encode("utf-8", "replace").decode().split()))


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("figure", DRAWN)
def test_a_name_draws_as_itself(figure, kind):
    names = NAMES[kind]
    fig = DRAWN[figure](names)
    texts = drawn_texts(fig)
    typeset = {text.get_text() for text in texts if text.get_parse_math() and "$" in text.get_text()}
    assert all(text.startswith(r"$\mathdefault{") for text in typeset), "only powers of ten are typeset"
    assert max(len(line) for text in texts for line in text.get_text().split("\n")) < 110
    shown = words_of(" ".join(text.get_text() for text in texts).replace("\u200b", ""))
    for name in map(words_of, names[:3] if figure not in FIRST_TWO else names[:2]):
        assert name[:8] in shown, "as it is written"
        assert name in words_of(plots.alt(fig)) or name in shown, "whole in the alt text"
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert box.x0 > -0.1 and box.y0 > -0.1 and box.x1 < width + 0.1 and box.y1 < height + 0.1


#: of writings that matplotlib's own font has not
FAR = ["猫 of the house", "𓃠 in stone", "🐯"]


def said_of(draw):
    """A figure, drawn, and what was warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fig = draw()
        fig.savefig(io.BytesIO(), dpi=DPI)
    return fig, [str(w.message) for w in said]


@pytest.mark.parametrize("figure", DRAWN)
def test_letters_that_no_font_has_are_said_and_in_the_alt_text(figure, monkeypatch):
    own = font_manager.findfont(font_manager.FontProperties())
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [f for f in fonts() if f.fname == str(own)])
    fig, said = said_of(lambda: DRAWN[figure](FAR))
    assert said and all(one.startswith("Glyph ") for one in said)  # as matplotlib says it
    for name in FAR if figure not in FIRST_TWO else FAR[:2]:
        assert name in words_of(plots.alt(fig))


def fonts():
    return [*font_manager.fontManager.ttflist]


@pytest.fixture
def tiger_font(tmp_path, monkeypatch):
    """An installed font of one letter, the tiger's face."""
    made, pen = FontBuilder(1000), TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 800)), pen.lineTo((800, 800)), pen.lineTo((800, 0)), pen.closePath()
    made.setupGlyphOrder([".notdef", "tiger"])
    made.setupCharacterMap({ord("🐯"): "tiger"})
    made.setupGlyf(dict.fromkeys((".notdef", "tiger"), pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys((".notdef", "tiger"), (900, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Zoo", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(tmp_path / "zoo.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts())
    font_manager.fontManager.addfont(tmp_path / "zoo.ttf")


@pytest.mark.parametrize("figure", DRAWN)
def test_letters_come_from_whatever_font_has_them(figure, tiger_font):
    fig, said = said_of(lambda: DRAWN[figure](["🐯", "a 🐯", "b"]))
    assert said == []
    assert any("Zoo" in text.get_fontfamily() for text in fig.findobj(Text) if "🐯" in text.get_text())


@pytest.mark.parametrize("figure", ["curves of powers", "fingerprint"])
def test_powers_of_ten_are_typeset(figure):
    labels = [t.get_text() for t in drawn_texts(DRAWN[figure](["a", "b", "c"])) if t.get_parse_math()]
    assert any("10^{-" in label for label in labels)


@pytest.mark.parametrize("figure", [plots.collateral, plots.scores_before_after])
def test_in_axes_of_the_callers_own_too(figure):
    fig = Figure()
    ax, other = fig.subplots(1, 2)
    other.set_title("$\\alpha$")  # the caller's own
    figure(SCORES, -SCORES, [r"a $\frac$", "b $", "c"], ax=ax, title="b $")
    assert {t.get_parse_math() for t in ax.findobj(Text)} == {False} and other.title.get_parse_math()
    drawn_texts(fig)


def test_a_name_in_a_legend_is_in_it_whatever_it_begins_with():
    fig = plots.pca_scatter(Z, ["_a", "_b", "c"], title="T")
    assert [t.get_text().strip("\u200b") for t in fig.axes[0].get_legend().get_texts()] == ["_a", "_b", "c"]


def test_titles_leave_the_letters_as_they_are():
    fig = plots.zero_shot_bars(PICTURE, ["Abyssinian", "BMW", "iPod"], SCORES, SCORES[::-1])
    assert fig.get_suptitle() == "Before: Abyssinian (60%); after: iPod (60%)"
    assert "CLIP score against k" in plots.alt(
        plots.curves([1], {"a": [1]}, x_label="k", y_label="CLIP score", title="T")
    )


@pytest.mark.parametrize(
    ("name", "n", "wanted"),
    [
        ("tiger", 5, "tiger"),
        ("tigers", 5, "tige…"),
        ("cafe\u0301", 4, "café"),
        ("a\n b\tc", 9, "a b c"),
        (3, 9, "3"),
        (math.nan, 9, "nan"),
    ],
)
def test_short_names(name, n, wanted):
    assert short(name, n) == wanted
