"""The adapters: their words, their place in the loop, and the figures made of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deadband_monitor.rules import catalog
from scoreboard import runs
from scoreboard.loops import fit
from scoreboard.nets import mlp
from scoreboard.peers import comparison, ormas
from scoreboard.peers.comparison import PEERS, compare, drawn, lines, sample
from scoreboard.peers.gradsnitch import word
from scoreboard.peers.peer import Finding, Listening, Moment, Peer, pairs
from scoreboard.peers.sagemaker_rules import RULES
from scoreboard.scenario import Scenario, Training, train


class Diary:
    """A tool that writes down what it is shown, and warns of losses above one."""

    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer
        self.moments: list[Moment] = []
        self.weights: list[Tensor] = []
        self.gradients: list[float] = []

    def before_update(self, moment: Moment) -> None:
        self.moments.append(moment)
        first = next(self.model.parameters())
        self.weights.append(first.detach().clone())
        self.gradients.append(0.0 if first.grad is None else float(first.grad.abs().sum()))

    def close(self) -> Sequence[Finding]:
        return [Finding(what="high", step=m.step) for m in self.moments if m.loss > 1.0][:1]


class Kept:
    """The diaries of one run."""

    def __init__(self) -> None:
        self.diaries: list[Diary] = []
        self.peer = Peer(
            name="diary",
            watch=self.watch,
            causes={"high": ("learning-rate-too-high", "bad-data")},
            without={"diary, silenced": frozenset({"high"})},
        )

    def watch(self, model: nn.Module, optimizer: Any) -> Diary:
        self.diaries.append(Diary(model, optimizer))
        return self.diaries[-1]


def scenario(steps: int = 30, name: str = "short", fails: bool = True, **settings: Any) -> Scenario:
    return Scenario(
        name=name,
        build=lambda: fit(mlp(4, 3), "iris", **settings),
        causes=("bad-data",) if fails else (),
        steps=steps,
        family="some",
    )


def test_every_table_of_words_names_known_causes_only() -> None:
    known = {entry.word for entry in catalog.CAUSES}
    for peer in PEERS:
        assert {c for causes in peer.causes.values() for c in causes} <= known, peer.name
        assert all(peer.causes.values()), peer.name


def test_the_update_ratio_is_read_with_its_direction() -> None:
    assert word("GS008", "LR too high (update/weight ratio)") == "GS008 high"
    assert word("GS008", "LR too low (update/weight ratio)") == "GS008 low"
    assert word("GS001", "Loss became NaN/Inf") == "GS001"


def test_channels_are_read_with_whether_there_is_proof() -> None:
    silent = {"event": "channels", "n_certified": 0, "n_flat": 0, "n_decayed": 0}
    assert ormas.word(silent) == "channels silent"
    assert ormas.word({**silent, "n_decayed": 1}) == "channels stuck"
    assert ormas.word({"event": "alarm", "diagnosis": "vanishing"}) == "alarm vanishing"


def test_what_lines_leave_out_are_words_that_the_tool_has() -> None:
    left_out = {peer.name: set().union(*peer.without.values()) for peer in PEERS}
    assert left_out["SageMaker Debugger's rules"] <= set(RULES)
    assert left_out["ormas-monitor"] <= set(ormas.CAUSES)


def test_a_tool_stands_between_backward_and_the_update() -> None:
    kept = Kept()
    losses: list[float] = []
    given = scenario(lr=0.1)

    class Both(Listening):
        def on_step(self, step: int, loss: Tensor) -> None:
            losses.append(float(loss))
            super().on_step(step, loss)

    torch.manual_seed(0)
    train(given, Both(kept.peer))
    (diary,) = kept.diaries
    assert [m.step for m in diary.moments] == list(range(1, 31))
    assert [m.loss for m in diary.moments] == pytest.approx(losses)
    assert min(diary.gradients) > 0
    now = next(diary.model.parameters()).detach()
    assert not torch.equal(diary.weights[-1], now), "the last update came after the last look"


def test_evaluation_passes_are_passed_on_and_everything_is_put_back() -> None:
    kept = Kept()
    x, y = torch.randn(64, 4), torch.randint(3, (64,))
    given = Scenario(
        name="held", build=lambda: fit(mlp(4, 3), (x, y), held=(x, y), each=10), steps=30
    )
    before = functional.cross_entropy, Tensor.backward, torch.amp.GradScaler.scale
    train(given, Listening(kept.peer))
    assert (functional.cross_entropy, Tensor.backward, torch.amp.GradScaler.scale) == before
    heard = [m.step for m in kept.diaries[0].moments if m.eval_loss is not None]
    assert heard == [10, 20, 30]


def test_each_trained_model_has_its_own_tool_and_its_own_loss() -> None:
    kept = Kept()
    one, two, still = nn.Linear(2, 1), nn.Linear(2, 1), nn.Linear(2, 1)
    first = torch.optim.SGD(one.parameters(), 0.1)
    second = torch.optim.SGD(two.parameters(), 0.1)

    def step(_: int) -> Tensor:
        x = torch.ones(4, 2)
        for net, optimizer, wanted in ((one, first, 1.0), (two, second, 100.0)):
            optimizer.zero_grad()
            loss = functional.mse_loss(net(x), torch.full((4, 1), wanted))
            loss.backward()
            optimizer.step()
        return loss.detach()

    training = Training({"one": one, "two": two, "still": still}, [first, second], step)
    train(Scenario(name="two", build=lambda: training, steps=3), Listening(kept.peer))
    assert [d.model for d in kept.diaries] == [one, two]
    assert kept.diaries[0].moments[0].loss < 10 < kept.diaries[1].moments[0].loss


def test_a_loop_without_updates_is_heard_of_after_its_step() -> None:
    kept = Kept()
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step(_: int) -> Tensor:
        loss = net(torch.ones(4, 2)).pow(2).mean()
        loss.backward()
        return loss.detach()

    given = Scenario(name="none", build=lambda: Training(net, optimizer, step), steps=5)
    train(given, Listening(kept.peer))
    assert [m.step for m in kept.diaries[0].moments] == [1, 2, 3, 4, 5]


def test_parts_of_a_batch_are_one_loss_and_a_scaled_loss_is_told_unscaled() -> None:
    kept = Kept()
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step(_: int) -> Tensor:
        optimizer.zero_grad()
        for _part in range(2):
            scaler.scale(net(torch.zeros(4, 2)).sub(net.bias).add(3.0).mean() / 2).backward()
        scaler.step(optimizer)
        scaler.update()
        return torch.tensor(0.0)

    given = Scenario(name="scaled", build=lambda: Training(net, optimizer, step), steps=2)
    train(given, Listening(kept.peer))
    assert [m.loss for m in kept.diaries[0].moments] == pytest.approx([3.0, 3.0])


def test_an_optimiser_of_other_parameters_is_still_the_models() -> None:
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    assert pairs([model], [optimizer]) == [(model, optimizer)]


def test_a_tool_goes_through_to_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    given = [scenario(lr=1e3, name="wild"), scenario(lr=0.01, name="tame", fails=False, steps=20)]
    missing = Peer(name="missing", module="no_such_module", watch=Kept().watch)
    rows = compare(given, 3, 1, peers=(Kept().peer, missing))
    by_tool = {row.tool: row for row in rows}
    assert list(by_tool) == ["deadband", "diary", "diary, silenced", "nobody"]
    assert (by_tool["diary"].found, by_tool["diary"].first, by_tool["diary"].named) == (1, 0, 1)
    assert by_tool["diary, silenced"].found == 0
    printed = capsys.readouterr().out
    assert "missing is not installed, left out (pip install missing)" in printed
    assert "diary: high 1/" in printed


def test_a_run_that_a_tool_breaks_is_told_and_not_counted() -> None:
    class Broken(Diary):
        def before_update(self, moment: Moment) -> None:
            raise ValueError("no\nmore")

    peer = Peer(name="broken", watch=Broken)
    heard = comparison.listen("broken", scenario(), {"broken": peer})
    assert heard.error == "ValueError: no"
    assert functional.cross_entropy.__module__ == "torch.nn.functional"
    (row,) = lines("broken", [heard], peer)
    assert "-" in drawn([row])[1]


def test_what_only_shows_is_not_given_a_verdict() -> None:
    peer = Peer(name="screen", watch=Diary, judges=False)
    (row,) = lines("screen", [comparison.Heard(tool="screen", run="a", seconds=1.0)], peer)
    assert "shows, does not judge" in drawn([row])[1]


def test_the_sample_is_spread_over_the_families_and_fixed() -> None:
    picked = sample(runs.failing(), 12)
    assert [s.name for s in picked] == [s.name for s in sample(reversed(runs.failing()), 12)]
    families = {s.family for s in runs.failing()}
    assert len({s.family for s in picked}) == min(12, len(families))
    assert len(sample(runs.failing(), 10_000)) == len(runs.failing())
