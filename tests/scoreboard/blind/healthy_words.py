"""Blind runs that learn: text, sequences and series."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.blind.parts import (
    Feed,
    adam,
    below_unigrams,
    fit,
    hits,
    letters,
    mlp,
    neighbours,
    windows,
)
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


class CharLSTM(nn.Module):
    """Letters in, letters out."""

    def __init__(self, kinds: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(kinds, 24)
        self.lstm = nn.LSTM(24, width, batch_first=True)
        self.out = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(x))[0])


@healthy("prose letter by letter", 300)
def char_rnn() -> Training:
    """Which word comes is drawn: about six in seven parts of the surprise can go."""
    ids, asked, kinds = letters()
    net, g = CharLSTM(kinds), dice(31)

    def loss() -> Tensor:
        x, y = windows(ids, 24, 32, g)
        return functional.cross_entropy(net(x).transpose(1, 2), y)

    return fit(net, adam(net, 5e-3), loss, lambda: below_unigrams(net, asked, 32), clip=1.0)


class GPT(nn.Module):
    """Layers that look back; the table of letters is used twice."""

    def __init__(self, kinds: int, width: int = 48, depth: int = 2, length: int = 32) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(kinds, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Look(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, kinds, bias=False)
        self.apply(self.begin)
        self.head.weight = self.wte.weight

    @staticmethod
    def begin(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.wte(x) + self.wpe.weight[: x.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


class Look(nn.Module):
    """Attention to what came before, and a small network."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = mlp(width, 3 * width, width, act=nn.GELU)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, t, w = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(seen.transpose(1, 2).reshape(n, t, w))
        return x + self.mlp(self.ln2(x))


@healthy("prose by a small gpt", 300)
def small_gpt() -> Training:
    """Warm-up, cosine, decay for matrices only, clipping at one; as in every such script."""
    ids, asked, kinds = letters()
    net, g = GPT(kinds), dice(32)
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in net.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=4e-3, betas=(0.9, 0.95))
    plan = lr_scheduler.LambdaLR(
        optimizer, lambda k: min((k + 1) / 30, 0.55 + 0.45 * math.cos(math.pi * k / 310))
    )

    def loss() -> Tensor:
        x, y = windows(ids, 24, 32, g)
        out = net(x)
        return functional.cross_entropy(out.view(-1, out.shape[-1]), y.view(-1))

    return fit(net, optimizer, loss, lambda: below_unigrams(net, asked, 32), plan=plan, clip=1.0)


class Translator(nn.Module):
    """A GRU reads, another one writes and looks back at what was read (Bahdanau)."""

    def __init__(self, kinds: int = 14, width: int = 32) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(kinds, 16), nn.Embedding(kinds + 1, 16)
        self.encoder = nn.GRU(16, width, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * width, width)
        self.decoder = nn.GRUCell(16 + 2 * width, width)
        self.wq, self.wk = nn.Linear(width, width), nn.Linear(2 * width, width, bias=False)
        self.v = nn.Linear(width, 1, bias=False)
        self.out = nn.Linear(3 * width, kinds)
        self.kinds = kinds

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        memory, last = self.encoder(self.source(x))
        h = torch.tanh(self.bridge(torch.cat([last[0], last[1]], 1)))
        keys, outs = self.wk(memory), []
        word = torch.full((len(x),), self.kinds)
        for t in range(x.shape[1]):
            score = self.v(torch.tanh(self.wq(h)[:, None] + keys))[..., 0]
            seen = (score.softmax(1)[..., None] * memory).sum(1)
            h = self.decoder(torch.cat([self.target(word), seen], 1), h)
            outs.append(self.out(torch.cat([h, seen], 1)))
            word = outs[-1].argmax(1) if y is None else y[:, t]
        return torch.stack(outs, 1)


@healthy("words turned round by two networks", 450)
def translated() -> Training:
    """The teacher says the word before most of the time; asked without a teacher."""
    net, g = Translator(), dice(33)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(14, (count, 7), generator=g)
        return x, (x.flip(1) + 3) % 14

    def loss() -> Tensor:
        x, y = pairs(48)
        out = net(x, y if torch.rand(()) < 0.8 else None)
        return functional.cross_entropy(out.flatten(0, 1), y.flatten())

    def score() -> float:
        x, y = pairs(200)
        with torch.no_grad():
            return hits(net(x, None).argmax(2), y)

    return fit(net, adam(net, 6e-3), loss, score, clip=1.0)


@healthy("tags by a network that reads both ways", 250)
def tagger() -> Training:
    """Sentences of unequal length, packed; padding is not asked for."""
    g = dice(34)
    lengths = torch.randint(4, 15, (1500,), generator=g)
    x = torch.randint(1, 60, (1500, 14), generator=g)
    before, behind = x.roll(1, 1) % 2, x.roll(-1, 1) % 3 == 0
    before[:, 0] = 0
    last = torch.arange(14)[None] == lengths[:, None] - 1
    y = torch.where(x % 5 == 0, 3 + before, torch.where(behind & ~last & (x % 2 == 0), 2, x % 2))
    blank = torch.arange(14)[None] >= lengths[:, None]
    x, y = x.masked_fill(blank, 0), y.masked_fill(blank, -100)
    net = nn.ModuleDict(
        {"words": nn.Embedding(60, 20, padding_idx=0),
         "reads": nn.LSTM(20, 32, batch_first=True, bidirectional=True),
         "drop": nn.Dropout(0.2), "tags": nn.Linear(64, 5)}
    )  # fmt: skip
    take = Feed(x[:1200], y[:1200], lengths[:1200], batch=32)

    def said(a: Tensor, n: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            net["words"](a), n, batch_first=True, enforce_sorted=False
        )
        h = nn.utils.rnn.pad_packed_sequence(net["reads"](packed)[0], batch_first=True)[0]
        return net["tags"](net["drop"](h))

    def loss() -> Tensor:
        a, b, n = take()
        out = said(a, n)
        return functional.cross_entropy(out.transpose(1, 2), b[:, : out.shape[1]])

    def score() -> float:
        net.eval()
        with torch.no_grad():
            out = said(x[1200:], lengths[1200:]).argmax(2)
        truth = y[1200:, : out.shape[1]]
        return hits(out[truth >= 0], truth[truth >= 0])

    return fit(net, adam(net, 8e-3), loss, score)


@healthy("what a heap of words is about", 400)
def bags() -> Training:
    """Sentences as bags with offsets, a large learning rate (torchtext's tutorial)."""
    g = dice(35)
    topic = torch.randint(4, (1600,), generator=g)
    odds = 0.5 * torch.ones(4, 120)
    for k in range(4):
        odds[k, 20 * k : 20 * k + 20] = 2.5
    words = torch.stack([torch.multinomial(odds[k], 14, True, generator=g) for k in topic])
    lengths = torch.randint(6, 15, (1600,), generator=g)
    bag, head = nn.EmbeddingBag(120, 24), nn.Linear(24, 4)
    net = nn.ModuleDict({"embedding": bag, "fc": head})
    for weight in (bag.weight, head.weight):
        nn.init.uniform_(weight, -0.5, 0.5)
    nn.init.zeros_(head.bias)
    take = Feed(torch.arange(1300), batch=16)

    def said(rows: Tensor) -> Tensor:
        flat = torch.cat([words[r, : lengths[r]] for r in rows])
        return head(bag(flat, functional.pad(lengths[rows].cumsum(0)[:-1], (1, 0))))

    def loss() -> Tensor:
        (rows,) = take()
        return functional.cross_entropy(said(rows), topic[rows])

    def score() -> float:
        with torch.no_grad():
            return hits(said(torch.arange(1300, 1600)).argmax(1), topic[1300:])

    return fit(net, torch.optim.SGD(net.parameters(), lr=2.0), loss, score, clip=0.1)


@healthy("words that stand beside each other", 500)
def skip_gram() -> Training:
    """Two tables, the true neighbour against five drawn ones; words of one topic draw near."""
    g = dice(36)
    net = nn.ModuleDict({"inside": nn.Embedding(60, 12), "around": nn.Embedding(60, 12)})
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.1)
    topics = torch.arange(60) // 10

    def loss() -> Tensor:
        a = torch.randint(60, (128,), generator=g)
        same = topics[a] * 10 + torch.randint(10, (128,), generator=g)
        b = torch.where(torch.rand(128, generator=g) < 0.8, same,
                        torch.randint(60, (128,), generator=g))  # fmt: skip
        wrong = torch.randint(60, (128, 5), generator=g)
        v = net["inside"](a)
        right = (v * net["around"](b)).sum(1)
        false = (v[:, None] * net["around"](wrong)).sum(2)
        return -(functional.logsigmoid(right) + functional.logsigmoid(-false).sum(1)).mean()

    def score() -> float:
        rows = torch.arange(60)
        known, asked = rows[rows % 10 < 7], rows[rows % 10 >= 7]
        return neighbours(net["inside"], (known, topics[known]), (asked, topics[asked]))

    return fit(net, adam(net, 2e-2), loss, score)


@healthy("masked words guessed", 500)
def masked() -> Training:
    """One word in five is hidden; what it was follows from those beside it."""
    g = dice(39)
    net = nn.ModuleDict(
        {"words": nn.Embedding(25, 32), "places": nn.Embedding(12, 32),
         "body": nn.TransformerEncoder(
             nn.TransformerEncoderLayer(32, 2, 64, 0.0, "gelu", batch_first=True,
                                        norm_first=True), 1, enable_nested_tensor=False),
         "out": nn.Linear(32, 24)}
    )  # fmt: skip

    def lines(count: int) -> tuple[Tensor, Tensor]:
        start = torch.randint(24, (count, 1), generator=g)
        pace = torch.randint(1, 4, (count, 1), generator=g)
        y = (start + pace * torch.arange(12)) % 24
        hidden = torch.rand(y.shape, generator=g) < 0.2
        return y.masked_fill(hidden, 24), y.masked_fill(~hidden, -100)

    def said(x: Tensor) -> Tensor:
        return net["out"](net["body"](net["words"](x) + net["places"].weight))

    def loss() -> Tensor:
        x, y = lines(48)
        return functional.cross_entropy(said(x).flatten(0, 1), y.flatten())

    def score() -> float:
        x, y = lines(300)
        net.eval()
        with torch.no_grad():
            out = said(x).argmax(2)
        return hits(out[y >= 0], y[y >= 0])

    return fit(net, torch.optim.AdamW(net.parameters(), lr=4e-3), loss, score, clip=1.0)
