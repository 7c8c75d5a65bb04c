"""What a user may set for all runs: a TOML file of theirs, and the few choices we remember.

The file is only read. Where it is wrong, the screen opens all the same and says what to mend.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from deadband import wire
from deadband_monitor.errors import BadSettings

FASTEST_FPS = 20.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings file, all of it optional."""

    theme: str = ""
    """`dark`, `light` or a theme of Textual's; empty: as it was left."""
    fps: float = 4.0
    """Pictures a second at most."""
    metric: str = "out_variance"
    """What the heat map shows at first."""
    sort: str = "order"
    """`order` of execution, or `worst` first."""
    fold: bool = False
    """Repeated blocks in one row of the map."""
    bell: bool = True
    """Ring for a critical flag."""
    notify: bool = False
    """Desktop notification for a critical flag (OSC 9), where the terminal passes it on."""
    keys: dict[str, str] = {}
    """Name of an ability to the keys for it, separated by commas."""
    hosts: list[str] = []
    """Hosts whose runs are in the list of runs, as ssh takes them: `gpu-07`, `me@gpu-11`."""
    ssh: str = "ssh"
    """The command that gets there, with options: `ssh -F other_config`, a wrapper."""
    via: dict[str, str] = {}
    """Name of a place to the command that gets there without ssh: `docker exec -i trainer`."""
    remote_commands: dict[str, str] = {}
    """Name of a host to the deadband there, where it is not found by itself."""


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered without being asked for."""

    theme: str = ""


def settings_path() -> Path:
    """`$DEADBAND_SETTINGS`, else `deadband/settings.toml` in the user's folder of settings."""
    named = os.environ.get("DEADBAND_SETTINGS")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "deadband" / "settings.toml"


def read_settings() -> Settings:
    """The user's settings; what comes with deadband where there are none.

    Raises:
        BadSettings: the file cannot be read or says something that it cannot.
    """
    path = settings_path()
    try:
        settings = msgspec.toml.decode(path.read_bytes(), type=Settings)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise BadSettings(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BadSettings(f"{path}: {error}; the defaults are used") from error
    if not 0 < settings.fps <= FASTEST_FPS:
        raise BadSettings(f"{path}: fps is {settings.fps:g}, and may be above 0 up to 20")
    if settings.sort not in ("order", "worst"):
        raise BadSettings(f"{path}: sort is {settings.sort!r}, and may be 'order' or 'worst'")
    return settings


def read_choices() -> Choices:
    """What was remembered; nothing where it cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(_choices_path().read_bytes(), type=Choices)
    return Choices()


def remember(choices: Choices) -> None:
    """Keep the choices for the next time; a folder that cannot be written is nobody's trouble."""
    path = _choices_path()
    with suppress(OSError):
        wire.ensure_private(path.parent)
        path.write_bytes(msgspec.json.encode(choices))


def _choices_path() -> Path:
    return wire.home() / "choices.json"
