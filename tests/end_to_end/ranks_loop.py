"""One rank of a run on gloo: `ranks_loop.py HOW STEPS`; HOW is `ddp` or `fsdp`, and what is wrong.

Says its final weights, random numbers, collectives, and what the watch has seen, one JSON a line,
in a file `rank-N.json` of the current folder. From step 41 on, on rank 1: `ddp-bad`: inputs turn
constant; `-scaled`: they are fifty times as large; `-labels`: labels are drawn by lot; `-nan`: one
is NaN; `-edit`: a weight was changed, once; `-loaded`: at the start, other weights than the rest.
`ddp-uneven`: batches of another size on each rank, and dropout.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.profiler import ProfilerActivity, profile

import deadband


def spoilt(how: str, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch as a bad shard has it."""
    if how == "ddp-bad":
        return torch.ones_like(x), y
    if how == "ddp-scaled":
        return 50 * x, y
    if how == "ddp-labels":
        return x, torch.randint(0, 4, y.shape, generator=torch.Generator().manual_seed(len(y)))
    if how == "ddp-nan":
        x = x.clone()
        x[3, 3] = float("nan")
    return x, y


def main(how: str, steps: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    if how == "ddp-uneven":
        net[1] = nn.Sequential(nn.ReLU(), nn.Dropout(0.3))
    model: nn.Module = net
    if how == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in (net[0], net[2]):
            fully_shard(layer, mesh=mesh)
        fully_shard(net, mesh=mesh)
    else:
        model = nn.parallel.DistributedDataParallel(net)
    if how == "ddp-loaded" and rank == 1:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    teacher = torch.randn(16, 4)
    generator = torch.Generator().manual_seed(100 + rank)
    watch = deadband.watch(model, optimizer, name="ranks", every=1, budget=None)
    counted: dict[str, int] = {}
    pause_s = float(os.environ.get("RANKS_PAUSE_S", "0"))
    until = time.monotonic() + 60
    while pause_s and not getattr(watch._link, "_welcomed", True) and time.monotonic() < until:
        time.sleep(0.05)  # frames in messages have no ring to wait in
    dist.barrier()
    for step in range(steps):
        x = torch.randn(24 + (16 * rank if how == "ddp-uneven" else 0), 16, generator=generator)
        y = (x @ teacher).argmax(1)
        if rank == 1 and step >= 40:
            x, y = spoilt(how, x, y)
            if how == "ddp-edit" and step == 40:
                with torch.no_grad():
                    list(net.parameters())[2][0, 0] += 0.5
        with profile(activities=[ProfilerActivity.CPU]) if step == 3 else nullcontext() as profiler:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.step(loss=loss)
        time.sleep(pause_s)
        if profiler is not None:
            counted = {
                event.key: event.count
                for event in profiler.key_averages()
                if "gloo" in event.key or "c10d" in event.key
            }
    weights = [
        (each.to_local() if hasattr(each, "to_local") else each).double().sum().item()
        for each in model.parameters()
    ]
    recorder = watch._recorder
    seen = {
        "weights": weights,
        "random": torch.rand(3).tolist(),
        "collectives": counted,
        "run": watch.run,
        "samples": recorder.samples,
        "fault": watch._beat().fault if watch._live else "",
        "slots": [slot.what.value for slot in recorder.plan.slots] if recorder.plan else [],
        "layers": [layer.name for layer in recorder.plan.layers] if recorder.plan else [],
        "shards": recorder.plan.models[0].shards if recorder.plan else 0,
    }
    watch.close()
    seen["dropped"] = recorder.dropped
    Path(f"rank-{rank}.json").write_text(json.dumps(seen))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(sys.argv[1], int(sys.argv[2]))
