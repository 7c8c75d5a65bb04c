"""`deadband keys`: the keys that let viewers of other machines in over TCP."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deadband_monitor import keys
from deadband_monitor.commands.base import Command, say


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow", metavar="KEY", help="let the viewer with this key in, on this machine's hubs"
    )
    parser.add_argument("--name", default="", help="whose key it is, for whoever reads the file")


def _run(arguments: Namespace) -> int:
    if arguments.allow:
        keys.allow(arguments.allow, arguments.name)
        say(f"allowed; {len(keys.allowed()) - 1} other viewers may come in over TCP now")
        return 0
    say("this machine's hubs (for `deadband attach tcp://HOST:PORT --key KEY` elsewhere):")
    say(f"    {keys.own(keys.HUB).public}")
    say("this machine's viewer (for `deadband keys --allow KEY` where the run is):")
    say(f"    {keys.own(keys.VIEWER).public}")
    say(f"their secret halves lie in {keys.folder()}, readable by you alone")
    return 0


COMMAND = Command(
    name="keys",
    summary="the keys for viewers that come over TCP; --allow KEY lets one in",
    prepare=_prepare,
    run=_run,
)
