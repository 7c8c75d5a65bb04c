"""Every key of the terminal UI, declared once: bindings, key line and help come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding, BindingType

from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS

HEAT_METRICS = (
    "out_variance",
    "saturation",
    "weight_spread",
    "grad_rms",
    "update_ratio",
    "dead_units",
    "out_rms",
    "out_grad_rms",
)
"""What keys 1 to 8 put on the heat map."""

NOTHING: Mapping[str, str] = {}
DASHBOARD, LAYER, FLAG, PICKER, OUTPUT = "dashboard", "layer", "flag", "picker", "output"
RANKS, COMPARE = "ranks", "compare"
RUN = (DASHBOARD, LAYER, FLAG)
ANYWHERE = (DASHBOARD, LAYER, FLAG, PICKER, OUTPUT, RANKS, COMPARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One ability and the keys that call it."""

    keys: tuple[str, ...]
    """As Textual names them; with `each`, the n-th key calls `action(n)`."""
    shown: str
    """As the key line and the help write it."""
    action: str
    label: str
    """One word for the key line."""
    help_shown: str = ""
    """As the help writes it, where it speaks for two keys."""
    doc: str
    """For the help; empty where another key speaks for this one."""
    group: str
    where: tuple[str, ...]
    rank: int = 0
    """Place in the key line, small first; 0 keeps it out."""
    each: bool = False
    replay: bool = False
    """Only means something in a recording."""
    replay_label: str = ""
    """Word for the key line in a recording, where it is another one."""

    @property
    def name(self) -> str:
        """What a settings file calls it; empty where its keys cannot be changed."""
        return "" if self.each else self.action.removeprefix("app.")


KEYS: tuple[Key, ...] = (
    Key(keys=("space",), shown="space", action="pause", label="Freeze", group="Time", rank=1,
        replay_label="Play",
        doc="freeze the picture, reading goes on; in a recording: play or pause", where=RUN),
    Key(keys=("left_square_bracket",), shown="[", action="zoom(-1)", label="Wider", group="Time",
        doc="more steps in a column, up to the whole run", where=RUN),
    Key(keys=("right_square_bracket",), shown="]", action="zoom(1)", label="Zoom", group="Time",
        rank=6, doc="fewer steps in a column: the newest part, closer", where=RUN),
    Key(keys=("left",), shown="←", help_shown="← →", action="step(-1)", label="Back",
        group="Time", doc="go back: every panel shows that step and what was known then; on again",
        where=RUN),
    Key(keys=("right",), shown="→", action="step(1)", label="Step", group="Time",
        doc="", where=RUN),
    Key(keys=("shift+left",), shown="shift+←", help_shown="shift+← →",
        action="step(-25)", label="Back", group="Time",
        doc="25 samples back, 25 on", where=RUN),
    Key(keys=("shift+right",), shown="shift+→", action="step(25)", label="On", group="Time",
        doc="", where=RUN),
    Key(keys=("colon",), shown=":", action="go_to", label="Go to", group="Time",
        doc="to a step that you type", where=RUN),
    Key(keys=("g", "home"), shown="g home", help_shown="g G", action="seek_end(False)",
        label="First", group="Time", doc="to the first step, to the newest", where=RUN),
    Key(keys=("G", "end"), shown="G end", action="seek_end(True)", label="Last",
        group="Time", doc="", where=RUN),
    Key(keys=("o",), shown="o", action="onset", label="Onset", group="Time",
        doc="to the onset of the flag at hand", where=RUN),
    Key(keys=("plus", "equals_sign"), shown="+", help_shown="+ -", action="speed(2.0)",
        label="Faster", group="Recording", doc="play twice as fast, half as fast", where=RUN,
        replay=True),
    Key(keys=("minus",), shown="-", action="speed(0.5)", label="Slower", group="Recording",
        doc="", where=RUN, replay=True),
    Key(keys=tuple("12345678"), shown="1-8", action="metric", label="Metric", group="Heat map",
        rank=5, each=True, where=(DASHBOARD, LAYER),
        doc=", ".join(LAYER_METRICS[LAYER_COLUMN[name]].title for name in HEAT_METRICS)),
    Key(keys=("m",), shown="m M", action="next_metric(1)", label="Next", group="Heat map",
        doc="the next of all metrics, the one before", where=(DASHBOARD, LAYER)),
    Key(keys=("M",), shown="M", action="next_metric(-1)", label="Before", group="Heat map",
        doc="", where=(DASHBOARD, LAYER)),
    Key(keys=("s",), shown="s", action="sort", label="Sort", group="Heat map", rank=7,
        doc="layers in order of execution, or worst first", where=(DASHBOARD, LAYER)),
    Key(keys=("z",), shown="z", action="fold", label="Fold", group="Heat map",
        rank=8,
        doc="blocks that repeat in one row, by the worst of them; and unfold",
        where=(DASHBOARD, RANKS)),
    Key(keys=("c",), shown="c", action="clock", label="Clock", group="Time",
        doc="steps or wall-clock time under the map", where=(DASHBOARD,)),
    Key(keys=("v",), shown="v", action="scale", label="Log", group="Heat map",
        doc="charts logarithmic, linear, or as the values ask for",
        where=(DASHBOARD, LAYER, COMPARE)),
    Key(keys=("slash",), shown="/", action="filter", label="Filter", group="Layers", rank=9,
        doc="only layers whose name matches a regular expression", where=(DASHBOARD, LAYER)),
    Key(keys=("j", "down"), shown="j k ↓ ↑", action="select(1)", label="Down", group="Layers",
        doc="the next layer, the one before", where=(DASHBOARD, LAYER)),
    Key(keys=("k", "up"), shown="k ↑", action="select(-1)", label="Up", group="Layers",
        doc="", where=(DASHBOARD, LAYER)),
    Key(keys=("w",), shown="w", action="follow", label="Worst", group="Layers",
        doc="follow the worst layer again", where=(DASHBOARD, LAYER)),
    Key(keys=("enter",), shown="enter", action="layer", label="Layer", group="Layers", rank=2,
        doc="all readings of the layer at hand", where=(DASHBOARD, FLAG)),
    Key(keys=("f",), shown="f", action="flags", label="Flags", group="Flags", rank=3,
        doc="flags with evidence, cause and advice", where=(DASHBOARD, LAYER)),
    Key(keys=("n",), shown="n", action="next_flag(1)", label="Next flag", group="Flags", rank=4,
        doc="the next flag (N: the one before); in a recording go there", where=RUN),
    Key(keys=("N",), shown="N", action="next_flag(-1)", label="Last flag", group="Flags",
        doc="", where=RUN),
    Key(keys=("j", "down"), shown="j k ↓ ↑", action="next_flag(1)", label="Down", group="Flags",
        doc="the next flag, the one before", where=(FLAG,)),
    Key(keys=("k", "up"), shown="k ↑", action="next_flag(-1)", label="Up", group="Flags",
        doc="", where=(FLAG,)),
    Key(keys=("j", "down"), shown="j k ↓ ↑", action="select(1)", label="Down", group="Runs",
        doc="the next run, the one before", where=(PICKER,)),
    Key(keys=("k", "up"), shown="k ↑", action="select(-1)", label="Up", group="Runs",
        doc="", where=(PICKER,)),
    Key(keys=("enter",), shown="enter", action="open", label="Open", group="Runs", rank=1,
        doc="open the run at hand", where=(PICKER,)),
    Key(keys=("space",), shown="space", action="mark", label="Mark", group="Runs", rank=2,
        doc="mark a run, or take the mark off", where=(PICKER,)),
    Key(keys=("c",), shown="c", action="compare", label="Compare", group="Runs", rank=3,
        doc="the two that are marked, or the marked one and the one at hand", where=(PICKER,)),
    Key(keys=("slash",), shown="/", action="filter", label="Filter", group="Runs", rank=4,
        doc="only runs whose name, state or verdict matches a regular expression",
        where=(PICKER,)),
    Key(keys=("x",), shown="x", action="swap", label="Swap", group="Runs", rank=1,
        doc="A becomes B", where=(COMPARE,)),
    Key(keys=("R",), shown="R", action="ranks", label="Ranks", group="Screen", rank=10,
        doc="the processes of the run, side by side", where=RUN),
    Key(keys=("a",), shown="a", action="acknowledge", label="Acknowledge", group="Flags",
        doc="seen: the flag at hand stays in the list and is quiet; once more: loud again",
        where=(DASHBOARD, LAYER)),
    Key(keys=("a",), shown="a", action="acknowledge", label="Seen", group="Flags", rank=5,
        doc="seen: the flag at hand stays in the list and is quiet; once more: loud again",
        where=(FLAG,)),
    Key(keys=("u",), shown="u", action="mute", label="Mute", group="Flags",
        doc="no bell and no colour for flags of this kind, here; once more: again",
        where=(DASHBOARD, LAYER)),
    Key(keys=("u",), shown="u", action="mute", label="Mute", group="Flags", rank=6,
        doc="no bell and no colour for flags of this kind, here; once more: again",
        where=(FLAG,)),
    Key(keys=("pagedown",), shown="PgDn", help_shown="PgDn PgUp", action="scroll_page(1)",
        label="More", group="Flags", rank=3, doc="the rest of the page, and back up",
        where=(FLAG,)),
    Key(keys=("pageup",), shown="PgUp", action="scroll_page(-1)", label="Up", group="Flags",
        doc="", where=(FLAG,)),
    Key(keys=("d",), shown="d", action="tensor", label="Tensor", group="Layers", rank=3,
        doc="spread of the outputs, the weights, their gradients", where=(LAYER,)),
    Key(keys=("h",), shown="h", action="finely", label="Histogram", group="Layers", rank=4,
        doc="the newest samples of that tensor, as finely as they can be had; and back",
        where=(LAYER,)),
    Key(keys=("D",), shown="D", action="dense", label="Dense", group="Run",
        doc="ask the run to sample each of the next steps, whatever the budget says", where=RUN),
    Key(keys=("i",), shown="i", action="note", label="Note", group="Run",
        doc="write a note into the recording, at the step that is shown", where=RUN),
    Key(keys=("ctrl+r",), shown="^r", action="retry", label="Retry", group="Run",
        doc="try a lost link again at once, not when its time comes", where=RUN),
    Key(keys=("y",), shown="y", action="copy", label="Copy", group="Screen",
        doc="the screen as plain text to the clipboard (where the terminal lets us)", where=RUN),
    Key(keys=("Y",), shown="Y", action="export", label="Export", group="Screen",
        doc="the screen as text and SVG, its readings as CSV, into this folder", where=RUN),
    Key(keys=("p",), shown="p", action="output", label="Output", group="Screen",
        doc="what the script has printed, where deadband started it", where=RUN),
    Key(keys=("t",), shown="t", action="app.theme", label="Theme", group="Screen",
        doc="dark or light", where=ANYWHERE),
    Key(keys=("ctrl+p",), shown="^p", action="app.command_palette", label="Palette", group="Screen",
        doc="search all commands", where=ANYWHERE),
    Key(keys=("ctrl+z",), shown="^z", action="app.suspend_process", label="Suspend", group="Screen",
        doc="back to the shell; `fg` returns", where=ANYWHERE),
    Key(keys=("escape",), shown="esc", action="back", label="Back", group="Screen", rank=1,
        doc="back to the screen before", where=(LAYER, FLAG, OUTPUT, RANKS, COMPARE)),
    Key(keys=("escape", "r"), shown="esc", action="runs", label="Runs", group="Screen",
        doc="back to the list of runs", where=(DASHBOARD,)),
    Key(keys=("question_mark", "f1"), shown="?", action="app.help", label="Help", group="Screen",
        rank=11, doc="this page", where=ANYWHERE),
    Key(keys=("q", "ctrl+c"), shown="q", action="app.detach", label="Detach", group="Screen",
        rank=12, replay_label="Quit", doc="leave; training is never touched",
        where=(*RUN, OUTPUT, RANKS)),
    Key(keys=("q", "ctrl+c"), shown="q", action="app.detach", label="Quit", group="Screen",
        rank=12, doc="leave", where=(PICKER, COMPARE)),
)  # fmt: skip

SIGNS: tuple[tuple[str, str], ...] = (
    ("▼ ▲", "below or above its healthy band"),
    ("!", "a flag stands on it"),
    ("◆ ◇", "the reading of the network, and of its worst layer"),
    ("[━━]", "the healthy band"),
    ("▸", "the layer at hand"),
    ("╎", "onset of a flag"),
)
"""What the marks on screen mean, for the help."""


def bindings(where: str) -> list[BindingType]:
    """The bindings of a screen."""
    return [
        Binding(
            key,
            f"{entry.action}({place})" if entry.each else entry.action,
            entry.doc or entry.label,
            show=False,
            id=entry.name or None,
        )
        for entry in KEYS
        if where in entry.where
        for place, key in enumerate(entry.keys, 1)
    ]


def key_of(name: str, changed: Mapping[str, str]) -> str:
    """How the screen writes the key of an ability."""
    return changed.get(name) or next(entry.shown for entry in KEYS if entry.name == name)


def names() -> list[str]:
    """What a settings file may give other keys."""
    return sorted({entry.name for entry in KEYS if entry.name})


def table(where: str, changed: Mapping[str, str]) -> list[Key]:
    """The keys of a screen; `changed` are those that the user has given other keys, by name."""
    return [
        replace(entry, shown=changed[entry.name], help_shown="") if entry.name in changed else entry
        for entry in KEYS
        if where in entry.where
    ]


def key_line(where: str, *, replay: bool, changed: Mapping[str, str] = NOTHING) -> list[Key]:
    """What the key line shows, most wanted first."""
    entries = table(where, changed)
    shown = [entry for entry in entries if entry.rank]
    if not replay:
        return sorted(shown, key=lambda entry: entry.rank)
    moves = [entry for entry in entries if entry.action in _REPLAY_MOVES]
    rest = [entry for entry in shown if entry not in moves]
    rest.sort(key=lambda entry: entry.rank)
    moves.sort(key=lambda entry: _REPLAY_MOVES.index(entry.action))
    return moves + rest


_REPLAY_MOVES = ("pause", "step(-1)", "step(1)", "next_flag(1)", "speed(2.0)")
"""What the key line of a recording begins with."""


def groups(where: str, changed: Mapping[str, str] = NOTHING) -> dict[str, list[Key]]:
    """Keys of a screen by group, for the help."""
    found: dict[str, list[Key]] = {}
    for entry in table(where, changed):
        if entry.doc or entry.name in changed:
            found.setdefault(entry.group, []).append(entry)
    return found
