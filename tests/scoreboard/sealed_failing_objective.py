"""Sealed failures of the loss, of the last activation, and of what the weights hear of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.scenario import Runs, Training
from scoreboard.sealed_data import (
    Rows,
    brackets,
    clicks,
    demand,
    dice,
    friends,
    genes,
    gratings,
    lesions,
    loans,
    scans,
    table,
    tagged,
)
from scoreboard.sealed_loops import Loader, by, routine, skill, update, yes_no
from scoreboard.sealed_nets import Graph, ResNet, Tower, UNet, lenet, plain
from scoreboard.sealed_seqs import Patches, Reader, Transformer

RUNS = Runs(__name__, apart="sealed")
broken = RUNS.broken

LOSS, HEAD, CUT = "loss-mismatch", "output-activation-mismatch", "detached-graph"
PILES = "missing-zero-grad"


# --- the loss
broken(
    "sealed softmax in the network and in the loss",
    LOSS,
    lambda twice: routine(
        nn.Sequential(ResNet(10), nn.Softmax(1) if twice else nn.Identity()),
        scans(),
        by("SGD", 0.05),
    ),
    True,
    False,
    steps=180,
    sudden=False,
)
broken(
    "sealed softmax over the rows of the batch",
    LOSS,
    lambda dim: routine(
        nn.Sequential(plain(16, 40, 40, 5), nn.LogSoftmax(dim)),
        table("gases"),
        by("Adam", 3e-3),
        loss=nn.NLLLoss(),
    ),
    0,
    1,
    steps=400,
    sudden=False,
)


def ill_pixels(squashed: bool) -> Training:
    """A sigmoid at the end, and a loss that has its own; few pixels are ill."""
    x, y = lesions()
    body = UNet()
    net = nn.Sequential(body, nn.Sigmoid() if squashed else nn.Identity())
    return routine(
        net,
        (x, y),
        by("Adam", 3e-3),
        batch=16,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(body, x[:100], y[:100]),
    )


broken("sealed masks squashed twice", LOSS, ill_pixels, True, False, steps=150, sudden=False)
broken(
    "sealed sales in a row against a column",
    LOSS,
    lambda flat: routine(
        Reader(nn.GRU, 1, width=20),
        demand(),
        by("Adam", 3e-3),
        loss=lambda out, y: functional.mse_loss(out.squeeze(-1) if flat else out, y),
    ),
    True,
    False,
    steps=250,
    sudden=False,
)
broken(
    "sealed cross-entropy of one column",
    LOSS,
    lambda wrong: one_column(wrong),
    True,
    False,
    steps=250,
)


def one_column(wrong: bool) -> Training:
    """`CrossEntropyLoss` with one logit and a target of noughts and ones of the same shape."""
    x, kind = loans()
    y = kind[:, None].float()
    net = Tower(10, 24, 1, act=nn.GELU)
    loss = nn.CrossEntropyLoss() if wrong else nn.BCEWithLogitsLoss()
    return routine(net, (x, y), by("AdamW", 2e-3), loss=loss, score=yes_no(net, x, y))


broken(
    "sealed logits viewed, not transposed",
    LOSS,
    lambda viewed: routine(
        Transformer(48, 4, depth=1),
        tagged(),
        by("Adam", 3e-3),
        loss=lambda out, y: functional.cross_entropy(
            out.reshape(len(out), 4, -1) if viewed else out.transpose(1, 2), y
        ),
    ),
    True,
    False,
    steps=250,
    sudden=False,
)
broken(
    "sealed negative likelihood with a plus",
    LOSS,
    lambda wrong: signed(wrong),
    True,
    False,
    steps=200,
)


def signed(wrong: bool) -> Training:
    """The mean of the logarithms of what was right, without its minus."""
    sign = 1.0 if wrong else -1.0

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return sign * out.log_softmax(1).gather(1, y[:, None]).mean()

    return routine(lenet(6, 12, act=nn.ELU), gratings(), by("SGD", 0.1), loss=loss)


def swapped(wrong: bool) -> Training:
    """The like and the unlike change places in the triplet loss."""
    x, y = table("wine")
    g, net = dice(91), Tower(13, 32, 8, act=nn.SiLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    kinds = [torch.where(y == kind)[0] for kind in range(3)]

    def some(kind: int) -> Tensor:
        return x[kinds[kind][torch.randint(len(kinds[kind]), (24,), generator=g)]]

    def step(k: int) -> Tensor:
        one, other = torch.randperm(3, generator=g)[:2].tolist()
        a, like, unlike = net(some(one)), net(some(one)), net(some(other))
        near, far = (unlike, like) if wrong else (like, unlike)
        return update(optimizer, functional.triplet_margin_loss(a, near, far))

    def score() -> float:
        with torch.no_grad():
            z = functional.normalize(net(x), dim=1)
        centres = torch.stack([z[y == kind].mean(0) for kind in range(3)])
        within = torch.stack([z[y == kind].var(0).sum() for kind in range(3)]).mean()
        return float(centres.var(0).sum() / (centres.var(0).sum() + within))

    return Training(net, optimizer, step, score)


broken("sealed triplets with the wrong pair", LOSS, swapped, True, False, sudden=False)
broken(
    "sealed squares of class numbers from a softmax",
    (LOSS, HEAD),
    lambda wrong: numbered(wrong),
    True,
    False,
    steps=350,
    sudden=False,
)


def numbered(wrong: bool) -> Training:
    """A softmax's first column is to be the number of the class."""
    x, y = table("gases")
    body = plain(16, 40, 5, act=nn.Tanh)

    def loss(out: Tensor, kind: Tensor) -> Tensor:
        if wrong:
            return functional.mse_loss(out.softmax(1)[:, :1], kind[:, None].float())
        return functional.cross_entropy(out, kind)

    return routine(body, (x, y), by("Adam", 3e-3), loss=loss)


# --- the last activation
broken(
    "sealed sigmoid at the end of a forecast",
    HEAD,
    lambda wrong: routine(
        nn.Sequential(Reader(nn.GRU, 1, width=20), nn.Sigmoid() if wrong else nn.Identity()),
        demand(),
        by("Adam", 5e-3),
    ),
    True,
    False,
    steps=220,
    sudden=False,
)


def valued(wrong: bool) -> Training:
    """Every step of a walk costs one; a ReLU says what that is worth in the end."""
    g, places = dice(92), torch.eye(8)
    body = Tower(8, 32, 2)
    net = nn.Sequential(body, nn.ReLU() if wrong else nn.Identity())
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def step(k: int) -> Tensor:
        at, go = torch.randint(7, (32,), generator=g), torch.randint(2, (32,), generator=g)
        to = (at + 2 * go - 1).clamp(min=0)
        with torch.no_grad():
            aim = -1 + 0.9 * (to < 7) * net(places[to]).max(1).values
        said = net(places[at]).gather(1, go[:, None])[:, 0]
        return update(optimizer, functional.mse_loss(said, aim))

    def score() -> float:
        truth = torch.tensor([-(1 - 0.9 ** (7 - k)) / 0.1 for k in range(7)])
        with torch.no_grad():
            said = net(places[:7]).max(1).values
        return float(1 - (said - truth).square().mean() / truth.var())

    return Training(net, optimizer, step, score)


broken("sealed walk's costs through a ReLU", HEAD, valued, True, False, steps=500, sudden=False)
broken(
    "sealed tanh before degrees",
    HEAD,
    lambda wrong: routine(
        nn.Sequential(plain(8, 32, 32, 1), nn.Tanh() if wrong else nn.Identity()),
        (table("friedman")[0], 12 + 9 * table("friedman")[1]),
        by("RMSprop", 1e-2),
        loss=nn.SmoothL1Loss(),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)
broken(
    "sealed softmax before three measures",
    HEAD,
    lambda wrong: routine(
        nn.Sequential(plain(8, 32, 3, act=nn.SiLU), nn.Softmax(1) if wrong else nn.Identity()),
        (table("friedman")[0], measures()),
        by("Adam", 5e-3),
    ),
    True,
    False,
    steps=350,
    sudden=False,
)


def measures() -> Tensor:
    """Three numbers about each row, some below nought."""
    x, y = table("friedman")
    return torch.cat([y, y - x[:, :1], 2 * x[:, 1:2]], 1)


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

    return Training(net, optimizer, step, skill(net, *rows))


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

    return Training(net, optimizer, step, skill(net, x, kind))


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
    "sealed strands pile up",
    PILES,
    piling(lambda: Reader(nn.LSTM, 3, words=4, width=32), genes, 1.0, 0.8),
    True,
    False,
    steps=500,
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
