"""The data of the corpus: scikit-learn's bundled sets, and a little text."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

Batch = tuple[Tensor, Tensor]

TEXT = (
    "a deadband is the range of inputs over which an instrument's output does not move. "
    "a network with a deadband gives the same output whatever it is shown. the quick brown fox "
    "jumps over the lazy dog while seven wizards quietly box up jumping quartz for the vexed king. "
    "training runs fail slowly and then all at once, and the first sign is rarely in the loss. "
) * 6


@lru_cache
def table(name: str) -> tuple[Tensor, Tensor]:
    """Features as they come, labels (long) or targets (float, standardised)."""
    if name == "circles":
        x, y = datasets.make_circles(800, noise=0.08, factor=0.5, random_state=0)
    elif name == "moons":
        x, y = datasets.make_moons(800, noise=0.1, random_state=0)
    elif name == "blobs":
        x, y = datasets.make_classification(
            1200, 30, n_informative=12, n_classes=4, class_sep=1.5, random_state=3
        )
    elif name == "friedman":
        x, y = datasets.make_friedman1(1000, 10, noise=0.5, random_state=0)
    else:
        found = getattr(datasets, f"load_{name}")
        x, y = found(return_X_y=True, **({"scaled": False} if name == "diabetes" else {}))
    x = torch.tensor(np.asarray(x), dtype=torch.float32)
    if name in {"diabetes", "friedman"}:
        target = torch.tensor(np.asarray(y), dtype=torch.float32)[:, None]
        return x, (target - target.mean()) / target.std()
    return x, torch.tensor(np.asarray(y), dtype=torch.long)


def scaled(name: str) -> tuple[Tensor, Tensor]:
    """Standardised features (constant ones left at 0)."""
    x, y = table(name)
    return (x - x.mean(0)) / (x.std(0) + 1e-3), y


def sampler(x: Tensor, y: Tensor, batch: int, seed: int = 0) -> Callable[[], Batch]:
    """Random batches for ever."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Batch:
        index = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
        return x[index], y[index]

    return draw


@lru_cache
def text() -> tuple[Tensor, int]:
    """Character ids and the size of the alphabet."""
    letters = sorted(set(TEXT))
    return torch.tensor([letters.index(c) for c in TEXT]), len(letters)


def text_sampler(batch: int, length: int, seed: int = 0) -> Callable[[], Batch]:
    """(batch, length) ids and the next ids."""
    ids, _ = text()
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Batch:
        start = torch.randint(len(ids) - length - 1, (batch,), generator=generator)
        rows = start[:, None] + torch.arange(length + 1)
        return ids[rows[:, :-1]], ids[rows[:, 1:]]

    return draw
