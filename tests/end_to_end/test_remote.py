"""Runs on another host, through real pipes to the real far side."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from far_side import COMMAND, QUICK, connected, far_over, live_source, script
from processes import RUN, ScriptedTraining, await_end, ended, follow, has_samples

from deadband import wire
from deadband.wire import What
from deadband_monitor.cli import main
from deadband_monitor.errors import LinkLost, SourceError, UnknownRun
from deadband_monitor.remote.far import Far
from deadband_monitor.remote.link import Link
from deadband_monitor.remote.looks import COLUMNS
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.open import open_past
from deadband_monitor.source.remote import RemoteHost
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.state.run_state import RunState
from deadband_monitor.tui.keys import DASHBOARD
from deadband_monitor.tui.view import View
from deadband_monitor.tui.wishes import first_wish, wish

Trainings = Callable[..., ScriptedTraining]
HERE = ["--via", "env", "--remote-command", COMMAND]


@pytest.fixture
def host(home: Path) -> Iterator[RemoteHost]:
    made = connected(far_over(home))
    yield made
    made.close()


def opened(far: Far) -> str:
    """Why that host cannot be connected to."""
    with pytest.raises(LinkLost) as caught:
        connected(far)
    return str(caught.value)


def test_a_run_behind_a_pipe_is_the_run(training: ScriptedTraining, host: RemoteHost) -> None:
    hub = training.start()
    training.do("frames 5")
    with closing(live_source(host, "train")) as source:
        follow(source, has_samples(5))
        training.do("frames 35")
        follow(source, has_samples(40))
        assert (source.link, source.where, source.trouble) == ("live", "box via env", "")
        training.do("bye finished")
        follow(source, ended)
        await_end(hub)
        replayed = ReplaySource(wire.recording_path(RUN))
        assert source.state.pack() == replayed.state.pack()
        replayed.close()


def test_of_a_remote_run_that_has_ended_another_metric_can_be_shown(
    training: ScriptedTraining, host: RemoteHost
) -> None:
    hub = training.start()
    training.do("frames 20")
    view = View()
    with closing(live_source(host, RUN)) as source:
        source.want(first_wish(view))
        follow(source, lambda it: it.state.step == 20)
        training.do("bye finished")
        follow(source, ended)
        await_end(hub)
        view.live = source.state
        view.show_metric("weight_rms")
        source.want(wish(view, DASHBOARD))
        source.refresh(0.0)
        assert not source.lacks
        with closing(ReplaySource(wire.recording_path(RUN))) as replayed:
            assert source.state.pack(COLUMNS) == replayed.state.pack(COLUMNS)


def test_kill_9_on_the_far_hub_is_a_lost_run(training: ScriptedTraining, host: RemoteHost) -> None:
    hub = training.start()
    training.do("frames 8")
    with closing(live_source(host, RUN)) as source:
        follow(source, has_samples(8))
        os.kill(hub, signal.SIGKILL)
        await_end(hub)
        follow(source, ended)
        assert source.state.status is not None
        assert source.state.status.status == "lost"


def test_what_a_login_shell_prints_is_skipped(home: Path, tmp_path: Path) -> None:
    noise = script(
        tmp_path,
        "noisy",
        "echo 'Welcome to box'; echo '#deadband'; printf 'no newline'\nexec \"$@\"",
    )
    with closing(connected(far_over(home, before=noise))) as there:
        assert there.runs() == []


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_link_that_is_cut_ten_times_loses_doubles_and_reorders_nothing(
    training: ScriptedTraining, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.start()
    training.do("frames 3")
    taken: list[int] = []
    apply = RunState.apply

    def noted(state: RunState, event: wire.Event) -> None:
        taken.append(event.seq)
        apply(state, event)

    with (
        closing(connected(far_over(home), QUICK)) as host,
        closing(live_source(host, RUN)) as source,
    ):
        follow(source, has_samples(3))
        first = source.state.seq
        monkeypatch.setattr(RunState, "apply", noted)
        for cut in range(1, 11):
            os.kill(host.link.pid, signal.SIGKILL)
            training.do("frames 4")
            follow(source, lambda it: it.link == "lost")
            follow(source, has_samples(3 + 4 * cut))
            assert source.link == "live"
            assert host.link.breaks == cut
        monkeypatch.setattr(RunState, "apply", apply)
        training.do("bye finished")
        follow(source, ended)
        assert taken == list(range(first + 1, first + 1 + len(taken)))
        with closing(ReplaySource(wire.recording_path(RUN))) as replayed:
            assert source.state.pack() == replayed.state.pack()
            assert replayed.state.samples == 43


def test_a_pipe_that_hangs_is_dead_and_replaced(training: ScriptedTraining, home: Path) -> None:
    training.start()
    training.do("frames 3")
    with (
        closing(connected(far_over(home), QUICK)) as host,
        closing(live_source(host, RUN)) as source,
    ):
        follow(source, has_samples(3))
        stopped = host.link.pid
        os.kill(stopped, signal.SIGSTOP)
        training.do("frames 3")
        follow(source, lambda it: it.link == "lost")
        assert source.trouble
        follow(source, has_samples(6))
        assert host.link.pid not in (0, stopped)
        assert source.trouble == ""
        await_end(stopped)


def test_a_pipe_that_was_only_slow_is_taken_up_again_where_no_new_one_can_be_had(
    training: ScriptedTraining, home: Path, tmp_path: Path
) -> None:
    """As with a password: the connection that is there is the only one."""
    training.start()
    training.do("frames 3")
    once = script(tmp_path, "once", f'mkdir {tmp_path}/taken 2>/dev/null || exit 1; exec "$@"')
    far = far_over(home, before=once)
    with closing(connected(far, QUICK)) as host, closing(live_source(host, RUN)) as source:
        follow(source, has_samples(3))
        slow = host.link.pid
        os.kill(slow, signal.SIGSTOP)
        training.do("frames 3")
        follow(source, lambda it: it.link == "lost")
        assert host.link.pid == 0
        os.kill(slow, signal.SIGCONT)
        follow(source, has_samples(6))
        assert (host.link.pid, host.link.breaks) == (slow, 1)


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_hub_that_hangs_is_lost_though_the_link_is_well(
    training: ScriptedTraining, host: RemoteHost
) -> None:
    hub = training.start()
    training.do("frames 3")
    with closing(live_source(host, RUN)) as source:
        follow(source, has_samples(3))
        os.kill(hub, signal.SIGSTOP)
        try:
            follow(source, lambda it: it.link == "lost")
            assert source.trouble == "the hub there does not answer"
            assert host.link.up
        finally:
            os.kill(hub, signal.SIGCONT)
        training.do("frames 1")
        follow(source, has_samples(4))


def test_the_past_of_a_remote_run_is_that_of_its_recording(
    training: ScriptedTraining, host: RemoteHost
) -> None:
    training.start()
    training.do("frames 60")
    with closing(live_source(host, RUN)) as source:
        follow(source, has_samples(60))
        with (
            closing(open_past(source)) as past,
            closing(ReplaySource(wire.recording_path(RUN))) as own,
        ):
            follow(past, lambda _: past.last_step >= 60)
            follow(own, lambda _: own.last_step >= 60)
            for step in (7, 30, 55, 29, 1, 60):
                past.seek(step)
                own.seek(step)
                past.refresh(0.0)
                own.refresh(0.0)
                assert past.state.step == own.state.step
                assert past.state.pack(COLUMNS) == own.state.pack(COLUMNS)
            past.step_by(-3)
            past.refresh(0.0)
            assert past.state.step == 57
            assert past.where == "box via env"


def stands_at(step: int, past: ReplaySource) -> bool:
    """Whether a replay is at `step`; else it is sent there, once more."""
    if past.state.step != step:
        past.seek(step)
    return past.state.step == step


def test_the_past_stays_on_screen_while_the_link_is_down(
    training: ScriptedTraining, home: Path
) -> None:
    training.start()
    training.do("frames 20")
    with (
        closing(connected(far_over(home), QUICK)) as host,
        closing(live_source(host, RUN)) as source,
    ):
        follow(source, has_samples(20))
        with closing(open_past(source)) as past:
            # What the hub has told may not be written yet.
            follow(past, lambda it: stands_at(10, past))
            os.kill(host.link.pid, signal.SIGKILL)
            follow(source, lambda it: it.link == "lost")
            past.seek(5)
            past.refresh(0.0)
            assert past.state.step == 10 or past.trouble == ""
            follow(past, lambda it: it.state.step == 5)
            assert past.trouble == ""


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_recording_elsewhere_is_told_and_exported_as_here(
    training: ScriptedTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = training.start()
    training.do("frames 12")
    training.do("bye finished")
    await_end(hub)
    told = []
    for place in ([], HERE):
        assert main(["report", RUN, *place]) == 0
        assert main(["export", RUN, "--to", "csv", *place]) == 0
        assert main(["replay", RUN, *place]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert told[0].count("\n") > 12


def test_runs_of_a_host_are_listed(
    training: ScriptedTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    training.start()
    training.do("frames 2")
    assert main(["runs", *HERE]) == 0
    assert RUN in capsys.readouterr().out
    assert main(["runs", "--json", *HERE]) == 0
    assert '"host": "env"' in capsys.readouterr().out


def test_attach_opens_the_one_live_run_of_a_host_and_tells_it_to_the_end(
    training: ScriptedTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    training.start()
    training.do("frames 4")
    training.process.stdin.close()  # type: ignore[union-attr]
    training.process.wait()
    assert main(["attach", *HERE]) == 0
    assert "killed" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_attach_says_which_runs_are_live_where_there_are_several(
    trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attach", *HERE]) == 2
    us = pwd.getpwuid(os.geteuid()).pw_name
    assert f"no run of {us} is live on env" in capsys.readouterr().err
    for run in (RUN, "other-000001"):
        trainings(run).start()
    assert main(["attach", *HERE]) == 2
    err = capsys.readouterr().err
    assert "several runs are live on env" in err
    assert "name one: deadband attach --via 'env' " in err
    assert RUN in err
    assert "other-000001" in err
    assert main(["attach", "nothing", *HERE]) == 2
    assert "env: no run matches 'nothing'" in capsys.readouterr().err


def test_a_host_without_deadband_says_so_with_the_mend(tmp_path: Path) -> None:
    empty = Far(name="bare", via=f"env -i PATH={tmp_path}")
    assert opened(empty) == (
        "bare: found no deadband there: pip install deadband there, or name it with"
        " --remote-command /path/to/deadband"
    )
    wrong = Far(name="bare", via="env", remote_command="/nowhere/deadband")
    assert opened(wrong) == "bare: there is no /nowhere/deadband there (--remote-command)"


def test_a_command_that_is_not_here_is_named() -> None:
    assert opened(Far(name="c1", via="no-such-docker exec -i c1")) == (
        "c1: cannot run no-such-docker (No such file or directory)"
    )


def test_a_far_side_of_another_version_says_which_side_to_upgrade(tmp_path: Path) -> None:
    older = script(tmp_path, "older", "echo \"deadband: there is no command 'pipe'\" >&2; exit 2")
    assert "older than remote runs: upgrade it there" in opened(far_over(tmp_path, command=older))
    newer = script(
        tmp_path,
        "newer",
        'echo \'#deadband-pipe {"protocol":99,"deadband":"7.0","host":"box"}\'; cat',
    )
    said = opened(far_over(tmp_path, command=newer))
    assert said == (
        "box: deadband 7.0 there speaks version 99 of the pipe, this one 1: upgrade deadband here"
    )


def test_something_that_writes_into_the_pipe_breaks_the_link_in_words(tmp_path: Path) -> None:
    babbling = script(
        tmp_path,
        "babbling",
        'echo \'#deadband-pipe {"protocol":1,"deadband":"1","host":"box"}\'; echo hello; cat',
    )
    link = Link(far_over(tmp_path, command=babbling), QUICK)
    link.start()
    told: list[str] = []
    while not told or "something else writes" not in told[-1]:
        link.wait(0.01)
        told.append(link.trouble)
    link.close()


def test_deadband_is_found_where_the_path_lacks_it(
    training: ScriptedTraining, home: Path, tmp_path: Path
) -> None:
    """Not in the PATH, but a hub runs there: its Python has it."""
    training.start()
    bare = Far(
        name="bare",
        via=f"env -i PATH=/usr/bin:/bin HOME={tmp_path} DEADBAND_HOME={home}"
        f" PYTHONPATH={':'.join(sys.path)}",
    )
    with closing(connected(bare)) as there:
        assert [entry.run for entry in there.runs()] == [RUN]


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "tcsh", "fish"])
def test_every_login_shell_takes_the_search_for_deadband_unharmed(
    shell: str, tmp_path: Path
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (start,) = Far(name="box").starts(asking=True)
    command = start.argv[-1]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    (tmp_path / ".local/bin").mkdir(parents=True)
    script(tmp_path / ".local/bin", "deadband", 'echo "this one: $*"')
    found = subprocess.run(
        [shell, "-c", command], env=bare, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert found.stdout == b"this one: pipe\n"


def test_a_pipe_for_one_run_shows_no_other(trainings: Trainings, home: Path) -> None:
    """As a forced command of a key: deadband pipe RUN."""
    for run in (RUN, "other-000001"):
        trainings(run).start()
    only = Far(name="box", via="env", remote_command=f"sh -c '{COMMAND} pipe {RUN}'")
    with closing(connected(only)) as there:
        assert [entry.run for entry in there.runs()] == [RUN]
        with pytest.raises(UnknownRun, match="this pipe shows"):
            there.resolve("other")
        channel = live_source(there, RUN).channel
        channel._run = "other-000001"  # type: ignore[attr-defined]
        source = LiveSource("other-000001", channel)
        with pytest.raises(SourceError, match="this pipe shows"):
            follow(source, has_samples(1))


def test_the_far_side_ends_with_its_viewer(home: Path) -> None:
    there = connected(far_over(home))
    pid = there.link.pid
    there.close()
    await_end(pid)
    assert not there.link.up


def test_a_person_who_starts_the_far_side_is_told_what_it_is() -> None:
    pexpect = pytest.importorskip("pexpect")
    child = pexpect.spawn(sys.executable, ["-m", "deadband_monitor", "pipe"], timeout=15)
    child.expect("this is the far side of deadband attach")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2


@pytest.mark.timeout(60)
def test_what_is_asked_beside_the_news_goes_through_the_pipe_too(
    training: ScriptedTraining, host: RemoteHost, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = training.start()
    training.do("frames 5")
    subject = ("model", "fc1", What.ACTIVATION)
    with closing(live_source(host, RUN)) as source:
        follow(source, has_samples(5))
        source.look_at(subject)
        follow(source, lambda _: source.spread is not None and bool(source.spread.kinds))
        training.do("frames 10")
        follow(source, lambda _: source.spread is not None and source.spread.course.last_step == 15)
        assert main(["ask", RUN, *HERE, "--note", "from afar", "--dense", "10"]) == 0
        told = capsys.readouterr().out.splitlines()
        assert told == ["every step for the next 10", "noted at step 15"]
        follow(source, lambda it: bool(it.state.notes))
        with closing(open_past(source)) as past:
            past.look_at(subject)
            follow(past, lambda _: past.spread is not None and len(past.spread.course) > 0)
            follow(past, lambda it: bool(it.state.notes))
            assert past.spread is not None
            assert past.spread.kinds == (What.ACTIVATION, What.WEIGHT)
    training.do("bye finished")
    await_end(hub)
    assert main(["ask", RUN, *HERE, "--note", "too late"]) == 2
    assert "is only read from here" in capsys.readouterr().err
