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


class Siamese(nn.Module):
    """One encoder for both views, and a predictor from either view's embedding to the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU()), nn.Linear(128, WIDTH)
        )
        self.predictor = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, WIDTH))

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """For each of the views its embedding, and what that predicts of the other's."""
        one, other = self.encoder(one), self.encoder(other)
        return one, self.predictor(one), other, self.predictor(other)


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

    model = Siamese()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        images = pixels[torch.randint(len(pixels), (BATCH,))]
        one, to_other, other, to_one = model(view(images), view(images))
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
    model.eval()
    with torch.no_grad():
        directions = nn.functional.normalize(model.encoder(pixels), dim=1)
    print(f"spread of the embeddings {directions.std(0).mean() * WIDTH**0.5:.3f}")


if __name__ == "__main__":
    main()
