"""Odd unread runs that learn: codes of pictures, and what is missing of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import Feed, adam, digits, every, explained, fit, looks, mlp
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import Then, stains

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("unread price of the code up and down in waves", 400)
def waves() -> Training:
    (x, _), (asked, _) = digits()
    x, asked = x.flatten(1), asked.flatten(1)
    coder, maker, take, count = mlp(64, 96, 16), mlp(8, 96, 64), Feed(x, batch=64), [0]

    def loss() -> Tensor:
        count[0] += 1
        (a,) = take()
        mean, log = coder(a).chunk(2, 1)
        out = maker(mean + (0.5 * log).exp() * torch.randn_like(mean))
        price = 0.5 * (mean**2 + log.exp() - log - 1).sum(1).mean()
        return (out - a).square().sum(1).mean() + min(1.0, count[0] % 100 / 50) * price

    def score() -> float:
        with torch.no_grad():
            return explained(maker(coder(asked)[:, :8]), asked)

    both = nn.ModuleDict({"coder": coder, "maker": maker})
    return fit(both, adam(both, 2e-3), loss, score)


@healthy("unread pixel after pixel, none sees what is to come", 400)
def pixels() -> Training:
    (x, _), asked = digits()
    net, take = mlp(64, 189, 64), Feed((x.flatten(1) > 0.3).float(), batch=64)
    order = torch.arange(189) % 63
    masks = [
        (order[:, None] >= torch.arange(64)).float(),
        (torch.arange(64)[:, None] > order).float(),
    ]
    grown = [m for m in net if isinstance(m, nn.Linear)]

    def told(a: Tensor) -> Tensor:
        h = functional.linear(a, grown[0].weight * masks[0], grown[0].bias).relu()
        return functional.linear(h, grown[1].weight * masks[1], grown[1].bias)

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, a: Tensor) -> Tensor:
            return told(a)

    made = Made()

    def loss() -> Tensor:
        (a,) = take()
        return functional.binary_cross_entropy_with_logits(made(a), a)

    def score() -> float:
        a = (asked[0].flatten(1) > 0.3).float()
        with torch.no_grad():
            known = a.mean(0).clamp(1e-3, 1 - 1e-3).expand_as(a)
            return float(
                1
                - functional.binary_cross_entropy_with_logits(made(a), a)
                / functional.binary_cross_entropy(known, a)
            )

    return fit(made, adam(made, 5e-3), loss, score)


@healthy("unread half of all patches hidden (mae)", 350)
def hidden() -> Training:
    (x, _), (asked, _) = digits()
    net, g, take = mlp(128, 160, 160, 64, act=nn.GELU), dice(962), Feed(x, batch=64)

    def error(x: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        seen = torch.rand(len(x), 1, 4, 4, generator=g) > 0.5
        seen = seen.repeat_interleave(2, 2).repeat_interleave(2, 3).flatten(1).float()
        flat = x.flatten(1)
        return (net(torch.cat([flat * seen, seen], 1)) - flat) * (1 - seen), (
            flat - flat.mean(0)
        ) * (1 - seen)

    def score() -> float:
        with torch.no_grad():
            left, plain = error(asked, dice(963))
        return float(1 - left.square().sum() / plain.square().sum())

    return fit(net, adam(net, 2e-3), lambda: error(take()[0], g)[0].square().mean(), score)


@healthy("unread book of thirty-two words for pieces of stains", 350)
def book() -> Training:
    (x, _), (asked, _) = stains()
    coder, maker, words = (
        nn.Conv2d(1, 6, 4, stride=4),
        nn.ConvTranspose2d(6, 1, 4, stride=4),
        nn.Embedding(32, 6),
    )
    both, take = nn.ModuleDict({"coder": coder, "maker": maker, "words": words}), Feed(x, batch=16)
    nn.init.normal_(words.weight, 0, 0.5)

    def said(x: Tensor) -> tuple[Tensor, Tensor]:
        h = coder(x).permute(0, 2, 3, 1)
        word = words(torch.cdist(h.flatten(0, 2), words.weight).argmin(1)).view_as(h)
        straight = h + (word - h).detach()
        rest = functional.mse_loss(word, h.detach()) + 0.25 * functional.mse_loss(h, word.detach())
        return maker(straight.permute(0, 3, 1, 2)), rest

    def loss() -> Tensor:
        (a,) = take()
        out, rest = said(a)
        return functional.mse_loss(out, a) + rest

    def score() -> float:
        with torch.no_grad():
            return explained(said(asked)[0], asked)

    return fit(both, adam(both, 5e-3), loss, score)


@healthy("unread stains made clean, seen at four sizes of code", 300)
def clean() -> Training:
    (x, mask), (asked, truth) = stains()
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(24, 12, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(12, 1, 3, padding=1),
        Then(torch.sigmoid),
    )
    take = Feed(x, mask[:, None].float(), batch=24)

    def loss() -> Tensor:
        a, b = take()
        return functional.binary_cross_entropy(net(a), b)

    def score() -> float:
        with torch.no_grad():
            return explained(net(asked), truth[:, None].float())

    return fit(
        net,
        adam(net, 5e-3),
        loss,
        score,
        after=every(
            50, lambda: looks(net, functional.binary_cross_entropy, (asked, truth[:, None].float()))
        ),
    )
