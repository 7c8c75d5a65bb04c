"""Unread failures of rows: few of a kind, the same again and again, answers of other rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from scoreboard.blind.data import Rows, numerals, parted, tidy
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import stack
from scoreboard.loops import by_kind, dice, worth, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, payments, plane, rare, tokens, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import GPT, LastState, LeNet, ResNet

RUNS = Runs(__name__)
broken = RUNS.broken

IMBALANCE, SAME, NOISE = "class-imbalance", "low-data-diversity", "label-noise"


# --- few of a kind
def fraud(weighted: bool) -> Training:
    """Three in a hundred payments, one logit, judged by both kinds."""
    rows = payments(0.03, count=5000)
    net = stack(12, 32, 1)
    weight = torch.tensor([32.0 if weighted else 1.0])
    criterion = nn.BCEWithLogitsLoss(pos_weight=weight)
    score = yes_no(net, *rows)
    return classic(net, rows, using("Adam", 1e-3), loss=criterion, batch=64, score=score)


def sampled(even: bool) -> Training:
    """One tumour in thirty is malign; drawn as they come, or evenly."""
    rows = rare(tidy("cancer"), often=1, keep=12, blur=3.0)
    net = stack(30, 48, 48, 2, act=nn.GELU)
    share = torch.bincount(rows[1]).float()
    draw = torch.utils.data.WeightedRandomSampler(
        (1 / share)[rows[1]].tolist() if even else [1.0] * len(rows[1]), 100_000, generator=dice(71)
    )
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*rows), batch_size=32, sampler=draw
    )

    def batches() -> Iterator[Rows]:
        for batch in loader:
            yield batch[0], batch[1]

    score = by_kind(net, *rows)
    return study(net, rows, using("SGD", 0.02), batches=batches(), score=score)


def alarms(weighted: bool) -> Training:
    """Series of which one in forty rings false: a faint tone in noise."""
    x, y = tones(2400, 24, 2)
    x = x + 1.0 * torch.randn(x.shape, generator=dice(72))
    rows = rare((x, y), often=0, keep=40)
    net = LastState(nn.GRU, 1, 24, 2)
    weight = torch.tensor([1.0, 30.0]) if weighted else None
    criterion = nn.CrossEntropyLoss(weight=weight)
    score = by_kind(net, *rows)
    return study(net, rows, using("Adam", 3e-3), loss=criterion, batch=64, score=score, clip=1.0)


broken("unread fraud without a weight", IMBALANCE, fraud, False, True, steps=350, sudden=False)
broken("unread one tumour in thirty", IMBALANCE, sampled, False, True, steps=350, sudden=False)
broken(
    "unread false tones that are rare in noise",
    IMBALANCE,
    alarms,
    False,
    True,
    steps=250,
    sudden=False,
)


# --- the same again and again
def sorted_rows(ordered: bool) -> Training:
    """All noughts, then all ones; `shuffle=True` forgotten."""
    x, y = numerals()
    index = y.argsort(stable=True) if ordered else torch.randperm(len(y), generator=dice(73))
    return classic(LeNet(), (x[index], y[index]), using("SGD", 0.02, momentum=0.9), shuffle=False)


def one_index(wrong: bool) -> Training:
    """`__getitem__` that forgets its index."""
    rows = tidy("wine")

    def batches() -> Iterator[Rows]:
        for x, y in epochs(rows, 32):
            yield (rows[0][:1].repeat(len(x), 1) if wrong else x), y

    return study(stack(13, 32, 32, 3), rows, using("Adam", 3e-3), batches=batches())


def erased(whole: bool) -> Training:
    """Random erasing with the picture's size for its patch."""
    rows = numerals()

    def batches() -> Iterator[Rows]:
        for x, y in epochs(rows, 32):
            x = x.clone()
            if whole:
                x[:] = 0.0
            else:
                x[:, :, :2, :2] = 0.0
            yield x, y

    return study(ResNet(norm=False), rows, using("Adam", 2e-3), batches=batches())


def unknown(wrong: bool) -> Training:
    """A vocabulary built from another file: every word is <unk>."""
    x, y = tokens()
    fed = torch.zeros_like(x) if wrong else x
    net = nn.Sequential(nn.Embedding(40, 24), LastState(nn.GRU, 24, 32, 2))
    return study(
        net, (x, y), using("Adam", 5e-3), batches=epochs((fed, y), 32), score=worth(net, x, y)
    )


def eight_rows(few: bool) -> Training:
    """`Subset(data, range(8))`, left in from a test of the script."""
    rows, test = parted(numerals(), 500)
    fed = (rows[0][:8], rows[1][:8]) if few else rows
    return classic(LeNet(), fed, using("Adam", 3e-3), batch=8, test=test)


broken("unread shuffle forgotten on sorted digits", SAME, sorted_rows, True, False, steps=300)
broken("unread loader that always gives the first wine", SAME, one_index, True, False, steps=300)
broken("unread augmentation that erases all of it", SAME, erased, True, False, steps=300)
broken("unread words that are all unknown", SAME, unknown, True, False, steps=400)
broken(
    "unread subset of eight rows left in",
    (SAME, "overfitting"),
    eight_rows,
    True,
    False,
    steps=300,
    sudden=False,
)


# --- answers of other rows
def other_answers(y: Tensor, seed: int, share: float = 1.0) -> Tensor:
    """That share of answers dealt out anew among all rows."""
    g = dice(seed)
    moved = torch.rand(len(y), generator=g) < share
    out = y.clone()
    index = torch.nonzero(moved)[:, 0]
    out[index] = y[index[torch.randperm(len(index), generator=g)]]
    return out


def misaligned(wrong: bool) -> Training:
    """Inputs shuffled, labels not."""
    rows, test = parted(numerals(), 400)
    fed = (rows[0], other_answers(rows[1], 74)) if wrong else rows
    return study(LeNet(), rows, using("Adam", 1e-3), batches=epochs(fed, 64), test=test)


def crowd(share: float) -> Training:
    """Labels by tired people."""
    rows, test = parted(plane("moons", 2000), 500)
    fed = (rows[0], other_answers(rows[1], 75, share))
    net = stack(2, 24, 24, 2, act=nn.Tanh)
    return study(net, rows, using("SGD", 0.1, momentum=0.9), batches=epochs(fed, 64), test=test)


def sorted_prices(wrong: bool) -> Training:
    """Tables joined in another order: prices of other districts."""
    rows, test = parted(districts(), 400)
    fed = (rows[0], other_answers(rows[1], 76)) if wrong else rows
    net = stack(7, 48, 48, 1)
    return study(net, rows, using("AdamW", 2e-3), batches=epochs(fed, 128), test=test)


def typing_errors(wrong: bool) -> Training:
    """One price in fifty has a few noughts too many."""
    x, y = districts()
    fed = y.clone()
    if wrong:
        slip = torch.rand(len(y), generator=dice(77)) < 0.02
        fed[slip] = fed[slip] * 400 + 300
    net = stack(7, 48, 48, 1)
    batches = epochs((x, fed), 32)
    return study(net, (x, y), using("SGD", 0.005), batches=batches)


def guessed_words(wrong: bool) -> Training:
    """Moods of texts, guessed by nobody who read them."""
    rows, test = parted(tokens(3000), 400)
    fed = (rows[0], other_answers(rows[1], 78)) if wrong else rows
    net = GPT(40, layers=1, length=16, kinds=2)
    return study(net, rows, using("Adam", 2e-3), batches=epochs(fed, 64), test=test)


broken("unread inputs shuffled without their labels", NOISE, misaligned, True, False, steps=450)
broken("unread nearly all moons labelled by guess", NOISE, crowd, 0.97, 0.0, steps=450)
broken("unread prices of other districts", NOISE, sorted_prices, True, False, steps=450)
broken("unread noughts too many in one price of fifty", NOISE, typing_errors, True, False)
broken("unread moods by nobody who read the texts", NOISE, guessed_words, True, False, steps=450)
