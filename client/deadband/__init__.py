"""deadband watches a training run: `deadband.watch(model, optimizer)` and `watch.step(loss=loss)`.

Importing it imports neither torch nor anything heavy; that comes with the first `watch`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deadband.errors import Collapsed, DeadbandError
    from deadband.start import watch
    from deadband.watching import Watch

__version__ = "0.1.0"
__all__ = ["Collapsed", "DeadbandError", "Watch", "__version__", "watch"]


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module 'deadband' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


_HOMES = {
    "Collapsed": "deadband.errors",
    "DeadbandError": "deadband.errors",
    "Watch": "deadband.watching",
    "watch": "deadband.start",
}
"""Public name -> where it lies; loaded when it is first asked for."""


def __dir__() -> list[str]:
    return __all__
