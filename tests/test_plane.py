"""One thing to drag, without a browser: positions in, drawing out. tests/test_plane_browser.py drags it."""

from __future__ import annotations

import re
import threading
import tomllib
from pathlib import Path
from typing import Any

import draggable
import drawn as artists
import ipywidgets as widgets
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

import clipnull as cn
from clipnull.lab import Area, Bar, Dots, Drawn, Globe, Line, Plane, Point
from clipnull.measures import region_shares, winners
from clipnull.plots import base

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "clipnull" / "lab"


def drag(plane: Plane, i: int, *to: float) -> None:
    """What the browser sends when a point is dragged."""
    at = plane.positions
    at[i] = to
    plane.drawing.set_state({"at": at.tolist()})


def answer(drawn: Drawn, *, d: int = 2, **options: Any) -> Plane:
    """A plane or globe with a kept and a forgotten name, whose answer never changes."""
    points = [Point("a", np.eye(d)[0], "forgotten"), Point("b", np.eye(d)[1])]
    return (Plane if d == 2 else Globe)(points, lambda at: drawn, **options)


# --- what follows ------------------------------------------------------------------------------


def test_positions_and_controls_go_in_and_what_follows_comes_out():
    plane = draggable.circle()
    assert plane.drawn.caption == plane.shown["caption"]
    assert plane.shown["alt"] == plane.drawn.caption
    names = np.asarray(plane.shown["names"])
    plane.controls["strength"].value = 1.0
    z, f = plane.positions[:2]
    assert z @ f > 0.9 and plane.shown["bars"][0]["text"] == "0.00"
    assert np.linalg.norm(plane.shown["names"][0]) < 1e-6 < np.linalg.norm(names[0])
    drag(plane, 0, *draggable.on_circle(150))
    assert "is called guitar" in plane.drawn.caption
    bars = {b["name"]: b for b in plane.shown["bars"]}
    assert {p["name"]: p["colour"] for p in plane.drawing.fixed["points"][1:]} == {
        name: b["colour"] for name, b in bars.items()
    }
    assert bars["guitar"]["text"] == f"{bars['guitar']['value']:.2f}" and bars["penguin"]["before"] < 0


def test_every_move_is_answered_once():
    calls = []
    plane = Plane([Point("a", (0, 0))], lambda at: Drawn(str(calls.append(at.tolist()) or len(calls))))
    drag(plane, 0, 0.25, 0.5)
    assert calls == [[[0.0, 0.0]], [[0.25, 0.5]]]
    with plane.paused():
        plane.positions = [[0.5, 0.5]]
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("use", "point", "to", "lands"),
    [
        ("circle", 1, (3.0, 0.0), (1.0, 0.0)),  # on its circle
        ("circle", 1, (0.0, 0.0), (1.0, 0.0)),  # which has no nearest point there
        ("triangle", 0, (0.9, -0.8), None),  # in its triangle
        ("triangle", 0, (0.4, 0.4), (0.4, 0.4)),
        ("globe", 2, (0.0, 0.0, -7.0), (0.0, 0.0, -1.0)),  # on the sphere, behind it too
    ],
)
def test_a_point_stays_where_it_may_be(use, point, to, lands):
    plane = draggable.USES[use]()
    drag(plane, point, *to)
    if lands is None:
        lands = cn.nearest_mixture(np.array([to]), draggable.CORNERS).H[0]
    np.testing.assert_allclose(plane.positions[point], lands, atol=1e-6)
    assert plane.drawn.caption == plane.shown["caption"]


def test_a_point_stays_in_view():
    plane = Plane([Point("a", (0, 0))], lambda at: Drawn(), extent=(-1, 2, -1, 1))
    drag(plane, 0, 9, -9)
    assert plane.positions.tolist() == [[2, -1]]


def test_follow_corrects_positions():
    snap = lambda at: Drawn(at=np.round(at))  # noqa: E731
    plane = Plane([Point("a", (0.2, 0.9))], snap, extent=3)
    assert plane.positions.tolist() == [[0, 1]]
    drag(plane, 0, 1.6, 0.4)
    assert plane.positions.tolist() == [[2, 0]]


def test_bad_input_of_follow_is_a_sentence_and_a_fault_is_raised_too():
    def follow(at):
        if at[0, 0] > 0.9:
            raise ValueError("a <name>: too far")
        return Drawn(f"{1 / float(at[0, 0] + 0.5):.1f}")

    plane = Plane([Point("a", (0, 0))], follow, extent=1)
    drag(plane, 0, 0.95, 0)
    assert "a &lt;name&gt;: too far" in plane.message.value and plane.drawn.caption == "2.0"
    drag(plane, 0, 0.5, 0)
    assert plane.message.value == "" and plane.drawn.caption == "1.0"
    with pytest.raises(ZeroDivisionError):
        plane.positions = [[-0.5, 0]]
    assert "ZeroDivisionError" in plane.message.value
    with pytest.raises(ValueError, match="too far"):  # to who writes it, not to who reads it
        Plane([Point("a", (1, 0))], follow)


def test_two_threads_answer_one_after_the_other():
    """JupyterLab may report a drag and a slider at once, in two threads of the kernel."""
    inside, overlaps = [], []

    def follow(at, x):
        overlaps.append(len(inside))
        inside.append(1)
        threading.Event().wait(0.05)
        inside.pop()
        return Drawn(f"{at[0, 0]:.1f} {x}")

    plane = Plane([Point("a", (0, 0))], follow, controls={"x": widgets.IntSlider(max=9)}, extent=1)
    threads = [
        threading.Thread(target=lambda: drag(plane, 0, 0.5, 0)),
        threading.Thread(target=lambda: setattr(plane.controls["x"], "value", 4)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert set(overlaps) == {0} and plane.shown["caption"] == "0.5 4"


# --- the globe ---------------------------------------------------------------------------------


def test_the_globe_forgets_by_the_methods_own_numbers():
    globe = draggable.globe()
    T = globe.positions
    np.testing.assert_allclose(np.linalg.norm(T, axis=1), 1)
    after = np.asarray(globe.shown["after"])
    np.testing.assert_allclose(after, cn.nullspace(T[:1]).apply_text(T), atol=1e-5)
    assert region_shares(after, [0])[0] > 0.1  # zero beats negatives
    globe.controls["method"].value = "mean"
    assert globe.drawn.caption.startswith("penguin wins on 0% of all images; its certificate is 0.00")
    drag(globe, 1, -0.3, 0.9, 0.2)  # wherever the names are dragged
    assert globe.drawn.caption.startswith("penguin wins on 0% of all images; its certificate is 0.00")


def towards(globe: Globe) -> np.ndarray:
    """The unit vector in the middle of the picture."""
    a, e = globe.drawing.turn
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])


def test_the_globe_turns_to_its_names():
    globe = draggable.globe()
    assert (globe.positions @ towards(globe)).min() > 0.5
    far = Globe([Point("a", (0, -1, 0))], lambda at: Drawn())
    np.testing.assert_allclose(towards(far), (0, -1, 0), atol=1e-9)


def test_region_shares_are_those_of_the_geometry():
    equal = region_shares(np.eye(3) - 1 / 3)
    np.testing.assert_allclose(equal, [1 / 3] * 3, atol=1e-3)
    # a lune of 60 degrees between two names 120 degrees apart and their mirror image
    angles = np.deg2rad([0, 90, 270])
    flat = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)
    np.testing.assert_allclose(region_shares(flat), [1 / 4, 3 / 8, 3 / 8], atol=2e-3)
    np.testing.assert_allclose(region_shares(flat[:, :2]), [1 / 4, 3 / 8, 3 / 8], atol=2e-3)
    # a name that ties with a kept one wins nowhere once it is forgotten
    twice = np.stack([flat[0] * (1 + 1e-7), flat[0], flat[1]])
    assert region_shares(twice, [0])[0] == 0 < region_shares(twice)[0]
    with pytest.raises(ValueError, match="T: got 4 dimensions, want 2 or 3"):
        region_shares(np.eye(4))


def test_a_name_that_is_struck_off_takes_no_part():
    globe = draggable.globe()
    globe.controls["listed"].value = ("penguin", "guitar")
    assert globe.shown["candidates"] == [True, False, True]
    before, after = globe.figure().axes[:2]
    assert winners_on(globe, after) == {"penguin", "guitar"}
    struck = globe.points[1].name
    assert struck not in {p["name"] for p in globe.shown["points"] if p["stage"] == 1}
    assert struck not in {text.get_text() for ax in (before, after) for text in ax.texts}


def winners_on(globe: Globe, ax: Any) -> set[str]:
    """Names whose hue a figure's globe has at its middle or around it."""
    pixels = np.asarray(ax.images[0].get_array())
    n = len(pixels) // 2
    hues = {
        p.name: hue(np.array(to_rgb(c)))
        for p, c in zip(globe.points, globe.drawing.fixed["rules"]["colours"], strict=True)
    }
    at = [(n + dy * n // 2, n + dx * n // 2) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return {min(hues, key=lambda k: float(np.abs(hues[k] - hue(pixels[p][:3])).sum())) for p in at}


def hue(rgb: np.ndarray) -> np.ndarray:
    """What white and shade leave of a colour."""
    return (rgb - rgb.min()) / np.ptp(rgb)


# --- many dots ---------------------------------------------------------------------------------


def test_dots_are_kept_and_move_with_a_control():
    plane = draggable.explorer(20)
    first = np.array(plane.shown["dots"])
    plane.drawing.set_state({"kept": [3, 5]})
    assert plane.drawn.caption == "2 of 20 kept, picture 3, picture 5." and plane.kept == [3, 5]
    plane.controls["second"].value = 2
    second = np.array(plane.shown["dots"])
    assert (first[:, 0] == second[:, 0]).all() and not np.allclose(first[:, 1], second[:, 1])


def test_a_picture_is_sent_when_it_is_looked_at(monkeypatch):
    plane = draggable.explorer(20)
    sent: list[Any] = []
    monkeypatch.setattr(plane.channel, "send", sent.append)
    plane.drawing._handle_custom_msg({"thumb": 7}, [])
    (message,) = sent
    assert message["thumb"] == 7 and message["src"].startswith("data:image/png;base64,")


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: answer(Drawn(names=np.eye(3, 2))), r"names: got shape [3, 2], want [2, 2]"),
        (lambda: answer(Drawn(after=np.eye(2))), "after: a plane has one drawing, want names, points and lines"),
        (lambda: answer(Drawn(candidates=[True])), "candidates: got shape [1], want [2]"),
        (lambda: answer(Drawn(at=[[1, 2]])), "at: got shape [1, 2], want [2, 2]"),
        (lambda: answer(Drawn(lines=[Line((0, 0), (np.nan, 1))])), "b: got nan, want a number"),
        (lambda: answer(Drawn(areas=[Area(["x"])])), "points, of areas[0]: cannot be read as an array"),
        (lambda: answer(Drawn(points=[Point("p", (1, 2, 3))])), "at, of points[0]: got shape [3], want [2]"),
        (lambda: answer(Drawn(bars=[Bar("duck", np.nan)])), "value: got nan, want a number"),
        (lambda: answer(Drawn(areas=[Area(np.eye(2))]), d=3), "areas, lines: a globe has none, want points"),
        (lambda: answer(Drawn(lines=[Line((0, 0, 1), (1, 0, 0))]), d=3), "areas, lines: a globe has none"),
        (lambda: answer(Drawn(lines=[Line((0, 0), (1, 1), colour="blueish")])), "colour: got 'blueish', want a point's name, a colour"),
        (lambda: Plane([Point("p", (0, 0, 0))], print), "at, of 'p': got shape [3], want [2]"),
        (lambda: Plane([Point("p", (0, 0), "foe")], print), "role of 'p': got 'foe', want one of forgotten, kept"),
        (lambda: Plane([], print, extent=0), "extent: got 0, want a number above 0 or (x0, x1, y0, y1)"),
        (lambda: Plane([], print, dots=Dots(np.eye(2), ["a"])), "names: got 1 names, want 2"),
        (lambda: Plane([], print, dots=Dots(np.eye(2), ["a", "b"], ["x"])), "groups: got 1 names, want 2"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_follow_must_answer():
    with pytest.raises(TypeError, match="follow: returned NoneType, want a Drawn"):
        Plane([], lambda at: None)


# --- figures -----------------------------------------------------------------------------------


def test_the_circles_figure_shows_points_regions_and_bars():
    plane = draggable.circle()
    fig = plane.figure()
    ax, bars = fig.axes
    said = {text: (x, y) for text, x, y in artists.texts(ax)}
    for point, at in zip(plane.points, plane.positions, strict=True):
        np.testing.assert_allclose(said[point.name], at)
    assert set(said) == {*draggable.NAMES, "picture", "z′"}
    pixels = np.asarray(ax.images[0].get_array())
    at = np.array([[1, 0], [0, 1], [-1, 0]]) * 0.9
    scores = at @ np.asarray(plane.shown["names"]).T
    x0, x1, y0, y1 = plane.extent
    for x, k in zip(at, scores.argmax(1), strict=True):
        row, column = (y1 - x[1]) / (y1 - y0) * len(pixels), (x[0] - x0) / (x1 - x0) * len(pixels)
        assert to_hex(pixels[int(row), int(column)][:3]) == plane.drawing.fixed["rules"]["colours"][k].lower()
    assert artists.ends(bars) == {b.name: pytest.approx(b.value) for b in plane.drawn.bars}
    assert base.alt(fig) == plane.drawn.caption == artists.title(fig)


def test_the_globes_figure_has_both_spheres_and_who_wins_on_them():
    globe = draggable.globe()
    fig = globe.figure()
    before, after, _ = fig.axes
    assert [ax.get_title() for ax in (before, after)] == ["before", "after: penguin at the origin"]
    assert {text for text, *_ in artists.texts(before)} == {*draggable.NAMES, "between"}
    # projected out, the forgotten name has no direction any more
    assert {text for text, *_ in artists.texts(after)} == {"duck", "guitar"}
    for ax, T in ((before, globe.positions), (after, globe.shown["after"])):
        pixels = np.asarray(ax.images[0].get_array())
        scores = torch.from_numpy(towards(globe) @ np.asarray(T).T)[None]
        colour = globe.drawing.fixed["rules"]["colours"][int(winners(scores, [0], 1.0)[0])]
        n = len(pixels) // 2
        np.testing.assert_allclose(pixels[n, n][:3], 0.62 * np.array(to_rgb(colour)) + 0.38, atol=0.01)


def test_the_triangles_figure_and_the_explorers():
    fig = draggable.triangle().figure()
    assert {t for t, *_ in artists.texts(fig.axes[0])} == {"anchor", "origin", "mean", "mixture"}
    plane = draggable.explorer(20)
    plane.kept = [4]
    fig = plane.figure()
    clouds = artists.clouds(fig.axes[0])
    assert [c.label for c in clouds if len(c.points) == 10] == ["even", "odd"]
    assert (
        "picture 4",
        *np.array(plane.shown["dots"])[4].astype(float),
    ) in artists.texts(fig.axes[0])


@pytest.mark.parametrize("points", [[(0, 0), (1, 0), (1, 1), (0, 1)], [(0, 0), (2, 2)], [(1, 2)]])
def test_a_point_stays_within_its_corners(points):
    plane = Plane([Point("p", points[0], within=points)], lambda at: Drawn(), extent=3)
    assert plane.drawing.fixed["points"][0]["within"] == [list(map(float, c)) for c in points]
    drag(plane, 0, 3, 3)
    assert plane.positions[0].tolist() == pytest.approx(max(points))
    plane.figure()


# --- what travels with the package ---------------------------------------------------------------


def test_modules_are_short_and_travel_with_the_package():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    sent = {path.name for pattern in patterns["clipnull.lab"] for path in LAB.glob(pattern)}
    assert sent == {path.name for path in LAB.iterdir() if path.is_file() and path.suffix != ".py"}
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in LAB.glob("*.js")}
    assert max(lines.values()) <= 330 and {"plane.js", "guard.js"} <= set(lines)


def test_text_takes_its_colour_from_the_page():
    """A fixed colour is illegible in one of the two themes."""
    for path in [*LAB.glob("*.py"), *LAB.glob("*.css")]:
        assert not re.search(r"(?<![-\w])color: ?#", path.read_text("utf-8")), path.name
