"""Odd unread runs that learn by reward, or by no gradient of their own."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import adam, fit, mlp
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Shown, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Rooms:
    """Many walkers in a field of 6 x 6; the way to the far corner costs a little at each move."""

    side, moves = 6, torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def __init__(self, count: int = 32, seed: int = 941) -> None:
        self.g = dice(seed)
        self.at = torch.randint(self.side, (count, 2), generator=self.g)

    def seen(self) -> Tensor:
        return torch.cat([functional.one_hot(self.at[:, k], self.side) for k in (0, 1)], 1).float()

    def step(self, act: Tensor) -> tuple[Tensor, Tensor]:
        self.at = (self.at + self.moves[act]).clamp(0, self.side - 1)
        done = (self.at == self.side - 1).all(1)
        fresh = torch.randint(self.side - 1, self.at.shape, generator=self.g)
        self.at = torch.where(done[:, None], fresh, self.at)
        return torch.where(done, 1.0, -0.02), done


def walked(policy: Callable[[Tensor], Tensor]) -> Callable[[], float]:
    """Arrivals in 40 moves of 64 walkers: 0 = by chance, 1 = by the shortest ways."""

    def score() -> float:
        def arrivals(choose: Callable[[Tensor], Tensor]) -> float:
            world = Rooms(64, 942)
            with torch.no_grad():
                return float(sum(world.step(choose(world.seen()))[1].sum() for _ in range(40)))

        def best(x: Tensor) -> Tensor:
            return torch.where(x[:, 5] < 1, 2, 0)

        g = dice(943)
        chance = arrivals(lambda x: torch.randint(4, (len(x),), generator=g))
        return (arrivals(policy) - chance) / (arrivals(best) - chance)

    return score


@healthy("unread double q with a buffer and a slow copy", 500)
def double_q() -> Training:
    net, world, g = mlp(12, 64, 64, 4), Rooms(16), dice(944)
    slow, held = copy.deepcopy(net).requires_grad_(False), deque[tuple[Tensor, ...]](maxlen=150)
    optimizer = adam(net, 2e-3)

    def step(k: int) -> Tensor:
        x = world.seen()
        with torch.no_grad():
            act = net(x).argmax(1)
        act = torch.where(
            torch.rand(16, generator=g) < max(0.1, 1 - k / 200),
            torch.randint(4, (16,), generator=g),
            act,
        )
        reward, done = world.step(act)
        held.append((x, act, reward, done, world.seen()))
        some = [held[int(i)] for i in torch.randint(len(held), (6,), generator=g)]
        a, b, r, end, after = (torch.cat(column) for column in zip(*some, strict=True))
        with torch.no_grad():
            then = slow(after).gather(1, net(after).argmax(1, keepdim=True))[:, 0]
        value = functional.smooth_l1_loss(
            net(a).gather(1, b[:, None])[:, 0], r + 0.95 * then * ~end
        )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if k % 25 == 0:
            slow.load_state_dict(net.state_dict())
        return value.detach()

    return Training({"net": net, "slow": slow}, optimizer, step, walked(lambda x: net(x).argmax(1)))


def rollout(policy: nn.Module, world: Rooms, length: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Seen, done, and how good it was in the end (discounted)."""
    held: tuple[list[Tensor], ...] = ([], [], [], [])
    for _ in range(length):
        x = world.seen()
        with torch.no_grad():
            act = torch.multinomial(policy(x).softmax(1), 1)[:, 0]
        reward, done = world.step(act)
        for column, value in zip(held, (x, act, reward, done), strict=True):
            column.append(value)
    seen, acts, rewards, ends = held
    total, returns = torch.zeros(len(rewards[0])), list[Tensor]()
    for reward, done in zip(reversed(rewards), reversed(ends), strict=True):
        total = reward + 0.95 * total * ~done
        returns.append(total)
    return torch.cat(seen), torch.cat(acts), torch.cat(returns[::-1])


@healthy("unread chances raised by what came of it", 300)
def reinforce() -> Training:
    net, world = mlp(12, 48, 4, act=nn.Tanh), Rooms()

    def loss() -> Tensor:
        x, act, good = rollout(net, world)
        sure = net(x).log_softmax(1).gather(1, act[:, None])[:, 0]
        return -(sure * (good - good.mean()) / (good.std() + 1e-6)).mean()

    return fit(net, adam(net, 5e-3), loss, walked(lambda x: net(x).argmax(1)))


@healthy("unread actor judged by a critic on the same body", 300)
def actor_critic() -> Training:
    body, actor, critic = (
        nn.Sequential(mlp(12, 64, 48), nn.ReLU()),
        nn.Linear(48, 4),
        nn.Linear(48, 1),
    )
    net, world = nn.ModuleDict({"body": body, "actor": actor, "critic": critic}), Rooms()
    policy = nn.Sequential(body, actor)

    def loss() -> Tensor:
        x, act, good = rollout(policy, world)
        h = body(x)
        sure, worth = actor(h).log_softmax(1), critic(h)[:, 0]
        told = sure.gather(1, act[:, None])[:, 0] * (good - worth).detach()
        spread = -(sure.exp() * sure).sum(1)
        return -told.mean() + 0.5 * (good - worth).square().mean() - 0.01 * spread.mean()

    return fit(net, adam(net, 5e-3), loss, walked(lambda x: policy(x).argmax(1)), clip=0.5)


@healthy("unread ratios clipped, four passes over each walk (ppo)", 320)
def proximal() -> Training:
    actor, critic, world = mlp(12, 48, 4, act=nn.Tanh), mlp(12, 48, 1, act=nn.Tanh), Rooms()
    optimizer = adam([*actor.parameters(), *critic.parameters()], 5e-3)
    held: list[Tensor] = []

    def step(k: int) -> Tensor:
        if k % 4 == 1:
            x, act, good = rollout(actor, world)
            with torch.no_grad():
                old = actor(x).log_softmax(1).gather(1, act[:, None])[:, 0]
                lead = good - critic(x)[:, 0]
            held[:] = [x, act, good, old, (lead - lead.mean()) / (lead.std() + 1e-6)]
        x, act, good, old, lead = held
        ratio = (actor(x).log_softmax(1).gather(1, act[:, None])[:, 0] - old).exp()
        told = torch.minimum(ratio * lead, ratio.clamp(0.8, 1.2) * lead).mean()
        value = 0.5 * (critic(x)[:, 0] - good).square().mean() - told
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.detach()

    return Training(
        {"actor": actor, "critic": critic}, optimizer, step, walked(lambda x: actor(x).argmax(1))
    )


@healthy("unread moves copied from one who knows", 200)
def cloning() -> Training:
    net, world = mlp(12, 48, 4), Rooms(48)

    def loss() -> Tensor:
        x = world.seen()
        aim = torch.where(x[:, 5] < 1, 2, 0)
        world.step(torch.randint(4, (48,), generator=world.g))
        return functional.cross_entropy(net(x), aim)

    return fit(net, adam(net, 5e-3), loss, walked(lambda x: net(x).argmax(1)))


@healthy("unread arm steered by actor and critic with slow copies", 400)
def steered() -> Training:
    """One move from where one stands to a mark; the reward is minus the way that is left."""
    actor, critic, g = mlp(4, 48, 48, 2), mlp(6, 64, 64, 1), dice(945)
    oa, oc = adam(actor, 1e-3), adam(critic, 3e-3)

    def left(x: Tensor, act: Tensor) -> Tensor:
        return (x[:, :2] + act.tanh() * 2 - x[:, 2:]).norm(dim=1, keepdim=True)

    def step(_: int) -> Tensor:
        x = torch.rand(128, 4, generator=g) * 2 - 1
        with torch.no_grad():
            act = actor(x) + 0.5 * torch.randn(128, 2, generator=g)
        value = functional.mse_loss(critic(torch.cat([x, act], 1)), -left(x, act))
        oc.zero_grad()
        value.backward()
        oc.step()
        oa.zero_grad()
        (-critic(torch.cat([x, actor(x)], 1)).mean()).backward()
        oa.step()
        return value.detach()

    def score() -> float:
        x = torch.rand(400, 4, generator=dice(946)) * 2 - 1
        with torch.no_grad():
            return float(1 - left(x, actor(x)).mean() / left(x, torch.zeros(400, 2)).mean())

    return Training({"actor": actor, "critic": critic}, [oa, oc], step, score)


@healthy("unread levers told by who stands there", 300)
def levers() -> Training:
    net, g = mlp(8, 48, 5), dice(947)
    truth = torch.randn(8, 5, generator=g)

    def loss() -> Tensor:
        x = torch.randn(96, 8, generator=g)
        sure = net(x).log_softmax(1)
        act = torch.multinomial(sure.detach().exp(), 1, generator=g)
        won = ((x @ truth).gather(1, act) + torch.randn(96, 1, generator=g) > 0).float()
        calm = 0.02 * (sure.exp() * sure).sum(1).mean()
        return calm - (sure.gather(1, act) * (won - 0.5)).mean()

    def score() -> float:
        x = torch.randn(500, 8, generator=dice(948))
        with torch.no_grad():
            got = (x @ truth).gather(1, net(x).argmax(1, keepdim=True)).mean()
        return float(got / (x @ truth).amax(1).mean())

    return fit(net, adam(net, 5e-3), loss, score)


@healthy("unread worth of places by what comes next (td)", 400)
def worth_of_places() -> Training:
    net, world = mlp(12, 48, 1), Rooms(48)

    def loss() -> Tensor:
        x = world.seen()
        act = torch.where(x[:, 5] < 1, 2, 0)
        wander = torch.rand(48, generator=world.g) < 0.3
        act = torch.where(wander, torch.randint(4, (48,), generator=world.g), act)
        reward, done = world.step(act)
        with torch.no_grad():
            aim = reward + 0.9 * net(world.seen())[:, 0] * ~done
        return functional.mse_loss(net(x)[:, 0], aim)

    def score() -> float:
        place = torch.cartesian_prod(torch.arange(6), torch.arange(6))[:-1]
        x = torch.cat([functional.one_hot(place[:, k], 6) for k in (0, 1)], 1).float()
        with torch.no_grad():
            out = net(x)[:, 0]
        return float(torch.corrcoef(torch.stack([out, -(10 - place.sum(1)).float()]))[0, 1])

    return fit(net, adam(net, 3e-3), loss, score)


@healthy("unread numpy alone, momentum by hand", 600)
def by_hand() -> Training:
    draw = np.random.RandomState(949)
    x = draw.randn(900, 6)
    y = (np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] > 0.3).astype(float)
    w = [draw.randn(6, 40) * 0.5, np.zeros(40), draw.randn(40, 1) * 0.2, np.zeros(1)]
    speed, shown = [np.zeros_like(v) for v in w], list[Shown]()

    def forward(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h = np.tanh(a @ w[0] + w[1])
        return h, 1 / (1 + np.exp(-(h @ w[2] + w[3])))

    def step(_: int) -> Tensor:
        some = draw.randint(0, 700, 64)
        a, b = x[some], y[some]
        h, p = forward(a)
        out = (p - b) / len(a)
        back = out @ w[2].T * (1 - h**2)
        grads = [a.T @ back, back.sum(0), h.T @ out, out.sum(0)]
        for v, s, grad in zip(w, speed, grads, strict=True):
            s *= 0.9
            s -= 0.2 * grad
            v += s
        shown[:] = [
            Shown(name="hidden", value=h, activation="tanh"),
            Shown(name="hidden", value=w[0], role="weight"),
            Shown(name="odds", value=p, activation="sigmoid"),
            Shown(name="odds", value=w[2], role="weight"),
        ]
        return torch.tensor(-np.mean(b * np.log(p + 1e-9) + (1 - b) * np.log(1 - p + 1e-9)))

    def score() -> float:
        said = forward(x[700:])[1] > 0.5
        truth = y[700:] > 0.5
        return float(said[truth].mean() + (~said[~truth]).mean() - 1)

    return Training({}, [], step, score, arrays=lambda: shown)
