"""Scalars and notes as TensorBoard reads them: a folder with an event file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deadband_monitor.errors import MonitorError
from deadband_monitor.exporting.values import Value


def write_tensorboard(values: Iterable[Value], folder: Path) -> None:
    """Write the folder; a curve is named `model/layer/metric`, as its groups go there.

    Raises:
        MonitorError: tensorboardX is not installed.
        OSError: the folder cannot be written.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MonitorError(
            "TensorBoard's form needs tensorboardX: pip install 'deadband[tensorboard]'"
        ) from error
    with SummaryWriter(str(folder)) as writer:
        for value in values:
            name = "/".join(part for part in (value.model, value.layer, value.metric) if part)
            if value.value is None:
                writer.add_text(name, value.text, value.step, walltime=value.time)
            else:
                writer.add_scalar(name, value.value, value.step, walltime=value.time)
