"""Fresh failures of the loss, the head, and of what reaches the weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import classes, digits, level, pictures, sentences, traces, values
from scoreboard.fresh.loops import Loss, course, epochs, recalled, told, with_
from scoreboard.fresh.nets import Attentive, Sentence, dense, look, sensor
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

LOSS, HEAD, CUT = "loss-mismatch", "output-activation-mismatch", "detached-graph"


# --- the loss
def softened(twice: bool) -> Training:
    """Shares in place of logits go into the cross-entropy."""
    net = Sentence(cell=nn.LSTM)
    model = nn.Sequential(net, nn.Softmax(-1)) if twice else nn.Sequential(net)
    return course(model, sentences(), with_("SGD", 0.3), score=told(model, *sentences()))


broken("fresh shares into the cross-entropy", LOSS, softened, True, False, sudden=False)
broken(
    "fresh column against row",
    LOSS,
    lambda flat: course(
        dense(4, 32, 32, 1, act=nn.SiLU),
        values("friedman2"),
        with_("RMSprop", 2e-3),
        loss=lambda out, y: functional.huber_loss(out, y[:, 0] if flat else y),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)
broken(
    "fresh likelihood of raw scores",
    LOSS,
    lambda raw: course(
        dense(30, 32, 2, act=nn.ELU),
        classes("cancer"),
        with_("SGD", 0.5),
        loss=lambda out, y: functional.nll_loss(out if raw else out.log_softmax(-1), y),
    ),
    True,
    False,
)


def margins(halves: bool) -> Training:
    """A margin wants sides of -1 and 1, and gets 0 and 1."""
    x, kind = classes("moons")
    y = kind[:, None].float()
    side = y if halves else 2 * y - 1
    net = dense(2, 32, 32, 1)
    loss: Loss = lambda out, b: (1 - b * out).clamp(min=0).mean()  # noqa: E731
    return course(
        net,
        (x, side),
        with_("Adam", 3e-3),
        loss=loss,
        score=recalled(lambda: (net(x) > 0).long(), kind),
    )


broken("fresh margin of nought and one", LOSS, margins, True, False, sudden=False)

# --- the head
broken(
    "fresh ReLU before a loss in numbers",
    HEAD,
    lambda wrong: course(
        nn.Sequential(dense(10, 32, 1), nn.ReLU() if wrong else nn.Identity()),
        values("diabetes"),
        with_("Adam", 3e-3),
    ),
    True,
    False,
    sudden=False,
)


def bounded(wrong: bool) -> Training:
    """Stars from one to ten, a tanh before them."""
    x, y = values("roll")
    stars = 5.5 + 2.5 * y.clamp(-1.8, 1.8)
    body = dense(3, 32, 32, 1)
    with torch.no_grad():
        last = body[4]
        assert isinstance(last, nn.Linear)
        last.bias.fill_(0.0 if wrong else 5.0)
    net = nn.Sequential(body, nn.Tanh() if wrong else nn.Identity())
    return course(net, (x, stars), with_("NAdam", 3e-3))


broken("fresh tanh before ten stars", HEAD, bounded, True, False)


def rebuilt(wrong: bool) -> Training:
    """Columns with a sign come out of a sigmoid."""
    x = level(classes("cancer")[0])
    net = nn.Sequential(dense(30, 16, 30), nn.Sigmoid() if wrong else nn.Identity())
    return course(net, (x, x), with_("Adam", 5e-3))


broken("fresh coder with a sigmoid at its end", HEAD, rebuilt, True, False, steps=400)


# --- what the gradient does not reach
class Halves(nn.Module):
    """A part that reads and a part that answers."""

    def __init__(self, cut: str) -> None:
        super().__init__()
        self.reads = dense(64, 24, 3, act=nn.Tanh)
        self.answers = dense(3, 48, 10)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        if self.cut == "no_grad":
            with torch.no_grad():
                code = self.reads(x)
        else:
            code = self.reads(x)
            if self.cut == "detach":
                code = code.detach()
        out: Tensor = self.answers(code)
        return out


broken(
    "fresh code cut from its reader",
    CUT,
    lambda cut: course(Halves(cut), digits(), with_("SGD", 0.1, momentum=0.9)),
    "detach",
    "",
    steps=400,
    sudden=True,
)


def copied(wrong: bool) -> Training:
    """The optimiser was made for the network that was copied."""
    net = sensor(nn.GELU)
    other = copy.deepcopy(net)
    take = epochs(traces(), 32)
    optimizer = torch.optim.AdamW((other if wrong else net).parameters(), lr=2e-3)

    def step(k: int) -> Tensor:
        x, y = take()
        return update(optimizer, functional.cross_entropy(net(x), y))

    return Training(net, optimizer, step, told(net, *traces()))


broken("fresh optimiser of the copy", CUT, copied, True, False)


def rounded(hard: bool) -> Training:
    """The best word is chosen, looked up again, and answered from."""

    class Chooser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = dense(64, 32, 12)
            self.table = nn.Linear(12, 16)
            self.head = dense(16, 24, 10)

        def forward(self, x: Tensor) -> Tensor:
            s = self.scores(x)
            pick = functional.one_hot(s.argmax(-1), 12).float() if hard else s.softmax(-1)
            out: Tensor = self.head(self.table(pick))
            return out

    return course(Chooser(), digits(), with_("Adam", 5e-3))


broken("fresh choice without a slope", CUT, rounded, True, False, steps=400)

# --- gradients that add up
broken(
    "fresh sentences with gradients that add up",
    "missing-zero-grad",
    lambda clear: course(Sentence(), sentences(), with_("SGD", 0.2, momentum=0.9), clear=clear),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "fresh attention with gradients that add up",
    "missing-zero-grad",
    lambda clear: course(Attentive(3), sentences(), with_("SGD", 0.05, momentum=0.9), clear=clear),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "fresh pictures with gradients that add up",
    "missing-zero-grad",
    lambda clear: course(look(nn.SiLU), pictures(), with_("SGD", 0.1), clear=clear),
    False,
    True,
    steps=300,
    sudden=False,
)
