"""Recurrent networks, transformers and their heirs, small."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from matrix.kit import Kit, kind, of
from matrix.vision import Attention

BATCH, TIME, WORDS, WIDTH, CLASSES = 6, 5, 11, 8, 3


def words(time: int = TIME) -> Tensor:
    return torch.randint(0, WORDS, (BATCH, time))


def classify(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(words()), torch.randint(0, CLASSES, (BATCH,)))


def next_word(model: nn.Module) -> Tensor:
    text = words(TIME + 1)
    out = model(text[:, :-1])
    return F.cross_entropy(out.flatten(0, 1), text[:, 1:].flatten())


def series(model: nn.Module) -> Tensor:
    return F.mse_loss(model(torch.randn(BATCH, TIME, 4)), torch.randn(BATCH, 2))


class Recurrent(nn.Module):
    """Embedding, recurrent layers, a head on the last step."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.body = body
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.body(self.embed(x))
        return self.head(out[:, -1])


@kind("lstm")
def lstm() -> Kit:
    return of(Recurrent(nn.LSTM(WIDTH, 7, batch_first=True), 7), classify)


@kind("lstm, two layers, both ways, projected")
def bidirectional() -> Kit:
    body = nn.LSTM(WIDTH, 7, 2, batch_first=True, bidirectional=True, proj_size=4, dropout=0.1)
    return of(Recurrent(body, 8), classify)


@kind("gru")
def gru() -> Kit:
    return of(Recurrent(nn.GRU(WIDTH, 7, batch_first=True), 7), classify)


@kind("rnn, relu")
def elman() -> Kit:
    return of(Recurrent(nn.RNN(WIDTH, 7, nonlinearity="relu", batch_first=True), 7), classify)


class Packed(nn.Module):
    """Packed sequences between two recurrent layers, and a time-first one at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.one = nn.LSTM(WIDTH, 7, batch_first=True)
        self.two = nn.GRU(7, 6, batch_first=True)
        self.three = nn.GRU(6, 4)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([5, 5, 4, 3, 2, 2])
        packed = pack_padded_sequence(self.embed(x), lengths, batch_first=True)
        assert isinstance(packed, PackedSequence)
        out, _ = self.one(packed)
        out, _ = self.two(out)
        rows, _ = pad_packed_sequence(out)
        out, _ = self.three(rows)
        return self.head(out[-1])


@kind("packed sequences")
def packed() -> Kit:
    return of(Packed(), classify)


class ByHand(nn.Module):
    """Cells in a loop, longer than the calls that are followed."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 7)
        long = isinstance(self.cell, nn.LSTMCell)
        pair = (state, state)
        for step in x.unbind(1):
            pair = self.cell(step, pair) if long else (self.cell(step, pair[0]), state)
        return self.head(pair[0])


@kind("gru cells by hand")
def gru_cells() -> Kit:
    return of(ByHand(nn.GRUCell(4, 7)), series)


@kind("lstm cells by hand")
def lstm_cells() -> Kit:
    return of(ByHand(nn.LSTMCell(4, 7)), series)


class Equations(nn.Module):
    """A recurrence written out: functions and linear layers in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 7)
        self.outer = nn.Linear(7, 7, bias=False)
        self.head = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 7)
        for step in x.unbind(1):
            state = torch.tanh(self.inner(step) + self.outer(state))
        return self.head(state)


@kind("recurrence written out")
def equations() -> Kit:
    return of(Equations(), series)


class Seq2Seq(nn.Module):
    """Additive attention (Bahdanau) of a decoder's cell over an encoder's states."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.encoder = nn.GRU(WIDTH, 7, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(14, 7)
        self.cell = nn.GRUCell(WIDTH + 14, 7)
        self.query = nn.Linear(7, 5, bias=False)
        self.keys = nn.Linear(14, 5, bias=False)
        self.score = nn.Linear(5, 1, bias=False)
        self.head = nn.Linear(7, WORDS)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        states, _ = self.encoder(self.embed(x))
        keys = self.keys(states)
        state = torch.tanh(self.bridge(states.mean(1)))
        given, out = self.embed(y), []
        for step in given.unbind(1):
            scores = self.score(torch.tanh(keys + self.query(state).unsqueeze(1))).squeeze(-1)
            context = (F.softmax(scores, -1).unsqueeze(-1) * states).sum(1)
            state = self.cell(torch.cat([step, context], 1), state)
            out.append(self.head(state))
        return torch.stack(out, 1)


@kind("seq2seq with attention")
def seq2seq() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x, y = words(), words(4)
        return F.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten())

    pooled = "weights of a pooling, shown as attention"
    softmaxes = ("score:softmax", "score@query:softmax", "score@query#3:softmax")
    return of(Seq2Seq(), loss, unseen=dict.fromkeys(softmaxes, pooled))


class Encoder(nn.Module):
    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 2, 16, 0.1, F.gelu, batch_first=True, norm_first=norm_first
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(self.embed(x), src_key_padding_mask=x == 0)
        return self.head(hidden.mean(1))


@kind("transformer encoder")
def encoder() -> Kit:
    return of(Encoder(norm_first=False), classify)


@kind("transformer encoder, norms first")
def pre_norm() -> Kit:
    return of(Encoder(norm_first=True), classify)


class Whole(nn.Module):
    """Encoder and decoder, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.body = nn.Transformer(WIDTH, 2, 1, 1, 16, 0.0)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(y.shape[1])
        out = self.body(self.embed(x.T), self.embed(y.T), tgt_mask=mask, tgt_is_causal=True)
        return self.head(out).transpose(0, 1)


@kind("transformer, time first")
def transformer() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x, y = words(), words()
        return F.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten())

    return of(Whole(), loss)


class GPTBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU("tanh"), nn.Linear(16, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x), causal=True)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Embedding and head share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(TIME, WIDTH)
        self.h = nn.ModuleList([GPTBlock(), GPTBlock()])
        self.ln_f = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.h:
            y = block(y)
        return self.lm_head(self.ln_f(y))


@kind("gpt, tied")
def gpt() -> Kit:
    model = GPT()
    return of(model, next_word, optimizers=[torch.optim.AdamW(model.parameters(), 1e-3)])


class RMSNorm(nn.Module):
    """As LLaMA's, by hand: a weight and no module of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Llama(nn.Module):
    """Gated units, rotary positions, fewer keys than queries, a mask in the attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(), RMSNorm()
        self.q_proj = nn.Linear(WIDTH, 8, bias=False)
        self.k_proj = nn.Linear(WIDTH, 4, bias=False)
        self.v_proj = nn.Linear(WIDTH, 4, bias=False)
        self.o_proj = nn.Linear(8, WIDTH, bias=False)
        self.gate_proj = nn.Linear(WIDTH, 12, bias=False)
        self.up_proj = nn.Linear(WIDTH, 12, bias=False)
        self.down_proj = nn.Linear(12, WIDTH, bias=False)
        self.norm = nn.RMSNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, WORDS, bias=False)

    @staticmethod
    def rotate(x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        angle = torch.arange(x.shape[-2])[:, None] / 10 ** torch.arange(half)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        z = self.input_layernorm(y)
        batch, time, _ = z.shape
        q = self.rotate(self.q_proj(z).view(batch, time, 2, 4).transpose(1, 2))
        k = self.rotate(self.k_proj(z).view(batch, time, 1, 4).transpose(1, 2))
        v = self.v_proj(z).view(batch, time, 1, 4).transpose(1, 2)
        mask = torch.ones(time, time).tril().bool()
        z = F.scaled_dot_product_attention(q, k.expand_as(q), v.expand_as(q), attn_mask=mask)
        y = y + self.o_proj(z.transpose(1, 2).flatten(2))
        z = self.post_attention_layernorm(y)
        y = y + self.down_proj(F.silu(self.gate_proj(z)) * self.up_proj(z))
        return self.lm_head(self.norm(y))


@kind("llama-like")
def llama() -> Kit:
    return of(Llama(), next_word)


class Experts(nn.Module):
    """A sparse mixture: the two best of four experts a token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.gate = nn.Linear(WIDTH, 4, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 12), nn.ReLU(), nn.Linear(12, WIDTH)) for _ in range(4)
        )
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(0, 1)
        share, chosen = F.softmax(self.gate(y), -1).topk(2, -1)
        out = torch.zeros_like(y)
        for number, expert in enumerate(self.experts):
            rows, place = (chosen == number).nonzero(as_tuple=True)
            out = out.index_add(0, rows, expert(y[rows]) * share[rows, place, None])
        return self.head(out).view(*x.shape, WORDS)


@kind("mixture of experts, sparse")
def experts() -> Kit:
    return of(Experts(), next_word)


class Mamba(nn.Module):
    """A selective scan: parameters of its own, convolution over time, gates."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.in_proj = nn.Linear(WIDTH, 12, bias=False)
        self.conv1d = nn.Conv1d(6, 6, 3, groups=6, padding=2)
        self.x_proj = nn.Linear(6, 1 + 2 * 3, bias=False)
        self.dt_proj = nn.Linear(1, 6)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, 4).float().repeat(6, 1)))
        self.D = nn.Parameter(torch.ones(6))
        self.out_proj = nn.Linear(6, WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        y = self.embed(words)
        x, gate = self.in_proj(y).chunk(2, -1)
        x = F.silu(self.conv1d(x.transpose(1, 2))[..., : words.shape[1]].transpose(1, 2))
        step, b, c = self.x_proj(x).split([1, 3, 3], -1)
        step = F.softplus(self.dt_proj(step))
        a = torch.exp(step.unsqueeze(-1) * -self.A_log.exp())
        state, out = x.new_zeros(len(x), 6, 3), []
        for time in range(words.shape[1]):
            move = (step[:, time] * x[:, time]).unsqueeze(-1) * b[:, time].unsqueeze(1)
            state = a[:, time] * state + move
            out.append((state * c[:, time].unsqueeze(1)).sum(-1) + self.D * x[:, time])
        return self.head(y + self.out_proj(torch.stack(out, 1) * F.silu(gate)))


@kind("mamba-like scan")
def mamba() -> Kit:
    return of(Mamba(), next_word)


class RetNet(nn.Module):
    """Retention, in parallel form, with a group norm over heads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.gate = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm = nn.GroupNorm(2, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        y = self.embed(words)
        time = words.shape[1]
        far = (torch.arange(time)[:, None] - torch.arange(time)).float()
        decay = torch.where(far >= 0, 0.9**far, torch.zeros(()))
        kept = (self.q(y) @ self.k(y).transpose(1, 2) / math.sqrt(WIDTH) * decay) @ self.v(y)
        kept = self.norm(kept.flatten(0, 1)).view_as(kept)
        return self.head(y + self.out(F.silu(self.gate(y)) * kept))


@kind("retnet")
def retnet() -> Kit:
    return of(RetNet(), next_word)


class Linearised(nn.Module):
    """Linear attention (Katharopoulos et al. 2020): elu + 1 as feature map, einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        y = self.embed(words)
        q, k, v = self.qkv(y).chunk(3, -1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        summed = torch.einsum("btd,bte->btde", k, v).cumsum(1)
        out = torch.einsum("btd,btde->bte", q, summed)
        return self.head(y + out / torch.einsum("btd,btd->bt", q, k.cumsum(1)).unsqueeze(-1))


@kind("linear attention")
def linear_attention() -> Kit:
    return of(Linearised(), next_word)


class TCN(nn.Module):
    """Dilated convolutions over time, weights normalised."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.one = norm(nn.Conv1d(4, 6, 2, dilation=1))
        self.two = norm(nn.Conv1d(6, 6, 2, dilation=2))
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(F.pad(x.transpose(1, 2), (1, 0))))
        x = F.dropout(F.relu(self.two(F.pad(x, (2, 0)))), 0.1, self.training)
        return self.head(x[..., -1])


@kind("tcn, weight norm")
def tcn() -> Kit:
    return of(TCN(), series)


class Bag(nn.Module):
    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, WIDTH, sparse=sparse)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag(x))


@kind("fasttext-like bag")
def bag() -> Kit:
    return of(Bag(sparse=False), classify)


@kind("word2vec, sparse adam")
def word2vec() -> Kit:
    centre, context = (nn.Embedding(WORDS, WIDTH, sparse=True) for _ in range(2))

    class SkipGram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centre, self.context = centre, context

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (self.centre(x) * self.context(y)).sum(-1)

    model = SkipGram()

    def loss(model: nn.Module) -> Tensor:
        x, y = words(1).squeeze(1), words(1).squeeze(1)
        return F.binary_cross_entropy_with_logits(model(x, y), (x == y).float())

    return of(model, loss, optimizers=[torch.optim.SparseAdam(model.parameters(), 0.01)])


@kind("ctc over a recurrent net")
def ctc() -> Kit:
    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 8, 3, padding=1)
            self.rnn = nn.GRU(8, 6, bidirectional=True)
            self.head = nn.Linear(12, WORDS)

        def forward(self, x: Tensor) -> Tensor:
            x = F.hardtanh(self.conv(x.transpose(1, 2)), 0, 20).permute(2, 0, 1)
            out, _ = self.rnn(x)
            return F.log_softmax(self.head(out), -1)

    def loss(model: nn.Module) -> Tensor:
        out = model(torch.randn(BATCH, 9, 4))
        long, short = torch.full((BATCH,), 9), torch.full((BATCH,), 3)
        return F.ctc_loss(out, torch.randint(1, WORDS, (BATCH, 3)), long, short)

    return of(Speech(), loss)
