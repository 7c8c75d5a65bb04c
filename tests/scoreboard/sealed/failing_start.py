"""Sealed failures of the start."""

from __future__ import annotations

from torch import nn

from scoreboard.loops import yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import clicks, genes, gratings, scans, table, tagged
from scoreboard.sealed.loops import by, routine
from scoreboard.sealed.nets import Clicks, Euler, Tower, each_weight, lenet, plain
from scoreboard.sealed.seqs import Reader, Transformer

RUNS = Runs(__name__)
broken = RUNS.broken

SAME, SCALE = "constant-initialisation", "bad-initialisation-scale"


def filled(net: nn.Module, value: float | None, least: int = 2) -> nn.Module:
    """All matrices of that one number, or as torch draws them."""
    if value is None:
        return net
    return each_weight(net, lambda w: nn.init.constant_(w, value), least)


# --- one number for all
broken(
    "sealed zeros for a careful start",
    SAME,
    lambda value: routine(filled(Tower(16, 40, 40, 5), value, 1), table("gases"), by("Adam", 2e-3)),
    0.0,
    None,
)
broken(
    "sealed filters of a tenth",
    SAME,
    lambda value: routine(filled(lenet(6, 12), value, 1), gratings(), by("Adam", 2e-3)),
    0.05,
    None,
)
broken(
    "sealed attention of one number",
    SAME,
    lambda value: routine(
        filled(Transformer(48, 4, depth=1), value, 1), tagged(), by("Adam", 3e-3)
    ),
    0.02,
    None,
    steps=250,
)
broken(
    "sealed gates of one half",
    SAME,
    lambda value: routine(filled(Reader(nn.LSTM, 3, words=4), value, 1), genes(), by("Adam", 5e-3)),
    0.5,
    None,
    steps=350,
)
broken(
    "sealed tables of clicks all ones",
    SAME,
    lambda value: clicked(value),
    1.0,
    None,
    steps=400,
)


def clicked(value: float | None) -> Training:
    """Everybody is the same at first, and so is every unit that is told of them."""
    net = filled(Clicks(), value)
    rows = clicks()
    return routine(net, rows, by("SGD", 0.5), loss=nn.BCEWithLogitsLoss(), score=yes_no(net, *rows))


# --- far too large or too small
broken(
    "sealed weights from torch.rand",
    SCALE,
    lambda wrong: routine(
        each_weight(plain(30, 64, 64, 64, 2), lambda w: w.uniform_(0, 1))
        if wrong
        else plain(30, 64, 64, 64, 2),
        table("cancer"),
        by("Adam", 1e-3),
    ),
    True,
    False,
    steps=150,
)


broken(
    "sealed gates drawn forty times too wide",
    (SCALE, "saturating-activation"),
    lambda times: routine(
        each_weight(Reader(nn.GRU, 4, words=48, each=True), lambda w: w.mul_(times)),
        tagged(),
        by("Adam", 3e-3),
    ),
    40.0,
    1.0,
    steps=250,
)
broken(
    "sealed kernels of a hundred-thousandth",
    SCALE,
    lambda std: routine(
        each_weight(lenet(10, 8, act=nn.Tanh), lambda w: w.normal_(0, std))
        if std
        else lenet(10, 8, act=nn.Tanh),
        scans(),
        by("SGD", 0.1),
    ),
    1e-5,
    0.0,
    steps=400,
)
broken(
    "sealed standard normal everywhere",
    (SCALE, "saturating-activation"),
    lambda std: routine(
        each_weight(Tower(8, 96, 96, 96, 1, act=nn.Tanh), lambda w: w.normal_(0, std)),
        table("friedman"),
        by("Adam", 1e-3),
        batch=16,
    ),
    3.0,
    0.1,
    steps=400,
)
broken(
    "sealed flow with wild weights",
    (SCALE, "depth-exploding"),
    lambda times: routine(
        each_weight(Euler(8, 1), lambda w: w.mul_(times)), table("friedman"), by("Adam", 2e-3)
    ),
    14.0,
    1.0,
)
