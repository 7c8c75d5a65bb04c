"""What the state line says of the run that is looked at, and of the way to it."""

from __future__ import annotations

import time

from deadband_monitor.pace import asked_for
from deadband_monitor.source.base import Player, Source
from deadband_monitor.state.run_state import RunState
from deadband_monitor.tui.draw.state_line import Head, Standing, standing
from deadband_monitor.tui.feed import Feed
from deadband_monitor.tui.view import View

RATE_WINDOW = 64
"""Samples that the rate is taken over."""


def head(
    feed: Feed, view: View, now: float, *, newest: int | None, slow: bool, retry_key: str = ""
) -> Head:
    """Everything that the line needs.

    Args:
        feed: what is read.
        view: what is shown of it.
        now: seconds since the epoch.
        newest: the newest step of a live run whose past is shown.
        slow: whether the terminal is too slow for the pictures.
        retry_key: what to press for a lost link to be tried at once.
    """
    source = feed.source
    state = source.state
    player = feed.player
    status = state.status
    moving = source.link == "live" and (status is None or status.status in ("running", "silent"))
    silent = status is not None and status.status == "silent"
    held = view.frozen
    return Head(
        name=state.info.hello.run if state.info else source.name,
        standing=_standing(source, player, now, feed.error, retry_key),
        step=view.state.step,
        last_step=player.last_step if player else None,
        rate=_rate(state) if moving and not silent else float("nan"),
        age_s=now - source.last_heard if moving else float("nan"),
        behind=None if newest is None else newest - state.step,
        where=source.where,
        every=status.interval if status else 1,
        dense_steps=asked_for(status.pace, state.step) if status and moving else 0,
        verdict=state.verdict,
        flags=[flag for flag in state.open_flags if view.loud(flag)],
        frozen_steps=state.step - held.step if held else None,
        slow_link=slow,
        judged=state.latest is not None,
    )


def _standing(
    source: Source, player: Player | None, now: float, broken: str, retry_key: str
) -> Standing:
    state = source.state
    status = state.status
    if player is not None and not broken:
        sign, word = ("▶", f"REPLAY x{player.speed:g}") if player.playing else ("❚❚", "REPLAY")
        ended = status.status if status and status.status not in ("running", "silent") else ""
        if source.trouble:
            return Standing(sign="✗", word="LINK LOST", style="warn", detail=source.trouble)
        return Standing(sign=sign, word=word, style="info", detail=ended)
    return standing(
        link=source.link,
        status=status.status if status else "",
        error=status.error if status else "",
        quiet_s=_quiet_s(source, now),
        heard=time.strftime("%H:%M:%S", time.localtime(source.last_heard)),
        sampled=state.latest is not None,
        known=state.info is not None,
        broken=broken,
        age_s=now - source.last_heard,
        where=source.where,
        trouble=source.trouble,
        retry_key=retry_key,
    )


def _quiet_s(source: Source, now: float) -> float:
    """Since the newest sample; by the hub's clock up to its last word, then by ours."""
    status, latest = source.state.status, source.state.latest
    before = status.time - latest.time if status and latest else 0.0
    return max(before, 0.0) + now - source.last_heard


def _rate(state: RunState) -> float:
    """Steps a second over the newest samples."""
    recent = state.recent
    if len(recent) < 2:
        return float("nan")
    first, last = recent[max(len(recent) - RATE_WINDOW, 0)], recent[-1]
    span = last.time - first.time
    return (last.step - first.step) / span if span > 0 else float("nan")
