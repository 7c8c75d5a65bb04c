"""Boxes that hold canvases: their ground and their borders are drawn once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Container, Horizontal, Vertical
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from textual.widget import Widget as _Widget
else:  # a second widget among the bases of a box would hide what its style sheet inherits
    _Widget = object


class Still(_Widget):
    """What has no content of its own to change: a box of others, with its ground and border.

    Textual asks every widget that shares a line with a change for its lines, boxes too, and works
    out their colours each time: an eighth of what a picture costs.
    """

    _kept: tuple[tuple[Region, str], list[Strip]] | None = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines; as they were where nothing has changed."""
        of = (crop, self.app.theme)
        if self._kept is None or self._kept[0] != of:
            self._kept = of, super().render_lines(crop)
        return self._kept[1]

    def _set_dirty(self, *regions: Region) -> None:
        self._kept = None
        super()._set_dirty(*regions)


class Beside(Still, Horizontal):
    """Side by side."""


class Below(Still, Vertical):
    """One below the other."""


class Box(Still, Container):
    """As the style sheet says."""
