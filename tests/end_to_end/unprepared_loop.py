"""A training script that never heard of deadband: `unprepared_loop.py RATE STEPS|FILE [lend]`.

Trains so many steps, or until the file exists; then says what it did and what is in the process.
With `lend`, deadband cannot be imported until somebody lends it.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

if sys.argv[3:] == ["lend"]:
    sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in repr(each)]
    sys.path[:] = [each for each in sys.path if not (Path(each) / "deadband").is_dir()]

import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(512, 12)
labels = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
net = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=float(sys.argv[1]))
until = sys.argv[2]
print("training", flush=True)
step = 0
while step < int(until) if until.isdigit() else not Path(until).exists():
    step += 1
    rows = torch.randint(512, (64,))
    loss = nn.functional.cross_entropy(net(inputs[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
hooks = [
    *modules._global_forward_pre_hooks,
    *modules._global_forward_hooks,
    *optimizers._global_optimizer_pre_hooks,
    *optimizers._global_optimizer_post_hooks,
    *optimizer._optimizer_step_pre_hooks,
    *optimizer._optimizer_step_post_hooks,
    *(hook for each in net.modules() for hook in (*each._forward_hooks, *each._forward_pre_hooks)),
    *(hook for each in net.parameters() for hook in (each._backward_hooks or ())),
]
print(
    json.dumps(
        {
            "steps": step,
            "weights": [each.double().sum().item() for each in net.parameters()],
            "random": torch.rand(1).item(),
            "loss": loss.item(),
            "hooks": len(hooks),
            "threads": threading.active_count(),
            "loss_function": nn.functional.cross_entropy.__module__,
            "names": sorted(name for name in globals() if "deadband" in name or name == "ask"),
        }
    )
)
