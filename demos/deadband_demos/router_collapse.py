"""Router collapse: of twelve experts, two get all the work.

A router sends each digit to the expert that it trusts most. Experts that are sent nothing learn
nothing, so those that are ahead by chance stay ahead and are trusted with everything. An expert
is small, and two cannot tell ten digits apart.

The twin (`--healthy`) pays for an uneven load, as Switch Transformers do.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_pixels, split
from deadband_demos.options import read_options

STEPS = 1000
BATCH = 64
LEARNING_RATE = 0.02
EXPERTS = 12
HIDDEN = 2  # of one expert
BALANCE = 0.0  # the fault
HEALTHY_BALANCE = 1.0
SEED = 1


class Mixture(nn.Module):
    """Small experts, and a router that sends each row to one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(64, EXPERTS)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
            for _ in range(EXPERTS)
        )
        self.unevenness = torch.zeros(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores, by the most trusted expert of each row."""
        trust = torch.softmax(self.router(x), dim=1)
        chosen = nn.functional.one_hot(trust.argmax(1), EXPERTS).float()
        self.unevenness = EXPERTS * (chosen.mean(0) * trust.mean(0)).sum() - 1
        opinions = torch.stack([expert(x) for expert in self.experts], dim=1)
        return ((chosen * trust)[:, :, None] * opinions).sum(1)


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = split(*load_pixels())

    balance = HEALTHY_BALANCE if options.healthy else BALANCE
    model = Mixture()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = digits.batch(BATCH)
        loss = nn.functional.cross_entropy(model(x), y) + balance * model.unevenness
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    print(f"test accuracy {digits.accuracy(model):.3f}")


if __name__ == "__main__":
    main()
