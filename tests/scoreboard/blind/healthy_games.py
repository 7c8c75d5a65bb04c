"""Blind runs that learn: play, by trial and error, where losses say little of the skill."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn import functional

from scoreboard.blind.parts import adam, mlp
from scoreboard.loops import dice, update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Poles:
    """Carts with a pole each that is to be kept up, many at once; dropped poles are put up anew."""

    def __init__(self, count: int, seed: int, most: int = 120) -> None:
        self.dice, self.count, self.most = dice(seed), count, most
        self.state, self.age = self.fresh(), torch.zeros(count)

    def fresh(self) -> Tensor:
        return 0.1 * torch.rand(self.count, 4, generator=self.dice) - 0.05

    def look(self) -> Tensor:
        return self.state * torch.tensor([1.0, 1.0, 5.0, 1.0])

    def move(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Who fell, and who was stopped in time; both stand anew."""
        x, v, a, w = self.state.unbind(1)
        force = 20.0 * action - 10.0
        push = (force + 0.05 * w**2 * a.sin()) / 1.1
        turn = (9.8 * a.sin() - a.cos() * push) / (0.5 * (4 / 3 - 0.1 * a.cos() ** 2 / 1.1))
        go = push - 0.05 * turn * a.cos() / 1.1
        self.state = torch.stack([x + 0.02 * v, v + 0.02 * go, a + 0.02 * w, w + 0.02 * turn], 1)
        self.age = self.age + 1
        fell = (self.state[:, 0].abs() > 2.4) | (self.state[:, 2].abs() > 0.21)
        late = ~fell & (self.age >= self.most)
        anew = fell | late
        self.state = torch.where(anew[:, None], self.fresh(), self.state)
        self.age = self.age * ~anew
        return fell, late


def kept_up(act: nn.Module, width: int = 2) -> float:
    """Mean share of 120 ticks that a pole stays up, above chance's 22 of them."""
    poles = Poles(50, 99, 10_000)
    up, lasts = torch.ones(50, dtype=torch.bool), torch.zeros(50)
    with torch.no_grad():
        for _ in range(120):
            fell, _ = poles.move(act(poles.look())[:, :width].argmax(1).float())
            up &= ~fell
            lasts += up
    return float((lasts.mean() - 22) / (120 - 22))


@healthy("a pole kept up by reinforce", 150)
def reinforce() -> Training:
    """Whole games with a score each, standardised: the loss is about nothing throughout."""
    net = mlp(4, 32, 2, act=nn.Tanh)
    optimizer = adam(net, 1e-2)

    def step(k: int) -> Tensor:
        poles, logs, fallen = Poles(10, k), [], []
        for _ in range(40):
            choice = Categorical(logits=net(poles.look()))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            fallen.append(poles.move(action.float())[0])
        backs, worth = [], torch.zeros(10)
        for fell in reversed(fallen):
            worth = torch.where(fell, torch.zeros(10), 1 + 0.97 * worth)
            backs.append(worth)
        back = torch.stack(backs[::-1])
        back = (back - back.mean()) / (back.std() + 1e-6)
        return update(optimizer, -(torch.stack(logs) * back).mean())

    return Training(net, optimizer, step, lambda: kept_up(net))


@healthy("a pole kept up by actor and critic", 400)
def actor_critic() -> Training:
    """Ten ticks of sixteen carts an update; one body, two heads, a bonus for not being sure."""
    body, actor, critic = mlp(4, 48, 48, act=nn.Tanh), nn.Linear(48, 2), nn.Linear(48, 1)
    net = nn.ModuleDict({"body": body, "actor": actor, "critic": critic})
    optimizer, poles = adam(net, 4e-3), Poles(16, 51)

    def step(k: int) -> Tensor:
        logs, values, unsure, fallen = [], [], [], []
        for _ in range(10):
            h = torch.tanh(body(poles.look()))
            choice = Categorical(logits=actor(h))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            values.append(critic(h)[:, 0])
            unsure.append(choice.entropy())
            fallen.append(poles.move(action.float())[0])
        with torch.no_grad():
            worth = critic(torch.tanh(body(poles.look())))[:, 0]
        backs = []
        for fell in reversed(fallen):
            worth = 0.1 * ~fell + 0.95 * worth * ~fell
            backs.append(worth)
        gain = torch.stack(backs[::-1]) - torch.stack(values)
        policy = -(torch.stack(logs) * gain.detach()).mean()
        value = policy + 0.5 * gain.square().mean() - 0.01 * torch.stack(unsure).mean()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        return value.detach()

    whole = nn.Sequential(body, nn.Tanh(), actor)
    return Training(net, optimizer, step, lambda: kept_up(whole))


@healthy("a pole kept up by proximal updates", 400)
def proximal() -> Training:
    """PPO: a batch of play is learnt from four times over, with the ratio clipped."""
    actor, critic = mlp(4, 32, 2, act=nn.Tanh), mlp(4, 32, 1, act=nn.Tanh)
    net = nn.ModuleDict({"actor": actor, "critic": critic})
    optimizer, poles = adam(net, 4e-3), Poles(24, 52)
    held: list[Tensor] = []

    def play() -> None:
        seen, acted, logs, fallen = [], [], [], []
        with torch.no_grad():
            for _ in range(20):
                x = poles.look()
                choice = Categorical(logits=actor(x))
                action = choice.sample()
                seen.append(x)
                acted.append(action)
                logs.append(choice.log_prob(action))
                fallen.append(poles.move(action.float())[0])
            worth, backs = critic(poles.look())[:, 0], []
            for fell in reversed(fallen):
                worth = (0.1 + 0.95 * worth) * ~fell
                backs.append(worth)
            x, back = torch.cat(seen), torch.cat(backs[::-1])
            gain = back - critic(x)[:, 0]
            gain = (gain - gain.mean()) / (gain.std() + 1e-6)
        held[:] = [x, torch.cat(acted), torch.cat(logs), back, gain]

    def step(k: int) -> Tensor:
        if (k - 1) % 4 == 0:
            play()
        x, action, before, back, gain = held
        choice = Categorical(logits=actor(x))
        ratio = (choice.log_prob(action) - before).exp()
        policy = -torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        value = functional.mse_loss(critic(x)[:, 0], back)
        return update(optimizer, policy + 0.5 * value - 0.01 * choice.entropy().mean())

    return Training(net, optimizer, step, lambda: kept_up(actor))


class Floor:
    """A room of five by five: from anywhere to the corner, round a wall, one step at a time."""

    wall = ((1, 1), (1, 2), (2, 2), (3, 2))

    def __init__(self, seed: int) -> None:
        self.dice = dice(seed)
        self.at = self.start()

    def start(self) -> tuple[int, int]:
        while True:
            a, b = torch.randint(5, (2,), generator=self.dice).tolist()
            if (a, b) not in self.wall and (a, b) != (4, 4):
                return a, b

    @staticmethod
    def seen(at: tuple[int, int]) -> Tensor:
        picture = torch.zeros(25)
        picture[5 * at[0] + at[1]] = 1.0
        return picture

    def move(self, action: int) -> tuple[float, bool]:
        down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[action]
        to = min(4, max(0, self.at[0] + down)), min(4, max(0, self.at[1] + right))
        self.at = self.at if to in self.wall else to
        return (1.0, True) if self.at == (4, 4) else (-0.02, False)


def arrives(net: nn.Module) -> float:
    """From how many of the free places it finds to the corner within twelve moves."""
    room, found, asked = Floor(1), 0, 0
    for start in range(24):
        room.at = divmod(start, 5)
        if room.at in Floor.wall:
            continue
        asked += 1
        for _ in range(12):
            with torch.no_grad():
                there = room.move(int(net(room.seen(room.at)[None]).argmax()))[1]
            if there:
                found += 1
                break
    return found / asked


@healthy("the way to the corner by deep q-learning", 600)
def deep_q() -> Training:
    """A memory to draw from, a target network that follows in jumps, less chance as it goes."""
    net, target = mlp(25, 48, 4), mlp(25, 48, 4)
    target.load_state_dict(net.state_dict())
    optimizer, room, g = adam(net, 3e-3), Floor(53), dice(54)
    memory: deque[tuple[Tensor, int, float, bool, Tensor]] = deque(maxlen=3000)
    walked = [0]

    def walk(chance: float) -> None:
        x = room.seen(room.at)
        action = int(torch.randint(4, (1,), generator=g))
        if float(torch.rand(1, generator=g)) > chance:
            with torch.no_grad():
                action = int(net(x[None]).argmax())
        gain, there = room.move(action)
        memory.append((x, action, gain, there, room.seen(room.at)))
        walked[0] += 1
        if there or walked[0] > 30:
            room.at, walked[0] = room.start(), 0

    def step(k: int) -> Tensor:
        for _ in range(64 if k == 1 else 3):
            walk(max(0.1, 1 - k / 300))
        index = torch.randint(len(memory), (48,), generator=g).tolist()
        rows = [memory[i] for i in index]
        x, later = torch.stack([r[0] for r in rows]), torch.stack([r[4] for r in rows])
        gain = torch.tensor([r[2] for r in rows])
        goes_on = torch.tensor([float(not r[3]) for r in rows])
        with torch.no_grad():
            worth = gain + 0.9 * goes_on * target(later).max(1).values
        said = net(x).gather(1, torch.tensor([[r[1]] for r in rows]))[:, 0]
        loss = update(optimizer, functional.smooth_l1_loss(said, worth))
        if k % 25 == 0:
            target.load_state_dict(net.state_dict())
        return loss

    return Training({"policy": net, "target": target}, optimizer, step, lambda: arrives(net))


@healthy("a point steered by actor and twin critics", 500)
def steered() -> Training:
    """TD3 in the small: the point pays for its distance and its fuel; targets follow slowly."""
    actor, first, second = mlp(4, 32, 2), mlp(6, 48, 1), mlp(6, 48, 1)
    net = nn.ModuleDict({"actor": actor, "first": first, "second": second})
    slow = nn.ModuleDict({"actor": mlp(4, 32, 2), "first": mlp(6, 48, 1), "second": mlp(6, 48, 1)})
    slow.load_state_dict(net.state_dict())
    critics = [*first.parameters(), *second.parameters()]
    tools, g = [adam(actor, 3e-3), adam(critics, 5e-3)], dice(55)

    def move(x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        speed = 0.6 * x[:, 2:] + 1.5 * a
        place = (x[:, :2] + 0.3 * speed).clamp(-2, 2)
        paid = -0.2 * place.square().sum(1) - 0.1 * a.square().sum(1)
        return torch.cat([place, speed], 1), paid

    def step(k: int) -> Tensor:
        x = torch.randn(64, 4, generator=g) * torch.tensor([1.0, 1.0, 0.5, 0.5])
        with torch.no_grad():
            noise = 0.2 * torch.randn(64, 2, generator=g)
            free = 2 * torch.rand(64, 2, generator=g) - 1
            some = torch.rand(64, 1, generator=g) < 0.3
            a = torch.where(some, free, (torch.tanh(actor(x)) + noise).clamp(-1, 1))
            later, paid = move(x, a)
            b = torch.tanh(slow["actor"](later))
            b = (b + (0.2 * torch.randn(64, 2, generator=g)).clamp(-0.4, 0.4)).clamp(-1, 1)
            joint = torch.cat([later, b], 1)
            worth = paid + 0.8 * torch.minimum(slow["first"](joint), slow["second"](joint))[:, 0]
        joint = torch.cat([x, a], 1)
        value = functional.mse_loss(first(joint)[:, 0], worth)
        value = value + functional.mse_loss(second(joint)[:, 0], worth)
        loss = update(tools[1], value)
        if k % 2 == 0:
            update(tools[0], -first(torch.cat([x, torch.tanh(actor(x))], 1)).mean())
            with torch.no_grad():
                for s, p in zip(slow.parameters(), net.parameters(), strict=True):
                    s.lerp_(p, 0.03)
        return loss

    def costs(gain: float) -> float:
        x = torch.randn(200, 4, generator=dice(56)) * torch.tensor([1.0, 1.0, 0.5, 0.5])
        whole = 0.0
        with torch.no_grad():
            for _ in range(15):
                x, paid = move(x, gain * torch.tanh(actor(x)))
                whole -= float(paid.mean())
        return whole

    def score() -> float:
        """How much less is paid in fifteen moves than by one who does nothing."""
        return 1 - costs(1.0) / costs(0.0)

    return Training({"now": net, "slow": slow}, tools, step, score)


@healthy("which of eight arms, from what is seen", 500)
def bandit() -> Training:
    """A policy is told only what its own choice was worth; the loss swings about nothing."""
    g = dice(57)
    tastes = torch.randn(8, 6, generator=g)
    net, optimizer_seed = mlp(6, 48, 8), dice(58)
    optimizer = adam(net, 3e-3)
    usual = [0.0]

    def step(k: int) -> Tensor:
        x = torch.randn(64, 6, generator=g)
        out = net(x)
        a = torch.multinomial(out.detach().softmax(1), 1, generator=optimizer_seed)
        gain = (x @ tastes.T).gather(1, a)[:, 0] + 0.3 * torch.randn(64, generator=g)
        logs = out.log_softmax(1).gather(1, a)[:, 0]
        loss = update(optimizer, -(logs * (gain - usual[0])).mean())
        usual[0] = 0.9 * usual[0] + 0.1 * float(gain.mean())
        return loss

    def score() -> float:
        x = torch.randn(1000, 6, generator=dice(59))
        worth = x @ tastes.T
        with torch.no_grad():
            got = worth.gather(1, net(x).argmax(1, keepdim=True)).mean()
        return float(got / worth.max(1).values.mean())

    return Training(net, optimizer, step, score)


@healthy("a gaussian policy finds the way to throw", 500)
def thrown() -> Training:
    """Angle and force for a target at some distance; the spread of the throws is learnt too."""
    g = dice(60)
    net = nn.ModuleDict({"mean": mlp(1, 32, 32, 2, act=nn.Tanh)})
    spread = nn.ParameterDict({"log": nn.Parameter(torch.full((2,), -0.7))})
    net["spread"] = spread
    optimizer = adam(net, 5e-3)

    def missed(x: Tensor, a: Tensor) -> Tensor:
        angle, force = 0.8 + 0.3 * a[:, 0], 1.5 + 0.5 * a[:, 1]
        return (force**2 * torch.sin(2 * angle) - (2.5 + 1.2 * x[:, 0])).square()

    def step(k: int) -> Tensor:
        x = 2 * torch.rand(128, 1, generator=g) - 1
        choice = Normal(net["mean"](x), spread["log"].exp())
        a = choice.sample()
        gain = -missed(x, a)
        gain = (gain - gain.mean()) / gain.std()
        return update(optimizer, -(choice.log_prob(a).sum(1) * gain).mean())

    def score() -> float:
        x = 2 * torch.rand(500, 1, generator=dice(61)) - 1
        with torch.no_grad():
            return float(1 - missed(x, net["mean"](x)).mean() / (1.2 * x[:, 0]).square().mean())

    return Training(net, optimizer, step, score)
