"""Which process of a distributed run this is, from the environment that launchers set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Rank and world size."""

    rank: int = 0
    world_size: int = 1


def place(environ: Mapping[str, str] = os.environ) -> Place:
    """Where this process stands: torchrun, Slurm and Open MPI say it in different words."""
    for rank, size in (
        ("RANK", "WORLD_SIZE"),
        ("SLURM_PROCID", "SLURM_NTASKS"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ):
        try:
            return Place(rank=int(environ[rank]), world_size=int(environ[size]))
        except (KeyError, ValueError):
            continue
    return Place()
