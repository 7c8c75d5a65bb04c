"""What a screen shows, for elsewhere: plain text for the clipboard; text, SVG and CSV files."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget

from deadband_monitor.metrics import LAYER_METRICS
from deadband_monitor.state.pictures import Envelope, Pictures
from deadband_monitor.tui.view import View

if TYPE_CHECKING:
    from _csv import Writer as CsvWriter


def screen_text(screen: Screen[None]) -> str:
    """The screen as it stands there, without colours."""
    width, height = screen.size
    cells = [[" "] * width for _ in range(height)]
    # A parent before its children, as they are painted.
    for widget in screen.walk_children(Widget):
        if not widget.is_on_screen or not widget.display:
            continue
        place = screen.find_widget(widget)
        for y, strip in enumerate(widget.render_lines(Region(0, 0, *place.region.size))):
            _write(cells, place.region.x, place.region.y + y, strip.text, place.clip)
    return "".join("".join(row).rstrip() + "\n" for row in cells)


def _write(cells: list[list[str]], x: int, y: int, text: str, clip: Region) -> None:
    for letter in text:
        size = cell_len(letter)
        if clip.contains(x, y) and y < len(cells) and x < len(cells[y]):
            cells[y][x] = letter
            cells[y][x + 1 : x + size] = [""] * (size - 1)
        x += size


def safe_name(name: str) -> str:
    """A name of a run as a part of a file name."""
    return re.sub(r"[^\w.-]+", "_", name) or "run"


def export(
    folder: Path, name: str, svg: str, text: str, view: View, pictures: Pictures | None = None
) -> list[Path]:
    """Write the screen and its readings; returns the files.

    `pictures` know more than those that the view shows.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = [folder / f"{name}{suffix}" for suffix in (".txt", ".svg", ".csv")]
    paths[0].write_text(text, encoding="utf-8")
    paths[1].write_text(svg, encoding="utf-8")
    with paths[2].open("w", newline="", encoding="utf-8") as file:
        _write_readings(csv.writer(file), view, pictures or view.pictures)
    return paths


def _write_readings(writer: CsvWriter, view: View, pictures: Pictures) -> None:
    """One line a column of time, layer and metric: lowest, mean and highest reading in it.

    Of a live run that is what its hub was asked for: the map's metric, and the layer at hand.
    """
    writer.writerow(["first_step", "last_step", "layer", "metric", "low", "mean", "high"])
    axis = view.axis
    readings = np.stack([_readings(pictures.layers(it)) for it in range(len(LAYER_METRICS))])
    row = view.selected
    if row is not None:
        for number in range(len(LAYER_METRICS)):
            own = _readings(pictures.layer(row, number))
            if np.isfinite(own).any():
                readings[number, :, :, row] = own
    for column in range(axis.columns):
        first = axis.first + column * axis.per_column
        for row in view.order:
            for number, metric in enumerate(LAYER_METRICS):
                figures = readings[number, :, column, row]
                if np.isfinite(figures).any():
                    writer.writerow(
                        [
                            first,
                            first + axis.per_column - 1,
                            view.label(view.state.layers[row]),
                            metric.name,
                            *(f"{it:.6g}" if np.isfinite(it) else "" for it in figures),
                        ]
                    )


def _readings(envelope: Envelope) -> NDArray[np.float32]:
    return np.stack([envelope.low, envelope.mean, envelope.high])
