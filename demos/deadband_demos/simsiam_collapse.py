"""Missing stop-gradient: two views of an image are made alike, by making all images alike.

The network sees each digit twice, shifted and noisy, and is to predict one view's embedding from
the other's. In SimSiam the embedding that is predicted counts as given. Here the gradient flows
into it as well, and the cheapest way to a perfect score is one embedding for everything.

The twin (`--healthy`) detaches the target.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_pixels
from deadband_demos.options import read_options

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.02
WIDTH = 64
SEED = 0


def view(images: torch.Tensor) -> torch.Tensor:
    """The images, shifted by a pixel in some direction, with noise."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    shifted = images.view(-1, 8, 8).roll((down, right), dims=(1, 2)).flatten(1)
    return shifted + 0.1 * torch.randn_like(shifted)


def main() -> None:
    """Train, print the loss now and then, and how far the embeddings spread at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    pixels, _ = load_pixels()

    encoder = nn.Sequential(
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, WIDTH),
    )
    predictor = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, WIDTH))
    model = nn.ModuleDict({"encoder": encoder, "predictor": predictor})
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        images = pixels[torch.randint(len(pixels), (BATCH,))]
        one, other = encoder(view(images)), encoder(view(images))
        to_other, to_one = predictor(one), predictor(other)
        if options.healthy:
            one, other = one.detach(), other.detach()  # the fault: it is missing
        alike = nn.functional.cosine_similarity
        loss = -(alike(to_other, other).mean() + alike(to_one, one).mean()) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    encoder.eval()
    with torch.no_grad():
        directions = nn.functional.normalize(encoder(pixels), dim=1)
    print(f"spread of the embeddings {directions.std(0).mean() * WIDTH**0.5:.3f}")


if __name__ == "__main__":
    main()
