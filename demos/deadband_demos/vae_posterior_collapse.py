"""Posterior collapse: a variational autoencoder that writes nothing into its code.

Its loss is an error per pixel plus the price of what the code says about the image. The price is
a sum over the code, the error was taken as a mean over the pixels: 64 times too cheap. Saying
nothing is the best bargain, and the decoder paints the mean of all digits for every digit.

The twin (`--healthy`) takes the sum over the pixels too.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_pixels, split
from deadband_demos.options import read_options

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.002
CODE = 8
SEED = 0


class Autoencoder(nn.Module):
    """Image to the mean and spread of a code, a draw from it, and back to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.mean, self.log_var = nn.Linear(64, CODE), nn.Linear(64, CODE)
        self.decoder = nn.Sequential(nn.Linear(CODE, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The image as painted from the code, and the code's mean and log variance."""
        seen = self.encoder(x)
        mean, log_var = self.mean(seen), self.log_var(seen)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return self.decoder(mean + noise * (0.5 * log_var).exp()), mean, log_var


def main() -> None:
    """Train, print the loss now and then, and how much of the pixels is explained at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = split(*load_pixels())

    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, _ = digits.batch(BATCH)
        painted, mean, log_var = model(x)
        error = nn.functional.binary_cross_entropy_with_logits(painted, x, reduction="none")
        error = error.sum(1) if options.healthy else error.mean(1)  # the fault
        price = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(1)
        loss = (error + price).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss, price=price.mean())
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    model.eval()
    with torch.no_grad():
        error = digits.test_x - model(digits.test_x)[0].sigmoid()
    explained = 1 - error.square().mean() / digits.test_x.var(0).mean()
    print(f"test R2 of the pixels {explained:.3f}")


if __name__ == "__main__":
    main()
