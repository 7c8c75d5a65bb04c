"""Zero-code runs: finds models, optimisers and the loss of a script that never heard of deadband.

Waits for the script to import torch, then for a training forward of a module whose parameters an
optimiser holds. The script's own call of `deadband.watch` wins.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deadband import settings

if TYPE_CHECKING:
    from deadband.discovery import Discovery


class TorchArrival(MetaPathFinder):
    """Waits in `sys.meta_path` until the script imports torch; imports nothing by itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find torch as everybody would, and be told when it is there."""
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_tell(module: ModuleType) -> None:
            del loader.exec_module  # the loader is as it was
            execute(module)
            _torch_is_here()

        loader.exec_module = execute_and_tell
        return spec


_discovery: Discovery | None = None
_ended_by: BaseException | None = None


def activate() -> None:
    """Watch whatever trains in this process from now on."""
    if not settings.is_enabled():
        return
    _listen()
    if "torch" in sys.modules:
        _torch_is_here()
    else:
        sys.meta_path.insert(0, TorchArrival())


def join_late() -> None:
    """Watch whatever trains in this process already, from its optimiser's next step on."""
    global _discovery, _stood_aside
    from deadband.discovery import Discovery

    _stood_aside = False
    _listen()
    _discovery = Discovery(late=True)


def leave() -> str | None:
    """Take everything back; the run that was watched, "" where none was found yet.

    None: nothing was begun here by `join_late`.
    """
    global _discovery
    if _discovery is None or not _discovery.late:
        return None
    from deadband import endings, start

    left, _discovery = _discovery, None
    left.close()
    start.ON_WATCH.remove(stand_aside)
    endings.AT_END.remove(_at_end)
    return left.watch.run if left.watch is not None else ""


def is_watching() -> bool:
    """Whether something is watched here, or looked for."""
    from deadband import endings

    looks = _discovery is not None and not _stood_aside
    return looks or endings.any_open() or any(isinstance(f, TorchArrival) for f in sys.meta_path)


def _listen() -> None:
    from deadband import endings, start

    start.ON_WATCH.append(stand_aside)
    endings.AT_END.append(_at_end)


def stand_aside() -> None:
    """The script calls `deadband.watch` itself."""
    global _stood_aside
    _stood_aside = True
    for finder in list(sys.meta_path):
        if isinstance(finder, TorchArrival):
            sys.meta_path.remove(finder)
    if _discovery is not None:
        _discovery.close()


_stood_aside = False


def script_ended(error: BaseException) -> None:
    """The launcher knows how the script ended."""
    global _ended_by
    _ended_by = error


def _torch_is_here() -> None:
    global _discovery
    if not _stood_aside:
        from deadband.discovery import Discovery

        _discovery = Discovery()


def _looked_in_vain() -> bool:
    if _stood_aside:
        return False
    return _discovery is None or (_discovery.watch is None and not _discovery.late)


def _at_end() -> BaseException | None:
    """How the script ended; says so where nothing was found to watch."""
    error = _ended_by
    if isinstance(error, SystemExit):
        code = error.code
        error = None if code is None or code == 0 else error
    if error is None and _looked_in_vain():
        looked = (
            "no module was called in training mode whose parameters a torch optimiser holds"
            if _discovery is not None
            else "the script never imported torch"
        )
        sys.stderr.write(
            f"deadband: no model found: {looked}; to watch a loop of your own, call "
            "watch = deadband.watch(model, optimizer) and watch.step(loss=loss) in it\n"
        )
    return error
