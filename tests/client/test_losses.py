"""Which loss it is, from what autograd leaves of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deadband.losses import both_learn, loss_kind, squared_sides

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


def test_a_cosine_tells_whether_both_its_sides_are_trained() -> None:
    p, z = (torch.randn(6, 4, requires_grad=True) * 1.5 for _ in range(2))
    similar = F.cosine_similarity
    assert both_learn(-(similar(p, z).mean() + similar(z, p).mean()) / 2)
    assert both_learn(2 - 2 * normalised(p, z).mean())
    assert not both_learn(-(similar(p, z.detach()).mean() + similar(z, p.detach()).mean()) / 2)
    assert not both_learn(2 - 2 * normalised(p, z.detach()).mean())
    assert not both_learn(F.mse_loss(p, z))


def test_squared_differences_tell_whether_both_their_sides_are_trained() -> None:
    leaf = torch.randn(6, 4, requires_grad=True)
    p, z = leaf * 1.5, leaf * 2
    assert squared_sides(((p - z) ** 2).sum(1).mean())[0] is p.grad_fn
    assert len(squared_sides(((p - z) ** 2).mean() / 2 + p.std())) == 2
    assert not squared_sides(((p - z.detach()) ** 2).mean())
    assert not squared_sides(((p - leaf) ** 2).mean())
    assert not squared_sides((p - z).abs().mean())


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


LABELS = torch.tensor([0, 1, 2, 0, 1, 3])


def categorical(logits: Tensor) -> Tensor:
    told: Tensor = torch.distributions.Categorical(logits=logits).log_prob(LABELS)
    return told


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (lambda z: -z.log_softmax(-1).gather(1, LABELS[:, None]).mean(), "cross_entropy"),
        (lambda z: -F.log_softmax(z, 1)[torch.arange(6), LABELS].sum() / 6, "cross_entropy"),
        (lambda z: -(F.one_hot(LABELS) * F.log_softmax(z, 1)).sum(1).mean(), "cross_entropy"),
        (lambda z: (z.logsumexp(1) - z.gather(1, LABELS[:, None])[:, 0]).mean(), "cross_entropy"),
        (lambda z: -categorical(z).mean(), "cross_entropy"),
        (
            lambda z: (
                -z.log_softmax(1).gather(1, LABELS[:, None]).mean() + 0.01 * z.square().mean()
            ),
            "cross_entropy",
        ),
        (lambda z: (F.softplus(z) - z * F.one_hot(LABELS)).mean(), "bce_logits"),
        (
            lambda z: (
                -(
                    F.one_hot(LABELS) * F.logsigmoid(z) + (1 - F.one_hot(LABELS)) * F.logsigmoid(-z)
                ).mean()
            ),
            "bce_logits",
        ),
        (
            lambda z: (
                -(
                    F.one_hot(LABELS) * z.sigmoid().log()
                    + (1 - F.one_hot(LABELS)) * (1 - z.sigmoid()).log()
                ).mean()
            ),
            "bce",
        ),
    ],
)
def test_a_classifying_loss_written_by_hand_is_known(
    loss: Callable[[Tensor], Tensor], kind: str
) -> None:
    logits = torch.randn(6, 4, requires_grad=True)
    assert loss_kind(loss(logits * 1.5)) == kind


@pytest.mark.parametrize(
    "loss",
    [
        # A policy's steps are weighed by what they were worth.
        lambda z: -(categorical(z) * torch.randn(6)).mean(),
        # An entropy, two answers that should agree, and what a discriminator says.
        lambda z: -(z.softmax(1) * z.log_softmax(1)).sum(1).mean(),
        lambda z: -(z.softmax(1) * z.flip(0).log_softmax(1)).sum(1).mean(),
        lambda z: F.softplus(-z[:3]).mean() + F.softplus(z[3:]).mean(),
    ],
)
def test_what_has_no_labels_is_not_taken_for_a_classifying_loss(
    loss: Callable[[Tensor], Tensor],
) -> None:
    assert loss_kind(loss(torch.randn(6, 4, requires_grad=True) * 1.5)) == ""
