"""Odd unread runs that learn: unusual layers, starts, and weights that are cut, rounded or kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from scoreboard.blind.parts import digits, mlp, table
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import Plus, Then, cloth, go, plant, tones

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("unread twenty blocks that say nothing at first (rezero)", 250)
def rezero() -> Training:
    class Block(Plus):
        def __init__(self) -> None:
            gain = nn.Parameter(torch.zeros(()))
            super().__init__(nn.Linear(32, 32), nn.ReLU(), gain=gain)

    net = nn.Sequential(nn.Linear(12, 32), *(Block() for _ in range(20)), nn.Linear(32, 3))
    return go(net, plant(), lr=5e-3)


@healthy("unread last layer of each block begins at nought (fixup)", 220)
def fixup() -> Training:
    def block() -> Plus:
        last = nn.Conv2d(12, 12, 3, padding=1)
        nn.init.zeros_(last.weight)
        return Plus(nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), last)

    head = nn.Linear(12, 6)
    nn.init.zeros_(head.weight)
    body = [nn.Conv2d(3, 12, 3, stride=2), *(block() for _ in range(4)), nn.ReLU()]
    return go(
        nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head),
        cloth(),
        lr=1e-2,
        batch=24,
    )


@healthy("unread one layer eight times over", 250)
def tied() -> Training:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.last = (
                nn.Linear(64, 40),
                nn.Linear(40, 40),
                nn.Linear(40, 10),
            )

        def forward(self, x: Tensor) -> Tensor:
            h = start = self.first(x.flatten(1))
            for _ in range(8):
                h = torch.tanh(self.again(h) + start)
            return self.last(h)

    return go(Net(), digits())


@healthy("unread random body that stays, head learnt", 300)
def reservoir() -> Training:
    body = mlp(64, 400, 400, act=nn.Tanh).requires_grad_(False)
    head = nn.Linear(400, 10)
    return go(
        nn.Sequential(nn.Flatten(), body, nn.Tanh(), head), digits(), weights=head.parameters()
    )


@healthy("unread thin side layers on a grown network (lora)", 250)
def lora() -> Training:
    class Beside(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base.requires_grad_(False)
            self.down = nn.Parameter(0.2 * torch.randn(4, base.in_features))
            self.up = nn.Parameter(torch.zeros(base.out_features, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + x @ self.down.T @ self.up.T

    (x, y), (asked, truth) = table("kinds")
    net = mlp(20, 64, 64, 4)
    old = torch.optim.Adam(net.parameters(), lr=5e-3)
    for k in range(120):
        rows = slice(k * 48 % 1800, k * 48 % 1800 + 48)
        old.zero_grad()
        functional.cross_entropy(net(x[rows]), y[rows]).backward()
        old.step()
    turn = torch.linalg.qr(torch.randn(20, 20, generator=dice(1)))[0] * 0.35 + torch.eye(20) * 0.8
    side = nn.Sequential(*(Beside(m) if isinstance(m, nn.Linear) else m for m in net))
    thin = [p for p in side.parameters() if p.requires_grad]
    return go(side, ((x @ turn, y), (asked @ turn, truth)), lr=5e-3, weights=thin)


class Rounded(nn.Linear):
    """Weights rounded on their way in, gradients passed straight through."""

    levels = 7.0

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.abs().max().detach() / self.levels
        whole = (self.weight / size).round() * size
        return functional.linear(x, self.weight + (whole - self.weight).detach(), self.bias)


class Signed(nn.Linear):
    """Only the signs of the weights are used."""

    def forward(self, x: Tensor) -> Tensor:
        sign = self.weight.sign() * self.weight.abs().mean().detach()
        return functional.linear(x, self.weight + (sign - self.weight).detach(), self.bias)


def built(kind: type[nn.Linear], width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        kind(64, width),
        nn.BatchNorm1d(width),
        nn.Hardtanh(),
        kind(width, width),
        nn.BatchNorm1d(width),
        nn.Hardtanh(),
        kind(width, 10),
    )


RUNS.simple("unread weights of four bits", lambda: go(built(Rounded, 48), digits()), 250)
RUNS.simple("unread weights that are signs", lambda: go(built(Signed, 96), digits(), lr=5e-3), 300)


@healthy("unread four in five weights cut on the way", 350)
def pruned() -> Training:
    net = nn.Sequential(nn.Flatten(), mlp(64, 96, 96, 10))
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)][:2]

    def before(k: int) -> None:
        if k in (100, 150, 200):
            for layer in layers:
                prune.l1_unstructured(layer, "weight", 0.42)

    return go(net, digits(), before=before)


@healthy("unread lottery ticket begun again", 300)
def ticket() -> Training:
    net = nn.Sequential(nn.Flatten(), mlp(64, 96, 48, 10))
    first = {k: v.clone() for k, v in net.state_dict().items()}
    trained = go(net, digits(), peek=False)
    for k in range(1, 150):
        trained.step(k)
    masks = {
        k: (v.abs() > v.abs().flatten().quantile(0.75))
        for k, v in net.state_dict().items()
        if v.dim() == 2
    }
    net.load_state_dict({k: v * masks[k] if k in masks else v for k, v in first.items()})
    for name, weight in net.named_parameters():
        if name in masks:
            weight.register_hook(lambda grad, kept=masks[name]: grad * kept)
    return go(net, digits())


@healthy("unread largest of three lines (maxout)", 250)
def maxout() -> Training:
    fold = Then(lambda x: x.unflatten(1, (-1, 3)).amax(2))
    net = nn.Sequential(nn.Linear(12, 96), fold, nn.Linear(32, 72), fold, nn.Linear(24, 3))
    return go(net, plant(), "SGD", 0.05, own={"momentum": 0.9, "nesterov": True})


@healthy("unread gates beside values (glu)", 250)
def gated() -> Training:
    net = nn.Sequential(
        nn.Conv1d(1, 32, 7, stride=2),
        nn.GLU(1),
        nn.Conv1d(16, 48, 5, stride=2),
        nn.GLU(1),
        nn.AdaptiveMaxPool1d(2),
        nn.Flatten(),
        nn.Linear(48, 5),
    )
    return go(net, tones())


@healthy("unread eight in ten units of a wide layer dropped", 350)
def dropped() -> Training:
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 500), nn.ReLU(), nn.Dropout(0.8), nn.Linear(500, 10)
    )
    return go(net, digits())


@healthy("unread lengths and directions of weights apart", 350)
def normed() -> Training:
    net = nn.Sequential(
        *(
            parametrizations.weight_norm(nn.Linear(a, 32)) if a else nn.SELU()
            for a in (12, 0, 32, 0)
        ),
        parametrizations.weight_norm(nn.Linear(32, 3)),
    )
    return go(net, plant(), "NAdam", 1e-2)


@healthy("unread only the eight loudest of 128 pass", 300)
def loudest() -> Training:
    def few(x: Tensor) -> Tensor:
        return x * (x >= x.topk(8, dim=1).values[:, -1:])

    return go(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 128), Then(few), nn.Linear(128, 10)), digits()
    )


@healthy("unread seven units for two moons", 400)
def few_units() -> Training:
    return go(mlp(2, 7, 2, act=nn.Tanh), table("moons"), "RMSprop", 2e-2)


@healthy("unread steps for activations, straight through", 300)
def steps() -> Training:
    def step(x: Tensor) -> Tensor:
        soft = torch.sigmoid(3 * x)
        return soft + ((x > 0).float() - soft).detach()

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), Then(step), nn.Linear(128, 10))
    return go(net, digits())


@healthy("unread twenty-four layers kept in norm", 300)
def deep_norm() -> Training:
    def block() -> Plus:
        return Plus(nn.LayerNorm(24), nn.Linear(24, 24), nn.GELU())

    net = nn.Sequential(
        nn.Linear(12, 24), *(block() for _ in range(24)), nn.LayerNorm(24), nn.Linear(24, 3)
    )
    return go(net, plant(), "AdamW", 2e-3)


@healthy("unread four rows at a time through group norms", 400)
def one_row() -> Training:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.GroupNorm(4, 16),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3),
        nn.GroupNorm(4, 32),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 6),
    )
    return go(net, cloth(), lr=5e-3, batch=4)
