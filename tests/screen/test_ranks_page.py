"""The page of ranks: who differs is seen, who is alike shares a row."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from pictures import LARGE, SMALL, app_on, collapsed, healthy, shown

from deadband.wire import Flag, FlagChange, RankStatus, Status
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import STARTED
from deadband_monitor.tui.draw.ranks import MANY, RankLine, folded, rank_rows, span
from deadband_monitor.tui.draw.text import plain
from deadband_monitor.tui.screens.ranks import RanksScreen

LINE = RankLine(
    ranks=(0,), host="gpu-07", status="running", step=120, samples=90, dropped=0, loss=4.1,
    grad_norm=0.004, out_variance=0.88, severity="", kinds=(), error="", trend="▅▅▅",
)  # fmt: skip


def ranks(*status: str) -> list[RankStatus]:
    return [
        RankStatus(
            rank=rank, pid=100 + rank, host="gpu-07", status=word, step=90, samples=90, dropped=0,
            overhead=0.01, error="ValueError: a bad shard" if word == "failed" else "",
        )
        for rank, word in enumerate(status)
    ]  # fmt: skip


def with_ranks(source: FakeSource, *status: str) -> FakeSource:
    state = source.state
    source.apply(
        Status(
            seq=state.seq + 1, time=STARTED + 30, status="running", step=state.step,
            samples=state.samples, dropped=0, overhead=0.006, ranks=ranks(*status),
        )
    )  # fmt: skip
    return source


def test_alike_neighbours_share_a_row_and_one_that_differs_does_not() -> None:
    lines = [replace(LINE, ranks=(rank,), loss=4.1 + rank / 100) for rank in range(8)]
    lines[5] = replace(lines[5], loss=9.0)
    assert [line.ranks for line in folded(lines)] == [(0, 1, 2, 3, 4), (5,), (6, 7)]


@pytest.mark.parametrize(
    "change",
    [{"status": "failed"}, {"kinds": ("nonfinite",)}, {"loss": float("nan")}, {"out_variance": 0}],
)
def test_whatever_differs_keeps_ranks_apart(change: dict[str, object]) -> None:
    other = replace(LINE, ranks=(1,), **change)  # type: ignore[arg-type]
    assert len(folded([LINE, other])) == 2


def test_readings_that_nobody_has_are_alike() -> None:
    one = replace(LINE, loss=float("nan"))
    assert len(folded([one, replace(one, ranks=(1,))])) == 1


def test_ranks_are_written_as_ranges() -> None:
    assert span((5,)) == "5"
    assert span((2, 3, 4)) == "2-4"
    assert span((0, 1, 2, 3, 7)) == "0-3 7"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_rows_are_as_wide_as_the_screen_and_count_what_is_left_out(width: int) -> None:
    rows = rank_rows([replace(LINE, ranks=(rank,)) for rank in range(9)], width, 6)
    assert len(rows) == 6
    assert all(len(plain([row])) == width for row in rows)
    assert "+5 more" in plain(rows)


async def test_one_process_is_one_rank() -> None:
    app = app_on(with_ranks(healthy()))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("R")
        assert isinstance(app.screen, RanksScreen)
        assert "● live" in shown(app)
        assert str(app.screen.table.border_title) == "1 rank"


async def test_a_failed_rank_says_why_and_z_folds_the_others() -> None:
    app = app_on(with_ranks(healthy(), "running", "running", "running", "failed"))
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("R")
        await pilot.pause()
        assert "ValueError: a bad shard" in shown(app)
        assert "1-2" not in shown(app)
        await pilot.press("z")
        await pilot.pause()
        assert "1-2" in shown(app), "nothing was heard of these two beside their state"
        await pilot.press("escape", "q")
    assert app.return_value == 0


async def test_a_flag_of_one_rank_stands_at_that_rank() -> None:
    source = with_ranks(collapsed(), "running", "running")
    flag = source.state.open_flags[0]
    source.apply(
        FlagChange(
            seq=source.state.seq + 1,
            step=source.state.step,
            flag=msgspec.structs.replace(flag, ranks=[1]),
        )
    )
    app = app_on(source)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("R")
        await pilot.pause()
        rows = [plain([row]) for row in app.screen.query_one("#ranks").rows]  # type: ignore[attr-defined]
        assert flag.kind not in rows[1]
        assert flag.kind in rows[2]
        assert "▼" in rows[2]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("count", [8, 1024])
async def test_the_one_that_differs_is_seen_among_many(count: int, size: tuple[int, int]) -> None:
    source = with_ranks(healthy(), *["running"] * count)
    odd = count - 3
    source.apply(
        FlagChange(
            seq=source.state.seq + 1,
            step=source.state.step,
            flag=Flag(
                id=99, kind="rank-divergence", severity="critical", model="model", layer="",
                onset_step=80, raised_step=82, message=f"rank {odd}: other weights", ranks=[odd],
            ),
        )
    )  # fmt: skip
    app = app_on(source)
    async with app.run_test(size=size) as pilot:
        await pilot.press("R")
        await pilot.pause()
        assert isinstance(app.screen, RanksScreen)
        table = app.screen.query_one("#ranks")
        rows = [plain([row]) for row in table.rows]  # type: ignore[attr-defined]
        (own,) = [row for row in rows if "rank-divergence" in row]
        assert f" {odd} " in own
        if count > MANY:
            assert own is rows[1], "worst first"
            assert f"× {count - 1:,}" in rows[2]
            assert len(rows) <= size[1]
            await pilot.press("z")
            await pilot.pause()
            assert "more" in plain(table.rows)  # type: ignore[attr-defined]
