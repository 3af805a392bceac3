"""Figures as such: from torch and NumPy, into given axes, titled, whole, with alt text that holds the numbers.

What each draws is tested in test_plots_embeddings.py and test_plots_erasing.py.
"""

import io

import drawn
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from clipnull import plots
from clipnull.plots import base
from clipnull.plots.base import DPI

NAMES = ["tiger", "wolf", "rose", "pizza", "a name that is far too long to be drawn in full"]
RNG = np.random.default_rng(0)
PICTURE = Image.new("RGB", (32, 32), "orange")


def embeddings(n=5, d=8):
    return torch.nn.functional.normalize(torch.from_numpy(RNG.normal(size=(n, d)) + 1), dim=1)


SCORES = torch.tensor([0.6, 0.2, 0.1, 0.06, 0.04])

FIGURES = {
    "image_grid": lambda: plots.image_grid(
        [PICTURE] * 5, NAMES, right=[True] * 4 + [False], title="Pictures"
    ),
    "zero_shot_bars": lambda: plots.zero_shot_bars(PICTURE, NAMES, SCORES, SCORES.flip(0)),
    "pca_scatter": lambda: plots.pca_scatter(embeddings(), ["x", "x", "y", "y", "z"], title="Of five"),
    "cone": lambda: plots.cone({"names": embeddings(), "pictures": embeddings()}),
    "two_means": lambda: plots.two_means({"names": embeddings(), "pictures": embeddings()}),
    "cumulative_variance": lambda: plots.cumulative_variance({"names": embeddings()}, title="Of five names"),
    "cosine_histogram": lambda: plots.cosine_histogram(embeddings(), embeddings(), [0, 1, 2, 2, 0]),
    "curves": lambda: plots.curves([1, 2], {"forget": [1, 0]}, x_label="α", y_label="%", title="Falls"),
    "collateral": lambda: plots.collateral(SCORES, torch.tensor([0, -0.25, 0.1, -0.5, 0]), NAMES),
    "scores_before_after": lambda: plots.scores_before_after(
        SCORES, SCORES.flip(0), NAMES, forget=["tiger"], k=3, title="What moved"
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_title_alt_text_and_ink(name):
    fig = FIGURES[name]()
    assert isinstance(fig, plots.Figure)
    assert len(plots.alt(fig)) > 30 and "nan" not in plots.alt(fig)
    titles = [fig.get_suptitle() if hasattr(fig, "get_suptitle") else ""]
    titles += [ax.get_title(loc="left") for ax in fig.axes]
    assert any(len(t) > 3 for t in titles)
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=60)
    drawn = np.asarray(Image.open(buffer).convert("L"))
    assert drawn.std() > 1 and buffer.tell() < 200_000


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_drawn_outside_the_figure(name):
    """A title or a tick label beyond the edge would be cut off."""
    fig = FIGURES[name]()
    fig.savefig(io.BytesIO(), dpi=DPI)  # lays the figure out
    box = fig.get_tightbbox()
    width, height = fig.get_size_inches()
    assert box.x0 > -0.05 and box.y0 > -0.05 and box.x1 < width + 0.05 and box.y1 < height + 0.05


@pytest.mark.parametrize("name", ["collateral", "scores_before_after"])
def test_axes_of_the_callers_own(name):
    """In a figure of several, a title stands above its own axes."""
    fig, (ax, other) = plt.subplots(1, 2)
    calls = {
        "collateral": lambda: plots.collateral([0.5, 0.6], [0, -0.1], NAMES[:2], ax=ax, title="Mine"),
        "scores_before_after": lambda: plots.scores_before_after(SCORES, SCORES, NAMES, ax=ax, title="Mine"),
    }
    assert calls[name]() is fig and plots.alt(fig)
    assert ax.get_title(loc="left") == "Mine" and fig.get_suptitle() == ""
    assert ax.has_data() and not other.has_data()
    plt.close(fig)


def test_alt_text_of_no_loss():
    assert "none" in plots.alt(plots.collateral([0.1, 0.2], [0.0, 0.1], NAMES[:2]))


def test_title_says_what_changed():
    after = torch.tensor([0.05, 0.8, 0.1, 0.03, 0.02])
    fig = plots.zero_shot_bars(PICTURE, NAMES, SCORES, after)
    assert drawn.title(fig) == "Before: tiger (60%); after: wolf (80%)"
    assert drawn.title(plots.zero_shot_bars(PICTURE, NAMES, SCORES, title="My own")) == "My own"


def test_alt_text_reads_as_sentences():
    fig = plots.describe(plots.Figure(), "Is it gone?. Blue is good.. And so on ... 0.5 of it.")
    assert plots.alt(fig) == "Is it gone? Blue is good. And so on ... 0.5 of it."
    fig = plots.curves(
        [1, 2], {"recall": [100.0, 0.025], "time": [1e6, 1234.0]}, x_label="k", y_label="%", title="Falls"
    )
    assert "recall: from 100 to 0.025; time: from 1e+06 to 1234" in plots.alt(fig)


@pytest.mark.parametrize(("x", "said"), [(99.6, "100"), (-99.6, "-100"), (99.4, "99"), (0.0251, "0.025")])
def test_an_accuracy_near_100_is_said_as_one(x, said):
    assert base.number(x) == said


def test_pca_is_pca_with_the_sign_fixed():
    Z = RNG.normal(size=(30, 6))
    scores, V, ratio = plots.pca(torch.from_numpy(Z), 6)
    np.testing.assert_allclose(V @ V.T, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(scores @ V + Z.mean(0), Z, atol=1e-10)
    assert ratio.sum() == pytest.approx(1) and (np.diff(ratio) <= 0).all()
    assert (V[np.arange(6), np.abs(V).argmax(1)] > 0).all()
    np.testing.assert_allclose(plots.pca(-Z, 6)[1], V, atol=1e-8)  # the sign does not follow the data's
    with pytest.raises(ValueError, match="k: got 7, want a whole number from 1 to 6"):
        plots.pca(Z, 7)


def test_empty_input_is_named():
    with pytest.raises(ValueError, match="images: got none"):
        plots.image_grid([], [], title="T")


def test_show_publishes_png_with_alt_text(monkeypatch, capsys):
    published = []
    monkeypatch.setattr("IPython.display.display", lambda data, **k: published.append((data, k)))
    fig = FIGURES["curves"]()
    fig._ipython_display_()
    plots.describe(fig, "Two lines.\n  One falls.")
    plots.show(fig)
    (first, _), (second, options) = published
    assert first["image/png"].startswith(b"\x89PNG") and "forget" in first["text/plain"]
    assert options["metadata"]["image/png"]["alt"] == "Two lines. One falls." == plots.alt(fig)
    picture = Image.open(io.BytesIO(second["image/png"]))
    assert picture.info["Description"] == "Two lines. One falls." and picture.mode == "P"  # small
    assert capsys.readouterr().out == ""
