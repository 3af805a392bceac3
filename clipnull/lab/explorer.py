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
from clipnull.plots.embeddings import pca, pca_scatter

__all__ = ["PCAExplorer"]


class PCAExplorer(FigureWidget):
    """Images or names on principal components of your choice, before and after an edit (notebook 01).

    Parameters
    ----------
    T, Z : array [C, d], array [n, d]
        Text embeddings, one per class, and image embeddings.
    labels : array [n]
        Class index of each image.
    categories : C str
        Colour and marker shape.
    thumbnails : n PIL images, optional
        Offered as markers of the images.
    edits : dict of name -> Edit, optional
        Offered as "edit". It acts on images as `Edit.apply_image`, on names as `Edit.apply_text`.

    Attributes
    ----------
    which, marks, edit : widgets.Dropdown
    x, y : widgets.IntSlider
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
        self.thumbnails, self.edits = thumbnails, dict(edits or {})
        last = max(1, min(8, len(self.T), len(self.Z), self.T.shape[1]))
        marks = ["category"] if thumbnails is None else ["category", "picture"]
        self.which = widgets.Dropdown(options=["images", "names"], description="show")
        self.marks = widgets.Dropdown(options=marks, description="marker")
        self.edit = widgets.Dropdown(options=["none", *self.edits], description="edit")
        self.x, self.y = (
            widgets.IntSlider(min(k, last), 1, last, description=f"{axis} axis", continuous_update=False)
            for axis, k in (("first", 1), ("second", 2))
        )
        super().__init__([[self.which, self.marks, self.edit], [self.x, self.y]])

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor | None, list[str]]:
        """What is shown: rows before the edit, after it (None without one), and their categories."""
        edit = self.edits.get(self.edit.value)
        if self.which.value == "names":
            return self.T, None if edit is None else edit.apply_text(self.T), self.categories
        groups = [self.categories[y] for y in self.labels]
        return self.Z, None if edit is None else edit.apply_image(self.Z), groups

    def figure(self) -> Figure:
        """The scatter of the present state."""
        before, after, groups = self.embeddings()
        pictures = self.thumbnails if self.marks.value == "picture" and self.which.value == "images" else None
        components = (self.x.value, self.y.value)
        return pca_scatter(before, groups, after=after, components=components, thumbnails=pictures)

    def text(self) -> str:
        """Share of the variance on the axes, and how far the edit moves the embeddings."""
        before, after, _ = self.embeddings()
        x, y = self.x.value, self.y.value
        ratio = pca(before, max(x, y))[2]
        held = ", ".join(f"component {c}: {100 * ratio[c - 1]:.1f}%" for c in (x, y))
        words = f"{len(before)} embeddings. Share of the variance: {held}."
        if after is not None:
            moved = (after - before).norm(dim=1)
            words += f" The edit moves them by {moved.mean():.3f} on average, {moved.max():.3f} at most."
        return words
