"""The data of all demos: 1797 real scans of handwritten digits, 8 x 8 pixels, from scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits as load_scans

TRAIN_ROWS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Rows to learn from and rows to test on, in one random order."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random training rows and their labels."""
        rows = torch.randint(len(self.train_x), (size,))
        return self.train_x[rows], self.train_y[rows]

    @torch.no_grad()
    def accuracy(self, model: torch.nn.Module) -> float:
        """Share of the test rows that `model` names rightly; guessing gets 0.1."""
        model.eval()
        return float((model(self.test_x).argmax(1) == self.test_y).float().mean())


def load_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """(1797, 64) pixels from 0 to 1 in the order of scanning, and the digit of each row."""
    scans = load_scans()
    return torch.tensor(scans.data, dtype=torch.float32) / 16, torch.tensor(scans.target)


def split(x: torch.Tensor, y: torch.Tensor) -> Digits:
    """Shuffle the rows (by torch's seed) and keep 297 of them for the test."""
    order = torch.randperm(len(x))
    train, test = order[:TRAIN_ROWS], order[TRAIN_ROWS:]
    return Digits(train_x=x[train], train_y=y[train], test_x=x[test], test_y=y[test])


def standardise(x: torch.Tensor) -> torch.Tensor:
    """Every feature at mean 0 and standard deviation 1; one that never changes becomes 0."""
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-3)


def load_digits() -> Digits:
    """Standardised pixels."""
    x, y = load_pixels()
    return split(standardise(x), y)
