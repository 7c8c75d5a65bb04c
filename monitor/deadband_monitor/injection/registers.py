"""The registers that every x86-64 has, as gdb wants them described.

The names, their order and sizes are the features `org.gnu.gdb.i386.core`, `.sse`, `.linux` and
`.segments` of gdb's manual ("Standard Target Features", i386).
"""

from __future__ import annotations

from collections.abc import Iterable


def _feature(name: str, registers: Iterable[tuple[str, int, str]]) -> str:
    described = "".join(
        f'<reg name="{register}" bitsize="{bits}" type="{kind}"/>'
        for register, bits, kind in registers
    )
    return f'<feature name="org.gnu.gdb.i386.{name}">{described}</feature>'


def _described() -> str:
    core = [(name, 64, "int64") for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi")]
    core += [("rbp", 64, "data_ptr"), ("rsp", 64, "data_ptr")]
    core += [(f"r{number}", 64, "int64") for number in range(8, 16)]
    core += [("rip", 64, "code_ptr"), ("eflags", 32, "int32")]
    core += [(name, 32, "int32") for name in ("cs", "ss", "ds", "es", "fs", "gs")]
    core += [(f"st{number}", 80, "i387_ext") for number in range(8)]
    state = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
    core += [(name, 32, "int") for name in state]
    sse = [(f"xmm{number}", 128, "uint128") for number in range(16)]
    features = (
        _feature("core", core),
        _feature("sse", [*sse, ("mxcsr", 32, "int32")]),
        _feature("linux", [("orig_rax", 64, "int")]),
        _feature("segments", [("fs_base", 64, "int"), ("gs_base", 64, "int")]),
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>'
        "<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>"
        f"{''.join(features)}</target>"
    )


BASIC_X86_64 = _described()
