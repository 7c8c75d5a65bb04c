"""Overfitting: a wide network learns 331 patients by heart instead of what makes them ill.

The ten measurements say about half of how a patient's diabetes develops; the rest is chance. 512
units twice over have room for the chance as well: the training loss goes to zero, and each
evaluation on the patients that were kept apart is worse than the one before.

The twin (`--healthy`) has 16 units once, drops a quarter of them at each step, and decays its
weights.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.options import read_options
from deadband_demos.tables import load_table

STEPS = 1200
BATCH = 64
LEARNING_RATE = 0.001
HIDDEN = 512
EVALUATE_EVERY = 20
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test R2 at the end."""
    options = read_options(__doc__, pace_s=0.02)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_table("diabetes").standardised()
    mean, std = table.train_y.mean(), table.train_y.std()

    if options.healthy:
        model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 1))
    else:
        wide = nn.Linear(HIDDEN, HIDDEN)  # the fault: 269,000 weights for 331 rows
        model = nn.Sequential(
            nn.Linear(10, HIDDEN), nn.ReLU(), wide, nn.ReLU(), nn.Linear(HIDDEN, 1)
        )
    decay = 0.1 if options.healthy else 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=decay)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = table.batch(BATCH)
        loss = nn.functional.mse_loss(model(x), (y - mean) / std)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % EVALUATE_EVERY == 0:
            model.eval()
            with torch.no_grad():
                nn.functional.mse_loss(model(table.test_x), (table.test_y - mean) / std)
            model.train()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    model.eval()
    with torch.no_grad():
        error = nn.functional.mse_loss(model(table.test_x) * std + mean, table.test_y)
    print(f"test R2 {1 - error / table.test_y.var():.3f}")


if __name__ == "__main__":
    main()
