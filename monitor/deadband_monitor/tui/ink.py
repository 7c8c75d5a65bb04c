"""How a style name looks on this terminal: colour depth, dark or light ground, unicode or ASCII.

Drawing speaks in style names ("crit", "heat.2.5"); this is the one place that turns them into
colours. Every colour is an exact entry of the xterm-256 palette, so truecolor and 256 colours look
the same. Normal readings are grey; colour is kept for the abnormal and never the only sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme


class Depth(Enum):
    """How many colours the terminal has."""

    FULL = "full"
    BASIC = "basic"
    """16 colours: no ramp survives, so maps are drawn in glyphs and colour is for flags only."""
    NONE = "none"
    """NO_COLOR, or a terminal without colours: bold, reverse and glyphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The colours of one theme."""

    ground: str
    frame: str
    text: str
    strong: str
    dim: str
    faint: str
    band: str
    line: str
    spark: str
    info: str
    warn: str
    crit: str
    badge_text: str
    heat: tuple[str, ...]
    """Below the band (2), inside it (4), above it (2). Chosen so that inside and outside stay at
    least 20 apart (CIE76) for normal, protan, deutan and tritan sight; tests check it."""


DARK = Palette(
    ground="#121212", frame="#444444", text="#bcbcbc", strong="#eeeeee", dim="#8a8a8a",
    faint="#4e4e4e", band="#8a8a8a", line="#afafaf", spark="#767676",
    info="#5fafff", warn="#ffaf00", crit="#ff005f", badge_text="#080808",
    heat=("#0000ff", "#0000af", "#303030", "#444444", "#585858", "#6c6c6c", "#d7875f", "#ffd75f"),
)  # fmt: skip
LIGHT = Palette(
    ground="#eeeeee", frame="#b2b2b2", text="#444444", strong="#080808", dim="#626262",
    faint="#b2b2b2", band="#767676", line="#444444", spark="#949494",
    info="#005fd7", warn="#875f00", crit="#5f0000", badge_text="#ffffff",
    heat=("#0000af", "#5f5fff", "#d0d0d0", "#bcbcbc", "#a8a8a8", "#949494", "#af8700", "#875f00"),
)  # fmt: skip

DARK_THEME, LIGHT_THEME, PLAIN_THEME = "deadband-dark", "deadband-light", "deadband-plain"


def _theme(name: str, palette: Palette, *, dark: bool) -> Theme:
    return Theme(
        name=name,
        primary=palette.info,
        secondary=palette.dim,
        warning=palette.warn,
        error=palette.crit,
        success=palette.text,
        accent=palette.info,
        foreground=palette.text,
        background=palette.ground,
        surface=palette.ground,
        panel=palette.ground,
        dark=dark,
        variables={"frame": palette.frame, "dim": palette.dim, "strong": palette.strong},
    )


THEMES = (
    _theme(DARK_THEME, DARK, dark=True),
    _theme(LIGHT_THEME, LIGHT, dark=False),
    Theme(
        name=PLAIN_THEME,
        primary="ansi_default",
        secondary="ansi_default",
        warning="ansi_default",
        error="ansi_default",
        success="ansi_default",
        accent="ansi_default",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        ansi=True,
        variables={
            **BUILTIN_THEMES["ansi-dark"].variables,
            **dict.fromkeys(("frame", "dim", "strong"), "ansi_default"),
        },
    ),
)

_ASCII = str.maketrans(
    {
        "·": ".", "━": "=", "◆": "o", "◇": "x", "▼": "v", "▲": "^", "▽": "v", "△": "^", "…": "~",
        "─": "-", "│": "|", "┤": "|", "├": "|", "╎": ":", "╌": "-", "┃": "|", "●": "*", "◌": "o",
        "✓": "+", "✗": "x", "▶": ">", "❚": "I", "▸": ">", "→": ">", "←": "<", "↑": "^", "↓": "v",
        "–": "-", "×": "x", "░": ":", "▒": "+", "▓": "#", "█": "#", "▀": "^", "▄": "_",
        "▁": "_", "▂": ".", "▃": "-", "▅": "=", "▆": "+", "▇": "*", "⏎": "|", "≤": "<", "≥": ">",
        "’": "'", "“": '"', "”": '"', "µ": "u", "␣": "_", "‥": ":", "≠": "/", "±": "~", "√": "v",
        "▏": "|", "▕": "|", "◂": "<",
        **{chr(0x2800 + code): "*" for code in range(1, 256)},
        "\u2800": " ",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """The looks of this terminal; `style` and `text` are what the widgets call."""

    depth: Depth = Depth.FULL
    unicode: bool = True
    dark: bool = True

    @classmethod
    def detect(
        cls, *, colors: str | None, no_color: bool, encoding: str, environ: Mapping[str, str]
    ) -> Ink:
        """Read the terminal: `colors` is Rich's name of its colour system."""
        if no_color or colors is None:
            depth = Depth.NONE
        elif colors in ("truecolor", "256"):
            depth = Depth.FULL
        else:
            depth = Depth.BASIC
        # The Linux console has 256 glyphs in its font: no braille, no eighth blocks.
        unicode = encoding.lower().replace("-", "") == "utf8" and environ.get("TERM") != "linux"
        return cls(depth=depth, unicode=unicode and not environ.get("DEADBAND_ASCII"))

    @property
    def glyph_map(self) -> bool:
        """Whether the heat map must be drawn in glyphs."""
        return self.depth is not Depth.FULL

    @property
    def theme(self) -> str:
        """Name of the theme to start with."""
        if self.depth is not Depth.FULL:
            return PLAIN_THEME
        return DARK_THEME if self.dark else LIGHT_THEME

    def on(self, *, dark: bool) -> Ink:
        """The same terminal with another ground."""
        return replace(self, dark=dark)

    def text(self, text: str) -> str:
        """The text with glyphs that this terminal can show, cell for cell."""
        if self.unicode:
            return text
        return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")

    def style(self, name: str) -> Style:
        """How a style name looks."""
        if name.startswith("heat."):
            return _heat(name, dark=self.dark)
        if self.depth is Depth.FULL:
            return _full(name, dark=self.dark)
        return _few(name, colors=self.depth is Depth.BASIC)


# Kept: a picture asks for some hundred styles, always the same ones.


@lru_cache(512)
def _heat(name: str, *, dark: bool) -> Style:
    palette = (DARK if dark else LIGHT).heat
    _, above, below = name.split(".")
    return Style(
        color=palette[int(above)] if above else None,
        bgcolor=palette[int(below)] if below else None,
    )


@lru_cache(256)
def _full(name: str, *, dark: bool) -> Style:
    palette = DARK if dark else LIGHT
    kind, _, rest = name.partition(".")
    if kind == "badge":
        ground = {"crit": palette.crit, "warn": palette.warn, "info": palette.info}.get(rest)
        if ground is None:
            return Style(color=palette.text, bgcolor=palette.frame)
        return Style(color=palette.badge_text, bgcolor=ground, bold=True)
    colors = {
        "text": palette.text, "strong": palette.strong, "title": palette.strong,
        "key": palette.strong, "dim": palette.dim, "faint": palette.faint, "band": palette.band,
        "line": palette.line, "spark": palette.spark,
        "info": palette.info, "warn": palette.warn, "crit": palette.crit,
    }  # fmt: skip
    bold = name in ("title", "key", "warn", "crit")
    return Style(color=colors.get(name), bold=bold or None)


@lru_cache(256)
def _few(name: str, *, colors: bool) -> Style:
    kind, _, rest = name.partition(".")
    signal = {"crit": "red", "warn": "yellow", "info": "blue"}.get(rest or name)
    color = signal if colors else None
    if kind == "badge":
        return Style(color=color, reverse=True, bold=True)
    # Not what is merely strong: where colours are few, bold is what tells the abnormal.
    bold = name in ("title", "key", "warn", "crit", "info")
    return Style(color=color, bold=bold or None)
