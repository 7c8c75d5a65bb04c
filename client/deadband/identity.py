"""Who runs: name and id of a run, and the first message that says so to the hub."""

from __future__ import annotations

import builtins
import os
import socket
import sys
import time
from pathlib import Path

from deadband import ranks, wire
from deadband.nodes import Nodes
from deadband.settings import Settings, take_claim


def identify(name: str | None = None) -> tuple[str, str]:
    """Name and id of a new run: what the parent process chose, else the user, else the script's."""
    global _runs
    _runs += 1
    claim = take_claim()
    title = claim.name or name or _script_name()
    if claim.run:
        return title, claim.run
    at = ranks.place()
    if at.world_size > 1:
        return title, wire.run_id(title, ranks.shared_token(at, _runs))
    return title, wire.new_run_id(title)


_runs = 0
"""Runs that this process has begun."""


def nodes_of(run: str) -> Nodes | None:
    """What tells the ranks of a run where its hub is; None where there is one rank."""
    at = ranks.place()
    return Nodes(at, _runs, run) if at.world_size > 1 else None


def greeting(run: str, name: str, settings: Settings) -> wire.Hello:
    """The first message of a client."""
    torch = sys.modules.get("torch")
    place = ranks.place()
    return wire.Hello(
        version=wire.VERSION,
        run=run,
        name=name,
        pid=os.getpid(),
        started=time.time(),
        argv=list(sys.argv),
        cwd=_folder(),
        host=socket.gethostname(),
        python=sys.version.split()[0],
        torch=str(getattr(torch, "__version__", "")),
        rank=place.rank,
        world_size=place.world_size,
        every=settings.every,
        budget=settings.budget if settings.every is None else None,
    )


def _script_name() -> str:
    if is_interactive():
        notebook = os.environ.get("JPY_SESSION_NAME", "")  # set by Jupyter's server since 2.0
        return Path(notebook).stem or "notebook" if "ipykernel" in sys.modules else "python"
    script = sys.argv[0] if sys.argv else ""
    if script in ("", "-c", "-m"):
        return "python"
    path = Path(script)
    return path.parent.name if path.stem == "__main__" else path.stem


def is_interactive() -> bool:
    """Whether a person types in commands, here or in a notebook: an error ends none of them."""
    return hasattr(builtins, "__IPYTHON__") or hasattr(sys, "ps1")


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed under us
        return ""
