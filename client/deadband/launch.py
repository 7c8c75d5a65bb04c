"""`python -m deadband.launch (SCRIPT | -m MODULE) ARGS`: runs a script exactly as python would.

Same `sys.argv`, `sys.path`, `__main__`, tracebacks and exit status; the one difference is that
models which train in it are watched.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

USAGE_STATUS = 2
"""Exit status where there is no script to run; python has the same."""
OURS = str(Path(__file__).parent) + os.sep


def main(arguments: list[str]) -> int:
    """Run what the arguments name; returns the exit status unless the script exits by itself."""
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    is_module = arguments[:1] == ["-m"]
    if is_module:
        arguments = arguments[1:]
    if not arguments:
        return _complain("no script: usage: python -m deadband.launch (SCRIPT | -m MODULE) [ARGS]")
    atexit.register(_end_by_interrupt)  # ahead of the watch's own: what comes first ends last
    _activate()
    try:
        if is_module:
            _run_module(arguments)
            return 0
        status = _run_script(arguments)
        if status:
            _ended(SystemExit(status))
        return status
    except SystemExit as error:
        _ended(error)
        raise
    except BaseException as error:
        _ended(error)
        return _report(error)


def _activate() -> None:
    """Load what watches, with the current folder out of the way: its queue.py is not for us."""
    here = sys.path.pop(0) if sys.path else ""
    from deadband import autowatch, settings

    settings.claim()
    autowatch.activate()
    sys.path.insert(0, here)


def _ended(error: BaseException) -> None:
    from deadband import autowatch

    autowatch.script_ended(error)


def _run_script(arguments: list[str]) -> int:
    path = Path(arguments[0])
    if path.is_dir() and not (path / "__main__.py").is_file():
        return _complain(f"can't run {path}: it is a folder without a __main__.py")
    is_bundle = path.is_dir() or path.suffix in (".zip", ".pyz", ".pyc")
    source = b""
    if not is_bundle:
        try:
            source = path.read_bytes()
        except OSError as error:
            return _complain(f"can't open {path}: {error.strerror}; check the name of the script")
        if b"\0" in source:
            return _complain(f"can't run {path}: it is not a Python script but a binary file")
    sys.argv[:] = arguments
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(path.resolve().parent)
    if is_bundle:
        sys.path.pop(0)
        runpy.run_path(str(path), run_name="__main__")
        return 0
    shown = str(Path.cwd() / path)  # as python does: __file__ and tracebacks name the whole path
    module = _fresh_main(shown)
    code: CodeType = compile(source, shown, "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return 0


def _run_module(arguments: list[str]) -> None:
    sys.argv[:] = ["-m", *arguments[1:]]
    _fresh_main(None)
    # What `python -m` itself calls: it runs in `__main__` and sets argv[0], file and spec.
    runpy._run_module_as_main(arguments[0])  # type: ignore[attr-defined]


def _fresh_main(path: str | None) -> ModuleType:
    """An empty `__main__`, as the interpreter makes one: classes in it can be pickled."""
    module = ModuleType("__main__")
    if path is not None:
        module.__file__ = path
        module.__dict__["__cached__"] = None
        module.__loader__ = SourceFileLoader("__main__", path)
    _KEPT.append(sys.modules["__main__"])
    sys.modules["__main__"] = module
    return module


_KEPT: list[ModuleType] = []
"""Our own `__main__`: a module that nobody holds loses its globals."""


def _report(error: BaseException) -> int:
    """Show an uncaught error as python would, without our frames; returns the exit status."""
    _strip(error)
    sys.last_type, sys.last_value = type(error), error
    sys.last_traceback = error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        _INTERRUPTED.append(error)
    return 1


_INTERRUPTED: list[BaseException] = []


def _end_by_interrupt() -> None:
    """End by the signal, as python does, so that a shell sees Ctrl-C; the last thing at exit."""
    if _INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _strip(error: BaseException | None) -> None:
    """Take our frames out of the tracebacks of an error and of those it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _without_ours(error.__traceback__)
        _strip(error.__cause__)
        error = error.__context__


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    frames: list[TracebackType] = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(OURS):
            frames.append(trace)
        trace = trace.tb_next
    following = None
    for frame in reversed(frames):
        following = TracebackType(following, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return following


def _complain(problem: str) -> int:
    from deadband import autowatch

    autowatch.stand_aside()
    sys.stderr.write(f"deadband: {problem}\n")
    return USAGE_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
