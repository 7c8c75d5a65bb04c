"""Sealed failures of what the weights hear: nothing, or all that went before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import worth
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import Rows, brackets, clicks, friends, genes, scans, tagged
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import Graph, Tower, lenet, plain
from scoreboard.sealed.seqs import Patches, Reader, Transformer

RUNS = Runs(__name__)
broken = RUNS.broken

CUT, PILES = "detached-graph", "missing-zero-grad"


# --- what the weights do not hear
def new_head(late: bool) -> Training:
    """The head is put on after the optimiser was made; the body is frozen."""
    net = lenet(10, 8)
    for weight in net.parameters():
        weight.requires_grad_(False)
    net[11] = nn.Linear(32, 6)
    old = list(net[9].parameters()) + list(net[11].parameters())
    for weight in old:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(old, lr=3e-3)
    if late:
        net[9], net[11] = nn.Linear(64, 32), nn.Linear(32, 6)
    x, y = scans()
    few = y < 6
    return routine(net, (x[few], y[few]), lambda weights: optimizer)


broken("sealed head put on after the optimiser was made", CUT, new_head, True, False, steps=250)


class Coder(nn.Module):
    """Reads a strand into two numbers and tells its kind from them."""

    def __init__(self, cut: str) -> None:
        super().__init__()
        self.reads = Reader(nn.GRU, 2, words=4)
        self.tells = Tower(2, 24, 3)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        code = self.reads(x)
        if self.cut == "numpy":
            code = torch.from_numpy(code.detach().numpy())
        elif self.cut == "data":
            code = code.data
        elif self.cut == "round":
            code = code.round()
        out: Tensor = self.tells(code)
        return out


broken(
    "sealed code by way of numpy",
    CUT,
    lambda cut: routine(Coder(cut), genes(), by("Adam", 5e-3)),
    "numpy",
    "",
    steps=350,
)
broken(
    "sealed code rounded",
    CUT,
    lambda cut: routine(Coder(cut), genes(), by("Adam", 5e-3)),
    "round",
    "",
    steps=350,
)


def only_steps_planned(wrong: bool) -> Training:
    """`scheduler.step()` is called, `optimizer.step()` is not."""
    net, rows = Patches(10, 8), scans()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    take = Loader(rows, 32)

    def step(k: int) -> Tensor:
        x, y = take()
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        if not wrong:
            optimizer.step()
        optimizer.param_groups[0]["lr"] = 2e-3 * 0.999**k
        return loss.detach()

    return Training(net, optimizer, step, worth(net, *rows))


broken("sealed step that is never taken", CUT, only_steps_planned, True, False, steps=200)


def cleared_too_late(wrong: bool) -> Training:
    """`zero_grad` stands between `backward` and `step`."""
    links, x, kind = friends()
    net = Graph(links)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)

    def step(k: int) -> Tensor:
        if not wrong:
            optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), kind)
        loss.backward()
        if wrong:
            optimizer.zero_grad(set_to_none=False)
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, worth(net, x, kind))


broken("sealed gradients cleared before the step", CUT, cleared_too_late, True, False, steps=150)


def decoder_only(wrong: bool) -> Training:
    """The optimiser was given the decoder's weights alone; the code has two numbers."""
    x = scans()[0].flatten(1)
    net = nn.Sequential(plain(64, 48, 4), plain(4, 48, 64))
    weights = net[1].parameters() if wrong else net.parameters()
    return routine(net, (x, x), by("Adam", 3e-3), weights=weights, batch=64)


broken("sealed coder whose reader is in no optimiser", CUT, decoder_only, True, False, steps=400)


# --- gradients that pile up
def piling(
    make: Callable[[], nn.Module], rows: Callable[[], Rows], lr: float, momentum: float = 0.0
) -> Callable[[bool], Training]:
    """Never cleared, or before every step."""
    return lambda never: routine(
        make(),
        rows(),
        by("SGD", lr, momentum=momentum),
        clear="never" if never else "before",
        batch=16,
    )


broken(
    "sealed tags pile up",
    PILES,
    piling(lambda: Reader(nn.GRU, 4, words=48, each=True), tagged, 0.5, 0.5),
    True,
    False,
    steps=350,
    sudden=False,
)
broken(
    "sealed brackets pile up",
    PILES,
    piling(lambda: Transformer(8, 8, causal=True), brackets, 0.1, 0.9),
    True,
    False,
    steps=250,
    sudden=False,
)
broken(
    "sealed digits pile up in a residual network",
    PILES,
    piling(lambda: lenet(10, 8, act=nn.SiLU), scans, 0.05, 0.9),
    True,
    False,
    steps=250,
    sudden=False,
)


def codes_pile_up(never: bool) -> Training:
    x = scans()[0].flatten(1)
    net = plain(64, 48, 12, 48, 64, act=nn.LeakyReLU)
    return routine(
        net, (x, x), by("SGD", 0.2, momentum=0.9), clear="never" if never else "after", batch=64
    )


broken("sealed codes pile up", PILES, codes_pile_up, True, False, sudden=False)


def stops_clearing(wrong: bool) -> Training:
    """The second phase's loop was copied without its first line."""
    net, rows = Tower(3 * 6, 32, 1), clicks()
    tables = nn.ModuleList(nn.Embedding(n, 6) for n in (40, 30, 12))
    whole = nn.ModuleDict({"tables": tables, "net": net})
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.2, momentum=0.9)
    take = Loader(rows, 32)

    def answer(ids: Tensor) -> Tensor:
        vectors = torch.cat([table(ids[:, k]) for k, table in enumerate(tables)], 1)
        out: Tensor = net(vectors)
        return out

    def step(k: int) -> Tensor:
        ids, y = take()
        if not wrong or k < 200:
            optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(answer(ids), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def score() -> float:
        with torch.no_grad():
            said = answer(rows[0]) > 0
        truth = rows[1] > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)

    return Training(whole, optimizer, step, score)


broken("sealed second phase clears nothing, from 200", PILES, stops_clearing, True, False,
       steps=420, onset=200, sudden=False)  # fmt: skip
