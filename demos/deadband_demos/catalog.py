"""Which demos there are, what deadband should say about each, and where its script lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One bundled training script."""

    name: str
    summary: str
    """One line for the list."""
    cause: str
    """The cause that deadband names when it fails; empty for the healthy one."""
    remedy: str
    """What `--healthy` changes; empty for the healthy one."""
    from_step: int = 1
    """First step of the fault."""

    @property
    def script(self) -> Path:
        """The file to read, and to run."""
        return Path(__file__).parent / f"{self.name.replace('-', '_')}.py"


CATALOG = (
    Demo(
        name="healthy",
        summary="a small CNN that learns: what all should look like",
        cause="",
        remedy="",
    ),
    Demo(
        name="lr-too-high",
        summary="learns well, until a schedule bug raises the learning rate to 1",
        cause="learning-rate-too-high",
        remedy="the schedule scales the base learning rate of 0.001",
        from_step=301,
    ),
    Demo(
        name="saturated-sigmoid",
        summary="sigmoid units whose large bias holds them at 1, whatever comes in",
        cause="saturating-activation",
        remedy="the bias starts at 0",
    ),
    Demo(
        name="constant-init",
        summary="all weights start equal, so all units of a layer stay one unit",
        cause="constant-initialisation",
        remedy="random weights (Xavier)",
    ),
    Demo(
        name="dying-relu",
        summary="a large negative bias switches every ReLU off before the first step",
        cause="dying-relu",
        remedy="the bias starts at 0",
    ),
    Demo(
        name="unnormalised-inputs",
        summary="one raw feature, a clock in seconds, drowns the 64 pixels",
        cause="unnormalised-inputs",
        remedy="every feature is standardised",
    ),
)
