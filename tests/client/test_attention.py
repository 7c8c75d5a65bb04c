"""Attention that custom forwards compute: weights, queries and keys are in the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]


class Block(nn.Module):
    """Causal self-attention as nanoGPT writes it, by `how`."""

    def __init__(self, how: str, heads: int = 2, shared: int = 0) -> None:
        super().__init__()
        self.how, self.heads, self.shared = how, heads, shared
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = (
            each.view(batch, time, self.heads, width // self.heads).transpose(1, 2)
            for each in self.qkv(x).split(width, dim=2)
        )
        if self.shared:
            k, v = k[:, : self.shared], v[:, : self.shared]
        self.seen = {"q": q.detach().clone(), "k": k.detach().clone()}
        if self.how == "dotted":
            y = F.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=bool(self.shared)
            )
        else:
            logits = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])
            mask = torch.ones(time, time).tril() == 0
            logits = logits.masked_fill(mask, -math.inf)
            if self.how == "method":
                weights = logits.softmax(-1)
            elif self.how == "module":
                weights = nn.Softmax(dim=-1)(logits)
            else:
                weights = F.softmax(logits, dim=-1)
            self.seen["weights"] = weights.detach().clone()
            y = weights @ v
        result: Tensor = self.out(y.transpose(1, 2).reshape(batch, time, width))
        return result


def trained(model: nn.Module, time: int = 6, batch: int = 3, steps: int = 2) -> Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(steps):
        loss = model(torch.randn(batch, time, 8)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    return watch


@pytest.mark.parametrize("how", ["function", "method", "module"])
def test_an_explicit_softmax_shows_rows_of_its_weights(how: str, frames_of: FramesOf) -> None:
    block = Block(how)
    frames = frames_of(trained(block))
    slot = frames.slot(What.ATTENTION, "qkv:attention")
    assert (slot.axes, slot.shape, slot.source) == ("npu", (6, 4, 6), (3, 2, 6, 6))
    expected = block.seen["weights"][:, :, [0, 1, 2, 3]].flatten(0, 1)
    np.testing.assert_array_equal(frames.held(What.ATTENTION, "qkv:attention"), expected)
    np.testing.assert_allclose(frames.held(What.ATTENTION, "qkv:attention").sum(-1), 1.0, rtol=1e-5)
    layer = frames.plan.layers[frames.layers.index("qkv:attention")]
    assert (layer.kind, layer.activation) == ("softmax", "")
    assert frames.layers == ["qkv", "qkv:attention", "out"]
    assert frames.of(What.ACTIVATION, "qkv:attention") is None


def test_a_dotted_attention_shows_queries_and_keys(frames_of: FramesOf) -> None:
    block = Block("dotted")
    frames = frames_of(trained(block))
    name = "qkv:attention"
    np.testing.assert_array_equal(
        frames.held(What.QUERY, name), block.seen["q"][:, :, :4].flatten(0, 1)
    )
    np.testing.assert_array_equal(frames.held(What.KEY, name), block.seen["k"].flatten(0, 1))
    layer = frames.plan.layers[frames.layers.index(name)]
    assert layer.kind == "scaled_dot_product_attention"
    assert layer.options == {"scale": 0.5, "causal": 1.0}


def test_long_sequences_and_many_heads_are_cut_alike(frames_of: FramesOf) -> None:
    name = "qkv:attention"
    block = Block("function", heads=4)
    frames = frames_of(trained(block, time=200, batch=5))
    shown = frames.held(What.ATTENTION, name)
    assert shown.shape == (8, 4, 128)  # two samples of four heads
    np.testing.assert_array_equal(
        shown, block.seen["weights"][:2, :, 16:128:32, :128].flatten(0, 1)
    )
    np.testing.assert_allclose(shown.sum(-1), 1.0, rtol=1e-5)  # causal rows are whole
    block = Block("dotted", heads=4)
    frames = frames_of(trained(block, time=200, batch=5))
    assert frames.held(What.QUERY, name).shape == (8, 4, 2)
    assert frames.held(What.KEY, name).shape == (8, 128, 2)


def test_heads_that_share_keys_show_a_pair_that_belongs_together(frames_of: FramesOf) -> None:
    block = Block("dotted", heads=4, shared=2)
    frames = frames_of(trained(block))
    name = "qkv:attention"
    np.testing.assert_array_equal(frames.held(What.QUERY, name), block.seen["q"][:, 0, :4])
    np.testing.assert_array_equal(frames.held(What.KEY, name), block.seen["k"][:, 0])


def test_several_blocks_have_their_own_layers(frames_of: FramesOf) -> None:
    frames = frames_of(trained(nn.Sequential(Block("function"), Block("dotted"))))
    assert frames.layers == [
        "0.qkv", "0.qkv:attention", "0.out", "1.qkv", "1.qkv:attention", "1.out",
    ]  # fmt: skip


def test_softmaxes_over_experts_classes_and_pixels_are_no_attention(frames_of: FramesOf) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.mix = nn.Linear(8, 4), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            choice = F.softmax(self.gate(x), dim=-1)  # (samples, positions, experts)
            pixels = F.softmax(self.mix(x)[:, None], dim=1)
            mixed: Tensor = self.mix(x) * choice.sum(-1, keepdim=True) + pixels[:, 0]
            return mixed

    frames = frames_of(trained(Net()))
    assert not [slot for slot in frames.plan.slots if slot.what is What.ATTENTION]


class Torchs(nn.Module):
    """Torch's own layer of attention, asked as `asked`."""

    def __init__(self, **asked: Any) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
        self.asked = asked
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.attend.in_proj_weight, self.attend.in_proj_bias
        self.seen = {"x": x, "weight": weight.detach().clone(), "bias": bias.detach().clone()}
        result: Tensor = self.attend(x, x, x, **self.asked)[0]
        return result

    def heads(self) -> Tensor:
        x = self.seen["x"]
        given = F.linear(x, self.seen["weight"], self.seen["bias"]).chunk(3, dim=-1)
        q, k = (each.view(*x.shape[:2], 2, 4).transpose(1, 2) for each in given[:2])
        return torch.softmax(q @ k.transpose(-2, -1) / 2, -1)[:, :, :4].flatten(0, 1)


def test_multihead_attention_shows_the_weights_of_each_head(frames_of: FramesOf) -> None:
    net = Torchs(need_weights=True)
    frames = frames_of(trained(net))
    np.testing.assert_allclose(frames.held(What.ATTENTION, "attend"), net.heads(), rtol=1e-4)
    assert frames.layers == ["attend", "attend.out_proj.weight"]


def test_multihead_attention_that_returns_no_weights_shows_queries_and_keys(
    frames_of: FramesOf,
) -> None:
    net = Torchs(need_weights=False)
    frames = frames_of(trained(net))
    query, key = (frames.held(what, "attend") for what in (What.QUERY, What.KEY))
    weights = torch.softmax(torch.tensor(query @ key.swapaxes(-1, -2) / 2), -1)
    np.testing.assert_allclose(weights, net.heads(), rtol=1e-4)
    layer = frames.plan.layers[0]
    assert (layer.kind, layer.options["num_heads"]) == ("MultiheadAttention", 2.0)
    assert (layer.options["causal"], layer.options["scale"]) == (0.0, 0.5)


def test_keys_under_a_mask_of_the_users_are_left_out(frames_of: FramesOf) -> None:
    mask = torch.ones(6, 6).triu(1).bool()
    causal = frames_of(trained(Torchs(need_weights=False, attn_mask=mask, is_causal=True)))
    assert causal.plan.layers[0].options["causal"] == 1.0
    masked = frames_of(trained(Torchs(need_weights=False, attn_mask=mask)))
    assert not [slot for slot in masked.plan.slots if slot.what is What.QUERY]


@pytest.mark.parametrize("asked", [True, False])
def test_looking_into_torchs_attention_changes_no_bit_of_the_training(asked: bool) -> None:
    def weights(watched: bool) -> list[Tensor]:
        torch.manual_seed(3)
        net = nn.TransformerEncoderLayer(8, 2, 16) if not asked else Torchs(need_weights=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        watch = deadband.watch(net, optimizer, every=1) if watched else None
        for _ in range(4):
            loss = net(torch.randn(3, 6, 8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if watch is not None:
                watch.step(loss=loss)
        return [each.detach() for each in net.parameters()]

    for bare, watched in zip(weights(False), weights(True), strict=True):
        assert torch.equal(bare, watched)


def test_somebody_elses_attention_inside_torchs_is_the_one_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    theirs = F.scaled_dot_product_attention

    def exchanged(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(1)
        return theirs(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", exchanged)
    trained(Torchs(need_weights=False), steps=3)
    assert len(calls) == 3


def test_half_precision_attention_is_shown_as_it_is(frames_of: FramesOf) -> None:
    block = Block("function")
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    watch = deadband.watch(block, optimizer, every=1)
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = block(torch.randn(3, 6, 8)).square().mean()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    weights = block.seen["weights"][:, :, :4].flatten(0, 1).float()
    np.testing.assert_array_equal(frames_of(watch).held(What.ATTENTION, "qkv:attention"), weights)


class Routed(nn.Module):
    """Every token goes to one of three experts, or the sequence is pooled by one query."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.router = nn.Linear(8, 3)
        self.out = nn.Linear(8, 8)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        share = torch.softmax(self.router(x), self.dim)
        result: Tensor = self.out(x * share.max(-1, keepdim=True).values)
        return result


def test_a_choice_of_each_token_is_an_activation(frames_of: FramesOf) -> None:
    frames = frames_of(trained(Routed(-1)))
    assert frames.layers == ["router", "router:softmax", "out"]
    layer = frames.plan.layers[1]
    assert (layer.activation, layer.units) == ("softmax", 3)
    assert frames.of(What.ATTENTION, "router:softmax") is None


def test_a_softmax_over_the_tokens_is_no_choice_of_theirs(frames_of: FramesOf) -> None:
    assert frames_of(trained(Routed(1))).layers == ["router", "out"]


class Asking(nn.Module):
    """One question a sample, asked of all its places, by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.query, self.key, self.score = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.seen = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        query, keys = self.query(x[:, 0]), self.key(x)
        if self.how == "row":
            weights = F.softmax(query[:, None] @ keys.transpose(1, 2) / 3, dim=-1)[:, 0]
        elif self.how == "column":
            weights = (keys @ query[:, :, None])[:, :, 0].div(3).softmax(1)
        elif self.how == "einsum":
            weights = torch.einsum("nd,nkd->nk", query, keys).softmax(dim=1)
        elif self.how == "additive":
            scores = self.score(torch.tanh(keys + query[:, None])).squeeze(-1)
            weights = scores.masked_fill(scores > 9, -9.0).softmax(-1)
        else:
            weights = self.score(keys).softmax(dim=1)[:, :, 0]
        self.seen = weights.detach().clone()
        return (weights[:, :, None] * x).sum(1)


@pytest.mark.parametrize("how", ["row", "column", "einsum", "additive", "pooled"])
def test_one_question_of_all_places_is_attention(how: str, frames_of: FramesOf) -> None:
    asking = Asking(how)
    frames = frames_of(trained(asking))
    (name,) = [layer.name for layer in frames.plan.layers if "attention" in layer.name]
    slot = frames.slot(What.ATTENTION, name)
    assert (slot.axes, slot.shape) == ("npu", (3, 1, 6))
    np.testing.assert_array_equal(frames.held(What.ATTENTION, name)[:, 0], asking.seen)


class Choosing(nn.Module):
    """Experts that are chosen among by a weight, however the product is written."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.gate = how, nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "einsum":
            return torch.einsum("ntd,ed->nte", x, self.gate.weight).softmax(-1)
        scores: Tensor = self.gate(x[:, :1])
        return (scores.squeeze(1) if self.how == "squeezed" else scores[:, 0]).softmax(-1)


@pytest.mark.parametrize("how", ["plain", "squeezed", "einsum"])
def test_a_choice_among_experts_is_no_attention(how: str, frames_of: FramesOf) -> None:
    frames = frames_of(trained(Choosing(how)))
    assert not [layer.name for layer in frames.plan.layers if "attention" in layer.name]
    assert [layer.name for layer in frames.plan.layers if "softmax" in layer.name]
