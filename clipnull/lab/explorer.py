"""Principal components to look around in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from clipnull import _check
from clipnull.edit import Edit
from clipnull.lab.base import FigureWidget
from clipnull.plots.embeddings import pca, pca_scatter, pca_scatter_3d

__all__ = ["PCAExplorer"]


class PCAExplorer(FigureWidget):
    """Embeddings on principal components of your choice, before and after an edit (notebook 01).

    Parameters
    ----------
    T : array [C, d]
        Text embeddings, one per class.
    Z : array [n, d]
        Image embeddings.
    labels : array [n]
        Class index of each image.
    categories : C str
        Colour and marker shape; names and images shown together are told apart by these instead.
    thumbnails : n PIL images, optional
        Offered as markers.
    edits : dict of name -> Edit, optional
        Offered as "edit". It acts on images as `Edit.apply_image`, on names as `Edit.apply_text`;
        when both are shown, on the images (that is what an edited image tower does).

    Attributes
    ----------
    which, view, marks, edit : widgets.Dropdown
    x, y, z, azimuth, elevation : widgets.IntSlider
    """

    def __init__(
        self,
        T: Any,
        Z: Any,
        labels: Any,
        categories: Sequence[str],
        thumbnails: Sequence[Any] | None = None,
        edits: Mapping[str, Edit] | None = None,
    ) -> None:
        self.T = _check.rows("T", T)
        self.Z = _check.rows("Z", Z, self.T.shape[1])
        self.labels = _check.labels("labels", labels, len(self.Z), len(self.T)).tolist()
        self.categories = [c or "all classes" for c in categories]
        self.thumbnails = None if thumbnails is None else list(thumbnails)
        self.edits = dict(edits or {})
        last = max(1, min(8, len(self.T), len(self.Z), self.T.shape[1]))
        marks = ["category"] if self.thumbnails is None else ["category", "picture"]
        self.which = widgets.Dropdown(options=["images", "names", "both"], description="show")
        self.view = widgets.Dropdown(options=["2-D", "3-D"], description="view")
        self.marks = widgets.Dropdown(options=marks, description="marker")
        self.edit = widgets.Dropdown(options=["none", *self.edits], description="edit")
        self.x, self.y, self.z = (
            widgets.IntSlider(min(k, last), 1, last, description=f"{axis} axis", continuous_update=False)
            for axis, k in (("first", 1), ("second", 2), ("third", 3))
        )
        self.azimuth = widgets.IntSlider(-60, -180, 180, 5, description="turn °")
        self.elevation = widgets.IntSlider(20, -90, 90, 5, description="tilt °")
        rows = [[self.which, self.marks, self.edit], [self.x, self.y, self.view]]
        super().__init__([*rows, [self.z, self.azimuth, self.elevation]])

    def update(self) -> None:
        """As in the base; the sliders of the third dimension are there only when it is."""
        for control in (self.z, self.azimuth, self.elevation):
            control.layout.display = None if self.view.value == "3-D" else "none"
        self.marks.layout.display = "none" if self.view.value == "3-D" else None
        super().update()

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor | None, list[str]]:
        """What is shown: rows before the edit, after it (None without one), and their groups."""
        which, edit = self.which.value, self.edits.get(self.edit.value)
        names, images = self.categories, [self.categories[y] for y in self.labels]
        if which == "names":
            return self.T, None if edit is None else edit.apply_text(self.T), names
        if which == "images":
            return self.Z, None if edit is None else edit.apply_image(self.Z), images
        after = None if edit is None else torch.cat([self.T, edit.apply_image(self.Z)])
        groups = ["name"] * len(names) + ["image"] * len(images)
        return torch.cat([self.T, self.Z]), after, groups

    @property
    def components(self) -> list[int]:
        """The components drawn, counted from 1."""
        axes = [self.x, self.y, self.z] if self.view.value == "3-D" else [self.x, self.y]
        return [a.value for a in axes]

    def figure(self) -> Figure:
        """The scatter of the present state."""
        before, after, groups = self.embeddings()
        c = self.components
        if self.view.value == "3-D":
            seen = {"azimuth": self.azimuth.value, "elevation": self.elevation.value}
            return pca_scatter_3d(before, groups, after=after, components=(c[0], c[1], c[2]), **seen)
        pictures = self.thumbnails if self.marks.value == "picture" and self.which.value == "images" else None
        return pca_scatter(before, groups, after=after, components=(c[0], c[1]), thumbnails=pictures)

    def text(self) -> str:
        """Share of the variance on the axes, and how far the edit moves the embeddings."""
        before, after, _ = self.embeddings()
        ratio = pca(before, max(self.components))[2]
        held = ", ".join(f"component {c}: {100 * ratio[c - 1]:.1f}%" for c in self.components)
        words = f"{len(before)} embeddings. Share of the variance: {held}."
        if self.view.value == "3-D":
            words += f" Seen from {self.azimuth.value}°, {self.elevation.value}° up."
        if after is not None:
            moved = (after - before).norm(dim=1)
            words += f" The edit moves them by {moved.mean():.3f} on average, {moved.max():.3f} at most."
        if self.marks.value == "picture" and self.which.value != "images":
            words += " Pictures mark images only; names are drawn by category."
        return words
