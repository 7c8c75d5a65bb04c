"""Which loss it is, from what autograd leaves of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deadband.losses import loss_kind

Loss = Callable[[Tensor, Tensor], Tensor]


def normalised(p: Tensor, z: Tensor) -> Tensor:
    return (F.normalize(p, dim=1) * F.normalize(z, dim=1)).sum(1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, z: -F.cosine_similarity(p, z).mean(),
        lambda p, z: -F.cosine_similarity(p, z.detach(), dim=-1).mean(),
        lambda p, z: 1 - F.cosine_similarity(p, z).mean(),
        lambda p, z: (1 - F.cosine_similarity(p, z)).mean(),
        lambda p, z: 2 - 2 * normalised(p, z.detach()).mean(),
        lambda p, z: -normalised(p, z).sum() / 7,
        lambda p, z: (
            -(F.cosine_similarity(p, z.detach()).mean() + F.cosine_similarity(z, p).mean()) * 0.5
        ),
    ],
)
def test_a_negative_cosine_similarity_is_known(loss: Loss) -> None:
    p, z = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    assert loss_kind(loss(p * 1.5, z * 2)) == "cosine"


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (lambda p, z: F.mse_loss(F.normalize(p), F.normalize(z)), "mse"),
        (
            lambda p, z: F.cross_entropy(F.normalize(p) @ F.normalize(z).T, torch.arange(6)),
            "cross_entropy",
        ),
        (lambda p, z: (p * z).sum(1).mean(), ""),
        (lambda p, z: -F.cosine_similarity(p, z).sigmoid().log().mean(), ""),
        (lambda p, z: (p / p.norm(dim=1, keepdim=True)).sum(), ""),
        (lambda p, z: (p - z).pow(2).mean(), "mse"),
    ],
)
def test_what_only_uses_cosines_is_not_taken_for_one(loss: Loss, kind: str) -> None:
    p, z = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    assert loss_kind(loss(p, z)) == kind


def test_the_loss_of_alignments_is_known() -> None:
    logits = torch.randn(7, 2, 4, requires_grad=True)
    said, lengths = torch.tensor([[1, 2], [3, 1]]), torch.tensor([7, 7])
    for reduction in ("mean", "sum"):
        loss = F.ctc_loss(logits.log_softmax(2), said, lengths, lengths - 5, reduction=reduction)
        assert loss_kind(loss / 2) == "ctc"
