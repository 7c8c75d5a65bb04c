"""Which process of a distributed run this is, and the run id that all of them agree on unasked.

Nothing here talks to another process: launchers say in the environment who is who, and all ranks
of a host descend from the same launcher.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_WORDS = (
    ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
)
"""How torchrun, Slurm and Open MPI name rank, world size, and world size on this host."""
_LAUNCH = (
    "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
    "SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE",
)  # fmt: skip
"""What is the same on all ranks of one launch and differs between launches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Rank and world size."""

    rank: int = 0
    world_size: int = 1
    local_size: int = 1
    """Ranks on this host, where that is known."""
    node: int = 0
    """Of the machines of the launch, where that is known."""
    launched: bool = True
    """Whether one launcher started the ranks of this machine, so that they agree unasked."""


_NODES = ("GROUP_RANK", "SLURM_NODEID")
_LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "OMPI_COMM_WORLD_RANK", "PMIX_NAMESPACE")


def place(environ: Mapping[str, str] = os.environ) -> Place:
    """Where this process stands: as torch has it, else as the launcher says."""
    local = node = 0
    for name in _NODES:
        if environ.get(name, "").isdigit():
            node = int(environ[name])
            break
    children = getattr(multiprocessing.current_process(), "_identity", ())
    launched = bool(children) or any(name in environ for name in _LAUNCHERS)
    said = Place()
    for rank, size, local_size in _WORDS:
        try:
            world = int(environ[size])
            with contextlib.suppress(KeyError, ValueError):
                local = int(environ[local_size])
            said = Place(
                rank=int(environ[rank]),
                world_size=world,
                local_size=local or world,
                node=node,
                launched=launched,
            )
            break
        except (KeyError, ValueError):
            continue
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        world = distributed.get_world_size()
        return Place(
            rank=distributed.get_rank(),
            world_size=world,
            local_size=min(local or world, world),
            node=node,
            launched=launched,
        )
    return said


def shared_token(at: Place, ordinal: int) -> str:
    """Six letters that all ranks of a run on this host find alike, and no other run does.

    Args:
        at: of this process.
        ordinal: the how manyth run of this process it is.
    """
    # Workers that one process starts are numbered on: of a second `mp.spawn` by another count.
    numbers = getattr(multiprocessing.current_process(), "_identity", ())
    spawned = numbers[0] - at.rank if numbers else 0
    words = [
        socket.gethostname(),
        _launcher(),
        str(spawned),
        str(ordinal),
        *(os.environ.get(name, "") for name in _LAUNCH),
    ]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:6]


def _launcher() -> str:
    """The nearest ancestor that knows nothing of ranks: shells in between are passed over."""
    pid = os.getppid()
    names = tuple(f"{rank}=".encode() for rank, _, _ in _WORDS)
    for _ in range(16):
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # not ours to read, or not Linux
            break
        if not any(each.startswith(names) for each in environ):
            break
        parent = _stat(pid, 3)
        if not parent.isdigit() or int(parent) <= 1:
            break
        pid = int(parent)
    return f"{pid}@{_stat(pid, 21)}"


def _stat(pid: int, field: int) -> str:
    """A field of the kernel's line on a process: from 0, 3 its parent, 21 its start."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return line.rpartition(")")[2].split()[field - 2]
