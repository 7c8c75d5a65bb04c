"""Runs of particular kinds of networks that fail as only they can."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import sampler, scaled, table, text
from scoreboard.generative import Experts, Siamese, Vae, experts, gan, ring, siamese, vae
from scoreboard.loops import fit, text_fit
from scoreboard.nets import mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

MODES = "adversarial-mode-collapse"
STOP = "missing-stop-gradient"
POSTERIOR = "posterior-collapse"
ROUTER = "router-collapse"
ATTENTION = "attention-collapse"


# --- GAN
def pixels() -> Tensor:
    x, _ = table("digits")
    return x / 8 - 1


RUNS.broken(
    "gan ring generator too quick",
    MODES,
    lambda rates: gan(mlp(8, 2), mlp(2, 1, activation="leaky"), ring(), rates),
    (3e-2, 1e-4),
    (1e-3, 1e-3),
    steps=600,
    sudden=False,
)
RUNS.broken(
    "gan cloud slow critic",
    MODES,
    lambda rates: gan(
        mlp(4, 2, depth=1),
        mlp(2, 1, width=32),
        torch.randn(2000, 2, generator=torch.Generator().manual_seed(1)),
        rates,
        noise=4,
    ),
    (2e-2, 1e-4),
    (1e-3, 2e-3),
    steps=600,
    sudden=False,
)
RUNS.broken(
    "gan digits generator too quick",
    MODES,
    lambda rates: gan(
        nn.Sequential(*mlp(16, 64, width=64), nn.Tanh()),
        mlp(64, 1, activation="leaky"),
        pixels(),
        rates,
        noise=16,
    ),
    (2e-2, 1e-4),
    (1e-3, 1e-3),
    steps=600,
    sudden=False,
)
RUNS.broken(
    "gan ring rmsprop",
    MODES,
    lambda rates: gan(
        mlp(8, 2, width=32), mlp(2, 1, width=32), ring(modes=5), rates, opt="rmsprop"
    ),
    (1e-2, 1e-5),
    (5e-4, 1e-3),
    steps=600,
    sudden=False,
)

# --- SimSiam
RUNS.broken(
    "simsiam digits",
    STOP,
    lambda stop: siamese(Siamese(64), scaled("digits")[0], stop),
    False,
    True,
    sudden=False,
)
RUNS.broken(
    "simsiam blobs adam",
    STOP,
    lambda stop: siamese(Siamese(30, latent=32), scaled("blobs")[0], stop, opt="adam", lr=1e-3),
    False,
    True,
    sudden=False,
)
RUNS.broken(
    "simsiam cancer sgd",
    STOP,
    lambda stop: siamese(
        Siamese(30, width=48, latent=12), scaled("breast_cancer")[0], stop, opt="sgd", lr=0.2
    ),
    False,
    True,
    sudden=False,
)
RUNS.broken(
    "simsiam wide",
    STOP,
    lambda stop: siamese(
        Siamese(64, width=128, latent=24), scaled("digits")[0], stop, opt="adamw", lr=2e-3
    ),
    False,
    True,
    sudden=False,
)

# --- VAE
RUNS.broken(
    "vae digits beta",
    POSTERIOR,
    lambda beta: vae(Vae(64), table("digits")[0] / 16, beta),
    10.0,
    0.05,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "vae blobs beta",
    POSTERIOR,
    lambda beta: vae(Vae(30, 4, activation="tanh"), scaled("blobs")[0], beta, opt="adamw"),
    30.0,
    0.5,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "vae cancer beta",
    POSTERIOR,
    lambda beta: vae(
        Vae(30, 6, width=48), scaled("breast_cancer")[0], beta, opt="rmsprop", lr=1e-3
    ),
    40.0,
    0.5,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "vae digits wide beta",
    POSTERIOR,
    lambda beta: vae(
        Vae(64, 16, width=128, activation="gelu"), table("digits")[0] / 16, beta, lr=1e-3
    ),
    5.0,
    0.02,
    steps=500,
    sudden=False,
)


# --- mixture of experts
def routed(data: str, count: int, sharp: float, balance: float, **settings: object) -> Training:
    x, y = scaled(data)
    outputs = 1 if y.is_floating_point() else int(y.max()) + 1
    net = Experts(x.shape[1], outputs, count)
    if sharp:
        with torch.no_grad():
            net.router.bias[0] += sharp
    return experts(net, sampler(x, y, 64), x, balance, **settings)  # type: ignore[arg-type]


RUNS.broken(
    "experts digits one favoured",
    ROUTER,
    lambda s: routed("digits", 4, *s),
    (4.0, 0.0),
    (0.0, 0.05),
    steps=400,
)
RUNS.broken(
    "experts friedman unbalanced",
    ROUTER,
    lambda s: routed("friedman", 8, *s, opt="momentum", lr=0.02),
    (3.0, 0.0),
    (0.0, 0.05),
    steps=400,
)
RUNS.broken(
    "experts blobs one favoured",
    ROUTER,
    lambda s: routed("blobs", 6, *s, opt="adamw", lr=2e-3),
    (5.0, 0.0),
    (0.0, 0.05),
    steps=400,
)


# --- attention
class Head(nn.Module):
    """Attention by hand, with a temperature, skips and norms only where asked."""

    def __init__(self, width: int, skips: bool, temperature: float, causal: bool) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.v, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm1: nn.Module = nn.LayerNorm(width) if skips else nn.Identity()
        self.norm2: nn.Module = nn.LayerNorm(width) if skips else nn.Identity()
        self.skips, self.temperature, self.causal = skips, temperature, causal

    def attend(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (
            part(x).view(b, t, 4, d // 4).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        logits = q @ k.transpose(-1, -2) * (self.temperature / (d // 4) ** 0.5)
        if self.causal:
            future = torch.ones(t, t, dtype=torch.bool).triu(1)
            logits = logits.masked_fill(future, float("-inf"))
        y = functional.softmax(logits, dim=-1) @ v
        return self.o(y.transpose(1, 2).reshape(b, t, d))

    def forward(self, x: Tensor) -> Tensor:
        y = self.attend(self.norm1(x))
        x = x + y if self.skips else y
        y = self.down(functional.gelu(self.up(self.norm2(x))))
        return x + y if self.skips else y


class Attentive(nn.Module):
    """Rows of digits, or letters."""

    def __init__(
        self,
        layers: int,
        skips: bool = True,
        temperature: float = 1.0,
        letters: int = 0,
        width: int = 32,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.embed: nn.Module = nn.Embedding(letters, width) if letters else nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(32, width) * 0.1)
        self.blocks = nn.ModuleList(
            Head(width, skips, temperature, letters > 0) for _ in range(layers)
        )
        self.head = nn.Linear(width, letters or classes)
        self.letters = letters

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x if self.letters else x.unflatten(1, (-1, 8)))
        y = y + self.place[: y.shape[1]]
        for block in self.blocks:
            y = block(y)
        return self.head(y if self.letters else y.mean(1))


RUNS.broken(
    "attention without skips digits",
    (ATTENTION, "depth-vanishing"),
    lambda skips: fit(Attentive(6, skips), "digits", opt="adam", lr=1e-3),
    False,
    True,
    steps=200,
)
RUNS.broken(
    "attention without skips text",
    (ATTENTION, "depth-vanishing"),
    lambda skips: text_fit(Attentive(5, skips, letters=text()[1]), opt="adam", lr=2e-3),
    False,
    True,
    steps=250,
)


def in_tokens(skips: bool) -> Training:
    """Rows of a table as three tokens of eight features."""
    x, y = scaled("blobs")
    return fit(Attentive(6, skips, classes=4), (x[:, :24], y), opt="adamw", lr=2e-3)


RUNS.broken("attention without skips blobs", (ATTENTION, "depth-vanishing"), in_tokens, False, True)
RUNS.broken(
    "attention without temperature text",
    ATTENTION,
    lambda t: text_fit(Attentive(3, True, t, letters=text()[1]), opt="adam", lr=1e-3),
    3000.0,
    1.0,
    steps=250,
)
