"""Tiny models of other libraries, where they are installed: the same bar as for our own kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from matrix.kit import Kit, of
from matrix.rig import bare, compare, same, slowly, watched

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
    "llama": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1},
    "mistral": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
                "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
    "opt": {"hidden_size": 8, "word_embed_proj_dim": 8, "ffn_dim": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 16},
    "gpt_neox": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
                 "num_attention_heads": 2},
    "mamba": {"hidden_size": 8, "state_size": 4, "num_hidden_layers": 2},
    "mixtral": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
                "num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 3},
}  # fmt: skip
"""Kind of a causal language model -> its configuration."""


@pytest.mark.parametrize("kind", SMALL)
def test_a_language_model_of_transformers(kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    def make() -> Kit:
        config = transformers.AutoConfig.for_model(
            kind, vocab_size=19, bos_token_id=0, eos_token_id=1, pad_token_id=2, **SMALL[kind]
        )
        model = transformers.AutoModelForCausalLM.from_config(config).train()

        def loss(model: nn.Module) -> Tensor:
            text = torch.randint(3, 19, (6, 5))
            result: Tensor = model(input_ids=text, labels=text).loss
            return result

        return of(model, loss)

    judge(make)


NETWORKS: dict[str, Callable[[Any], nn.Module]] = {
    "vit": lambda models: models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=3),
    "swin": lambda models: models.SwinTransformer(
        [4, 4], 8, [1, 1], [2, 2], [2, 2], num_classes=3, stochastic_depth_prob=0.0
    ),
    "densenet": lambda models: models.DenseNet(4, (2, 2), 8, num_classes=3),
    "squeezenet": lambda models: models.SqueezeNet(num_classes=3),
}
"""Name -> how to make a small one from `torchvision.models`."""


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_of_torchvision(kind: str) -> None:
    torchvision = pytest.importorskip(
        "torchvision", reason="torchvision is not installed", exc_type=ImportError
    )

    def make() -> Kit:
        def loss(model: nn.Module) -> Tensor:
            return F.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 0]))

        return of(NETWORKS[kind](torchvision.models), loss, batch=4)

    judge(make)


def judge(make: Callable[[], Kit]) -> None:
    """It trains as bare, and what is seen agrees with the slow look."""
    without = bare(make)
    _, looks, kit = slowly(make)
    ended, seen = watched(make)
    assert same(without, ended)
    tally = compare(seen, looks, kit)
    print(f"{len(tally.layers)} layers, {len(tally.functions)} functions, {tally.figures} figures")
    assert tally.wrong == []
    assert tally.missing == {}
