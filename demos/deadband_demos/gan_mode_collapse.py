"""Mode collapse: a generator that paints one digit, whatever noise it is given.

The discriminator learns at a tenth of the generator's pace. The generator finds one picture that
it lets pass and paints only that; by the time the discriminator has noticed, the generator is at
the next one. Neither loss looks alarming.

The twin (`--healthy`) lets the discriminator learn twice as fast as the generator.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_pixels
from deadband_demos.options import read_options

STEPS = 1500
BATCH = 64
NOISE = 16
GENERATOR_RATE = 5e-4
DISCRIMINATOR_RATE = 5e-5  # the fault
HEALTHY_DISCRIMINATOR_RATE = 1e-3
SEED = 0


def main() -> None:
    """Train, print the losses now and then, and the share of the ten digits painted at the end."""
    options = read_options(__doc__, pace_s=0.015)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    pixels, labels = load_pixels()
    real = pixels * 2 - 1

    generator = nn.Sequential(
        *(nn.Linear(NOISE, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
        *(nn.Linear(128, 64), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2)),
        nn.Linear(128, 1),
    )
    rate = HEALTHY_DISCRIMINATOR_RATE if options.healthy else DISCRIMINATOR_RATE
    painting = torch.optim.Adam(generator.parameters(), lr=GENERATOR_RATE, betas=(0.5, 0.999))
    telling = torch.optim.Adam(discriminator.parameters(), lr=rate, betas=(0.5, 0.999))
    score = nn.functional.binary_cross_entropy_with_logits
    is_real, is_fake = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    models = {"generator": generator, "discriminator": discriminator}
    watch = deadband.watch(models, [painting, telling])
    for step in range(1, STEPS + 1):
        fakes = generator(torch.randn(BATCH, NOISE))
        shown = discriminator(real[torch.randint(len(real), (BATCH,))])
        told = score(shown, is_real) + score(discriminator(fakes.detach()), is_fake)
        telling.zero_grad()
        told.backward()
        telling.step()
        loss = score(discriminator(generator(torch.randn(BATCH, NOISE))), is_real)
        painting.zero_grad()
        loss.backward()
        painting.step()
        watch.step(loss=loss, discriminator_loss=told)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    generator.eval()
    with torch.no_grad():
        nearest = torch.cdist(generator(torch.randn(1000, NOISE)), real).argmin(1)
    painted = labels[nearest].bincount(minlength=10)
    print(f"digits painted {(painted >= 10).sum() / 10:.3f}")


if __name__ == "__main__":
    main()
