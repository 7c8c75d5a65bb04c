"""deadband watches a training run: `deadband.watch(model, optimizer)` and `watch.step(loss=loss)`.

Importing it imports neither torch nor anything heavy; that comes with the first `watch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deadband.errors import Collapsed, DeadbandError
    from deadband.watching import Watch, watch

__version__ = "0.1.0"
__all__ = ["Collapsed", "DeadbandError", "Watch", "__version__", "watch"]


def __getattr__(name: str) -> Any:
    if name in ("Watch", "watch"):
        from deadband import watching as module

        globals().update(Watch=module.Watch, watch=module.watch)
        return globals()[name]
    if name in ("Collapsed", "DeadbandError"):
        from deadband import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'deadband' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
