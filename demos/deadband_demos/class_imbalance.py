"""Class imbalance: nineteen patients in twenty are of one kind: "all are" is nearly always right.

Who is among the twentieth whose diabetes develops fastest? Blood pressure and cholesterol give a
hint, never certainty, and no hint outweighs odds of 19 to 1. The network says no to everyone, is
right in 95 of 100 cases, and finds none of those it was built to find.

The twin (`--healthy`) draws as many of one kind as of the other for each batch.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.options import read_options
from deadband_demos.tables import Table, load_table

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.05
SEEN = [3, 7]  # the columns of blood pressure and cholesterol
RARE = 0.05  # share of the patients to find
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_table("diabetes").standardised()
    limit = torch.cat([table.train_y, table.test_y]).quantile(1 - RARE)
    train_y, test_y = (table.train_y > limit).long(), (table.test_y > limit).long()
    table = Table(
        train_x=table.train_x[:, SEEN],
        train_y=train_y[:, 0],
        test_x=table.test_x[:, SEEN],
        test_y=test_y[:, 0],
    )
    share = table.train_y.float().mean()
    fair = torch.where(table.train_y == 1, 0.5 / share, 0.5 / (1 - share))
    even = torch.ones(len(fair))  # the fault: every row as likely as any other

    model = nn.Sequential(nn.Linear(len(SEEN), 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        rows = torch.multinomial(fair if options.healthy else even, BATCH, replacement=True)
        loss = nn.functional.cross_entropy(model(table.train_x[rows]), table.train_y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    model.eval()
    with torch.no_grad():
        says, truth = model(table.test_x).argmax(1), table.test_y
    found = [float((says[truth == kind] == kind).float().mean()) for kind in (0, 1)]
    print(f"test balanced accuracy {sum(found) / 2:.3f}")


if __name__ == "__main__":
    main()
