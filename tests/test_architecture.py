"""Who may import whom: checked by the linter, and the linter's bans are checked here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MONITOR = ROOT / "monitor" / "deadband_monitor"
TUI = MONITOR / "tui"

BANNED = [
    ("client/deadband", "import deadband_monitor"),
    ("client/deadband", "from deadband_monitor.metrics import LAYER_METRICS"),
    ("client/deadband", "import deadband_demos"),
    ("client/deadband", "from textual.app import App"),
    ("client/deadband", "import rich"),
    ("client/deadband", "from . import wire"),
    ("monitor/deadband_monitor", "import torch"),
    ("monitor/deadband_monitor", "from torch import nn"),
    ("monitor/deadband_monitor", "from textual.app import App"),
    ("monitor/deadband_monitor", "import deadband_demos"),
    ("monitor/deadband_monitor", "from deadband import watch"),
    ("monitor/deadband_monitor/tui", "import torch"),
    ("monitor/deadband_monitor/tui", "from deadband import watch"),
    ("monitor/deadband_monitor/tui", "import deadband_demos"),
    ("demos/deadband_demos", "import deadband_monitor"),
    ("demos/deadband_demos", "import textual"),
]
ALLOWED = [
    ("client/deadband", "import torch"),
    ("monitor/deadband_monitor", "from deadband.wire import Flag"),
    ("monitor/deadband_monitor/tui", "from textual.app import App"),
    ("demos/deadband_demos", "import deadband"),
]


def lint(folder: str, snippet: str) -> str:
    """What ruff says of a module in `folder` that consists of `snippet`, of imports only."""
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "TID", "--output-format", "concise"]
    done = subprocess.run(
        [*ruff, "--stdin-filename", f"{folder}/snippet.py", "-"],
        input=snippet + "\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after `statement`."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(("folder", "snippet"), BANNED)
def test_the_linter_bans_this_import(folder: str, snippet: str) -> None:
    assert "TID25" in lint(folder, snippet)


@pytest.mark.parametrize(("folder", "snippet"), ALLOWED)
def test_the_linter_lets_this_import_pass(folder: str, snippet: str) -> None:
    assert "TID25" not in lint(folder, snippet)


@pytest.mark.parametrize("file", sorted(MONITOR.rglob("*.py")), ids=lambda file: file.stem)
def test_of_the_client_the_monitor_imports_the_wire_only(file: Path) -> None:
    ours = {name for name in imports(file) if name.split(".")[0] == "deadband"}
    assert all(name == "deadband" or (name + ".").startswith("deadband.wire.") for name in ours)


def test_demos_know_the_public_names_of_deadband_only() -> None:
    for file in (ROOT / "demos").rglob("*.py"):
        assert not [name for name in imports(file) if name.startswith("deadband.")], file


def test_sockets_are_opened_at_the_edges_only() -> None:
    edges = [ROOT / "client/deadband/sender.py"]
    # Keys are made and the library is asked what it can, without a socket.
    edges += [MONITOR / name for name in ("hub", "source", "keys.py", "doctor")]
    for file in [*(ROOT / "client").rglob("*.py"), *MONITOR.rglob("*.py")]:
        if not any(file.is_relative_to(edge) for edge in edges):
            assert "zmq" not in {name.split(".")[0] for name in imports(file)}, file


def test_rules_statistics_state_and_drawing_touch_no_files_sockets_or_clocks() -> None:
    edges = {"zmq", "sqlite3", "socket", "subprocess", "threading", "time", "textual"}
    for pure in ("rules", "statistics", "ranks", "state", "tui/draw"):
        for file in (MONITOR / pure).rglob("*.py"):
            used = {name.split(".")[0] for name in imports(file)}
            assert not used & edges, file


def test_importing_deadband_loads_neither_torch_nor_textual_nor_the_monitor() -> None:
    loaded = loaded_by("import deadband")
    assert not loaded & {"torch", "textual", "deadband_monitor", "zmq", "numpy"}


def test_the_hub_loads_neither_torch_nor_textual() -> None:
    loaded = loaded_by("import deadband_monitor.hub.server, deadband_monitor.source.open")
    assert "numpy" in loaded
    assert not loaded & {"torch", "textual"}


def test_the_command_line_loads_no_torch_and_textual_only_to_draw() -> None:
    loaded = loaded_by("import deadband_monitor.cli")
    assert not loaded & {"torch", "textual"}


def test_the_public_names_are_sorted_and_there() -> None:
    import deadband

    assert deadband.__all__ == sorted(deadband.__all__)
    for name in deadband.__all__:
        assert getattr(deadband, name) is not None


def test_every_module_says_what_it_is_for_in_a_few_lines() -> None:
    for package in ("client", "monitor", "demos"):
        for file in (ROOT / package).rglob("*.py"):
            doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
            assert doc, file
