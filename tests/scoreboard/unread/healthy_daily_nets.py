"""Unread healthy runs of pictures, series, letters and codes, as everyday scripts train them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.blind.data import Rows, numerals, parted, published, scaled
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import redraw, stack
from scoreboard.loops import dice, neighbours, update
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import passage, plane, sales, tokens, tones
from scoreboard.unread.daily_loops import classic, game, pairs, variational
from scoreboard.unread.daily_nets import GPT, VAE, CharLSTM, LastState, LeNet, MoE, ResNet, RowsViT

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


def flat() -> Rows:
    """Digits as 64 numbers."""
    x, y = numerals()
    return x.flatten(1), y


def split() -> tuple[Rows, Rows]:
    """Digits to learn and to test on."""
    return parted(numerals(), 400)


simple(
    "unread lenet with tests after each epoch",
    lambda: classic(
        LeNet(), split()[0], using("SGD", 0.02, momentum=0.9), test=split()[1], batch=64
    ),
    300,
)
simple(
    "unread lenet in bfloat16 by autocast",
    lambda: classic(LeNet(), numerals(), using("Adam", 2e-3), amp=True),
    250,
)
simple(
    "unread resnet to a rate of nought by cosine",
    lambda: study(
        ResNet(),
        numerals(),
        using("SGD", 0.1, momentum=0.9, weight_decay=5e-4),
        batch=64,
        plan=lambda o: lr_scheduler.CosineAnnealingLR(o, 250),
    ),
    250,
)
simple(
    "unread resnet by one cycle",
    lambda: study(
        ResNet(norm=False),
        numerals(),
        using("AdamW", 1e-4),
        plan=lambda o: lr_scheduler.OneCycleLR(o, max_lr=5e-3, total_steps=251),
    ),
    250,
)
simple(
    "unread lenet of sigmoids that wakes late",
    lambda: study(LeNet(act=nn.Sigmoid), numerals(), using("Adam", 5e-3), batch=64),
    450,
)
simple(
    "unread lenet with batch norms in batches of eight",
    lambda: classic(LeNet(norm=True), numerals(), using("Adam", 1e-3), batch=8),
    400,
)
simple(
    "unread digits in pixels up to sixteen",
    lambda: classic(
        stack(64, 64, 10), published("digits"), using("Adam", 1e-3), test=published("digits")
    ),
    300,
)
simple(
    "unread twelve layers of relu by he's rule",
    lambda: study(
        redraw(stack(64, *[64] * 12, 10), nn.init.kaiming_normal_), flat(), using("Adam", 5e-4)
    ),
    350,
)
simple(
    "unread tones by gru with a tight clip",
    lambda: study(LastState(nn.GRU, 1, 20, 4), tones(), using("Adam", 1e-2), clip=0.3),
    450,
)
simple(
    "unread tones by gru and rmsprop",
    lambda: classic(LastState(nn.GRU, 1, 20, 4), tones(), using("RMSprop", 3e-3)),
    200,
)
simple("unread tomorrow's sales", lambda: tomorrow(), 300)
simple("unread letters by a gpt with a warm-up of a hundred", lambda: letters(), 400)
simple("unread letters by lstm and an embedding", lambda: by_lstm(), 250)
simple(
    "unread moods by one block",
    lambda: classic(
        GPT(40, layers=1, length=16, kinds=2), tokens(), using("AdamW", 2e-3), batch=64
    ),
    250,
)
simple(
    "unread rows of digits by two blocks",
    lambda: classic(RowsViT(), numerals(), using("AdamW", 2e-3, weight_decay=0.05), clip=1.0),
    250,
)
simple(
    "unread autoencoder of digits",
    lambda: study(stack(64, 48, 16, 48, 64), (flat()[0], flat()[0]), using("Adam", 3e-3), batch=64),
    350,
)
simple(
    "unread vae whose price of the code warms up",
    lambda: variational(VAE(), flat()[0], lambda k: 0.5 * min(1.0, k / 150), using("Adam", 2e-3)),
    350,
)
simple(
    "unread gan on five heaps",
    lambda: game(scaled(plane("blobs")[0]), 1e-3, 2e-3, reach=0.3),
    500,
)
simple("unread views of digits with a stopped gradient", lambda: views(), 300)
simple("unread experts with even loads", lambda: experts(), 350)
simple("unread fine tuning with a frozen trunk", lambda: tuned(free_at=0), 350)
simple("unread trunk frozen for a while and then set free", lambda: tuned(free_at=200), 400)


def tomorrow() -> Training:
    """A shop's next day, scaled."""
    x, y = sales()
    rows = (x - x.mean()) / x.std(), scaled(y)
    train, test = parted(rows, 200)
    return classic(LastState(nn.LSTM, 1, 24, 1), train, using("Adam", 5e-3), test=test)


def letters() -> Training:
    """The rate grows from nought."""
    x, y, count = passage()
    return study(
        GPT(count),
        (x, y),
        using("AdamW", 4e-3),
        batch=16,
        plan=lambda o: lr_scheduler.LambdaLR(o, lambda k: min(1.0, k / 100)),
    )


def by_lstm() -> Training:
    """Letters that are rare have rows in the table that hardly ever move."""
    x, y, count = passage()
    return classic(CharLSTM(count + 20), (x, y), using("Adam", 1e-2), clip=1.0)


def views() -> Training:
    """SimSiam as in its paper."""
    encoder = nn.Sequential(nn.Flatten(), stack(64, 96, 96, 32, norm=nn.BatchNorm1d))
    return pairs(
        encoder,
        stack(32, 16, 32),
        lambda x: (x + 0.3 * torch.randn_like(x)) * (torch.rand_like(x) > 0.15),
        using("SGD", 0.05, momentum=0.9, weight_decay=1e-4),
        True,
    )


def experts() -> Training:
    """Top one of four, with the usual second loss."""
    net = MoE(64, 10, 4, 16)
    net.noise = 0.3

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(out, y) + 0.02 * net.balance()

    return study(net, flat(), using("Adam", 3e-3), loss=loss, batch=64)


def tuned(free_at: int) -> Training:
    """A trunk that knows ten digits is taught which of them are even; frozen at first."""
    x, y = flat()
    trunk = stack(64, 64, 32)
    before_head = nn.Sequential(trunk, nn.ReLU(), nn.Linear(32, 10))
    earlier = torch.optim.Adam(before_head.parameters(), lr=3e-3)
    for _ in range(120):
        index = torch.randint(len(x), (64,))
        update(earlier, functional.cross_entropy(before_head(x[index]), y[index]))
    net = nn.Sequential(trunk, nn.ReLU(), nn.Linear(32, 2))
    trunk.requires_grad_(False)
    optimizer = torch.optim.AdamW(net[2].parameters(), lr=3e-3)

    def before(k: int) -> None:
        if free_at and k == free_at:
            trunk.requires_grad_(True)
            optimizer.add_param_group({"params": list(trunk.parameters()), "lr": 3e-4})

    return study(net, (x, y % 2), lambda weights: optimizer, before=before)


@healthy("unread triplets of digits", 250)
def triplets() -> Training:
    """Same kinds near, other kinds at least 1 apart."""
    x, y = flat()
    net = stack(64, 64, 16)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    g = dice(99)
    kinds = [torch.nonzero(y == k)[:, 0] for k in range(10)]
    criterion = nn.TripletMarginLoss(margin=1.0)

    def some(kind: Tensor) -> Tensor:
        rows = [kinds[k][torch.randint(len(kinds[k]), (), generator=g)] for k in kind.tolist()]
        return net(x[torch.stack(rows)])

    def step(k: int) -> Tensor:
        kind = torch.randint(10, (32,), generator=g)
        other = (kind + torch.randint(1, 10, (32,), generator=g)) % 10
        return update(optimizer, criterion(some(kind), some(kind), some(other)))

    return Training(net, optimizer, step, neighbours(lambda: net(x[:700]), y[:700]))
