"""Small real tables from scikit-learn: wine, iris, breast cancer, diabetes; and two circles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from sklearn import datasets

TEST_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows to learn from and rows to test on, in one random order."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random training rows and their targets."""
        rows = torch.randint(len(self.train_x), (size,))
        return self.train_x[rows], self.train_y[rows]

    def standardised(self) -> Table:
        """Every feature at mean 0 and standard deviation 1 over the training rows."""
        mean, std = self.train_x.mean(0), self.train_x.std(0).clamp_min(1e-6)
        return replace(self, train_x=(self.train_x - mean) / std, test_x=(self.test_x - mean) / std)

    @torch.no_grad()
    def accuracy(self, model: torch.nn.Module) -> float:
        """Share of the test rows whose class has the largest output."""
        model.eval()
        return float((model(self.test_x).argmax(1) == self.test_y).float().mean())

    @torch.no_grad()
    def balanced_accuracy(self, model: torch.nn.Module, threshold: float = 0.0) -> float:
        """Mean over the two classes of the share that is named rightly; guessing gets 0.5."""
        model.eval()
        says, truth = model(self.test_x).flatten() > threshold, self.test_y.flatten() > 0.5
        return float((says[truth].float().mean() + (~says[~truth]).float().mean()) / 2)

    @torch.no_grad()
    def r2(self, model: torch.nn.Module) -> float:
        """Share of the targets' variance that is explained; the mean as the answer gets 0."""
        model.eval()
        error = model(self.test_x).flatten() - self.test_y.flatten()
        return float(1 - error.square().mean() / self.test_y.var())


def split(x: torch.Tensor, y: torch.Tensor) -> Table:
    """Shuffle the rows (by torch's seed) and keep a quarter of them for the test."""
    order = torch.randperm(len(x))
    test, train = order[: int(len(x) * TEST_SHARE)], order[int(len(x) * TEST_SHARE) :]
    return Table(train_x=x[train], train_y=y[train], test_x=x[test], test_y=y[test])


def load_table(name: str) -> Table:
    """`wine`, `iris` or `breast_cancer` with class ids, `diabetes` with (rows, 1) targets: raw."""
    bunch: Any = getattr(datasets, f"load_{name}")(
        **({"scaled": False} if name == "diabetes" else {})
    )
    x = torch.tensor(bunch.data, dtype=torch.float32)
    if name == "diabetes":
        return split(x, torch.tensor(bunch.target, dtype=torch.float32)[:, None])
    return split(x, torch.tensor(bunch.target))


def load_circles(rows: int = 1000) -> Table:
    """Points on two circles, one inside the other, and on which of them each lies."""
    points, circle = datasets.make_circles(rows, noise=0.08, factor=0.5, random_state=0)
    return split(torch.tensor(points, dtype=torch.float32), torch.tensor(circle))
