"""Runs written by hand in the words of the wire, for tests of screens and to try a picture out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import msgspec
import numpy as np

from deadband.wire import (
    VERSION,
    Cause,
    Coverage,
    Diagnosis,
    Event,
    Flag,
    FlagChange,
    Hello,
    Layer,
    LayerTable,
    Model,
    OptimizerGroup,
    Points,
    RunInfo,
    Sample,
    Status,
)
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.state.series import Floats

STARTED = 1_700_000_000.0
"""When every scripted run began, seconds since the epoch."""
DRAWN = LAYER_COLUMN["norm_test_shift"]
"""Metrics that noise is drawn for, a fixed number: one that is appended to the table one day leaves
the figures of the others, and the pictures of the screens, as they are."""


def layer_table(seq: int, layers: int, *, activation: str = "relu", lr: float = 0.1) -> LayerTable:
    """A plain network in a table: `layers` rows, linear maps and activations in turn."""
    rows = []
    for row in range(layers):
        linear = row % 2 == 0
        rows.append(
            Layer(
                name=f"net.{row}",
                model="model",
                kind="Linear" if linear else activation.capitalize(),
                activation="" if linear else activation,
                fan_in=64 if linear else 0,
                units=64,
                parameters=64 * 65 if linear else 0,
            )
        )
    parameters = sum(layer.parameters for layer in rows)
    return LayerTable(
        seq=seq,
        id=1,
        layers=tuple(rows),
        models=(
            Model(
                name="model",
                kind="Sequential",
                parameters=parameters,
                trainable=parameters,
                loss="cross_entropy",
            ),
        ),
        optimizers=(OptimizerGroup(optimizer="SGD", lr=lr, momentum=0.9),),
        layer_metrics=tuple(metric.name for metric in LAYER_METRICS),
        model_metrics=tuple(metric.name for metric in MODEL_METRICS),
    )


def healthy_run(*, layers: int = 6, samples: int = 120, every: int = 1) -> Iterator[Event]:
    """A run that learns and finishes; one sample in `every` steps."""
    return _run("healthy", layers=layers, samples=samples, every=every, onset=samples + 1)


def collapsing_run(
    *, layers: int = 6, samples: int = 160, onset: int = 60, every: int = 1
) -> Iterator[Event]:
    """A run whose output collapses from sample `onset` on; flags and causes follow within 20."""
    return _run("collapsing", layers=layers, samples=samples, every=every, onset=onset)


def _run(name: str, *, layers: int, samples: int, every: int, onset: int) -> Iterator[Event]:
    numbers = count(1)
    noise = np.random.default_rng(7)
    hello = Hello(
        version=VERSION,
        run=f"{name}-000001",
        name=name,
        pid=4242,
        started=STARTED,
        argv=["train.py"],
        cwd="/home/user",
        host="localhost",
        python="3.11.0",
        torch="2.13.0",
        budget=0.01,
    )
    yield RunInfo(seq=next(numbers), hello=hello)
    yield layer_table(next(numbers), layers, lr=5.0 if onset <= samples else 0.1)
    for sample in range(1, samples + 1):
        step, time = sample * every, STARTED + 0.25 * sample
        fall = min(max(sample - onset, 0) / 15.0, 1.0)
        yield Sample(
            seq=next(numbers),
            step=step,
            time=time,
            rank=0,
            table=1,
            layers=_layer_rows(layers, sample, fall, noise).tobytes(),
            models=_model_rows(sample, fall, noise).tobytes(),
            scalars=_scalars(step, every, sample, fall, noise),
        )
        for event in _judgement(sample, step, onset * every, sample - onset):
            yield _numbered(event, next(numbers))
        if sample % 8 == 0 and sample < samples:
            yield _status(next(numbers), "running", time, step, sample, every)
    yield _status(
        next(numbers), "finished", STARTED + 0.25 * samples, samples * every, samples, every
    )


def _layer_rows(layers: int, sample: int, fall: float, noise: np.random.Generator) -> Floats:
    depth = np.arange(layers) / max(layers - 1, 1)
    wobble = np.exp(0.05 * noise.standard_normal((layers, DRAWN)))
    # The fault starts in the deepest layers and climbs towards the input.
    share = np.clip(fall * 1.5 - 0.5 * (1 - depth), 0.0, 1.0)
    values: dict[str, np.ndarray] = {
        "out_variance": 0.6 * (1 - 0.4 * depth) * 10.0 ** (-7.0 * share),
        "out_rms": 1.0 + 20.0 * share,
        "participation": 1.0 + 12.0 * (1 - share),
        "saturation": 0.45 + 0.54 * share,
        "saturated_units": 0.02 + 0.9 * share,
        "dead_units": 0.03 + 0.95 * share,
        "zero_share": 0.48 + 0.5 * share,
        "nonfinite": np.zeros(layers),
        "out_grad_rms": 1e-3 * 10.0 ** (-depth - 6.0 * share),
        "weight_rms": 0.08 * (1 + 5.0 * share),
        "weight_spread": 1.0 + 0.002 * sample + 10.0 * share,
        "weight_growth": 1.0 + 0.001 * sample + 5.0 * share,
        "weight_drift": 0.001 * sample + 8.0 * share,
        "duplicate_units": 0.9 * share * share,
        "duplicate_grads": 0.95 * share,
        "grad_rms": 2e-3 * 10.0 ** (-0.5 * depth - 6.0 * share),
        "update_ratio": 3e-3 + 0.8 * share * (1 - share),
        "bias_mean": -4.0 * share,
    }
    rows = np.full((layers, len(LAYER_METRICS)), np.nan)
    for metric, column in values.items():
        rows[:, LAYER_COLUMN[metric]] = column
    rows[:, :DRAWN] *= wobble
    linear = np.arange(layers) % 2 == 0
    for metric in ("saturation", "saturated_units", "dead_units", "zero_share"):
        column_of = LAYER_COLUMN[metric]
        rows[linear, column_of] = np.nan
        rows[:, column_of] = np.minimum(rows[:, column_of], 1.0)
    for metric in (name for name in values if name.startswith(("weight", "duplicate", "bias"))):
        rows[~linear, LAYER_COLUMN[metric]] = np.nan
    for metric in ("grad_rms", "update_ratio"):
        rows[~linear, LAYER_COLUMN[metric]] = np.nan
    return rows.astype(np.float32)


def _model_rows(sample: int, fall: float, noise: np.random.Generator) -> Floats:
    learnt = 1 - np.exp(-sample / 25.0)
    values = {
        "out_variance": 0.5 * 10.0 ** (-7.0 * fall),
        "out_rms": 2.0 + 40.0 * fall,
        "out_sd": 1.5 * 10.0 ** (-5.0 * fall),
        "information": 0.9 * learnt * (1 - fall),
        "top_share": 0.12 + 0.88 * fall,
        "distinct_predictions": np.round(10 - 9 * fall),
        "label_entropy": 2.30,
        "batch_label_entropy": 0.95,
        "skill": 0.9 * learnt * (1 - fall),
        "loss": _loss(sample, fall),
        "loss_constant": 2.30,
        "grad_norm": 0.8 * 10.0 ** (-5.0 * fall),
        "update_ratio": 3e-3 + 0.8 * fall * (1 - fall),
        "in_variance": 0.4,
        "in_rms": 0.6,
        "in_max": 1.0,
        "in_scale_spread": 2.0,
        "in_top_share": 0.05,
        "in_duplicates": 0.0,
        "nonfinite": 0.0,
        "lr": 0.1,
    }
    rows = np.full((1, len(MODEL_METRICS)), np.nan)
    for metric, value in values.items():
        rows[0, MODEL_COLUMN[metric]] = value * float(np.exp(0.03 * noise.standard_normal()))
    rows[0, MODEL_COLUMN["distinct_predictions"]] = values["distinct_predictions"]
    for metric in ("top_share", "information", "batch_label_entropy"):
        rows[0, MODEL_COLUMN[metric]] = min(rows[0, MODEL_COLUMN[metric]], 1.0)
    return rows.astype(np.float32)


def _loss(sample: float, fall: float) -> float:
    learning = 0.15 + 2.15 * float(np.exp(-sample / 25.0))
    return learning + (2.31 - learning) * fall + 6.0 * fall * (1 - fall)


def _scalars(
    step: int, every: int, sample: int, fall: float, noise: np.random.Generator
) -> dict[str, Points]:
    steps = np.arange(step - every + 1, step + 1, dtype=np.int64)
    within = sample - 1 + np.arange(1, every + 1) / every
    losses = np.array([_loss(at, fall) for at in within]) * np.exp(
        0.04 * noise.standard_normal(every)
    )
    rate = np.full(1, 0.1, np.float32)
    return {
        "loss": Points(steps=steps.tobytes(), values=losses.astype(np.float32).tobytes()),
        "lr": Points(steps=steps[-1:].tobytes(), values=rate.tobytes()),
    }


COVERAGE = [
    Coverage(kind="output-collapse", state="armed"),
    Coverage(kind="dead-units", state="armed"),
    Coverage(kind="loss-plateau", state="warming up", reason="judges from step 100"),
    Coverage(kind="overfitting", state="impossible", reason="no evaluation pass seen"),
]
"""What the rules of the scripted run say they can see."""


def _judgement(
    sample: int, step: int, onset_step: int, since: int
) -> Iterator[FlagChange | Diagnosis]:
    """What the rules would say at this sample."""
    if since == 8:
        yield FlagChange(
            seq=0,
            step=step,
            flag=Flag(
                id=1,
                kind="dead-units",
                severity="warning",
                model="model",
                layer="net.1",
                onset_step=onset_step + 1,
                raised_step=step,
                followers=["net.3"],
                evidence={"dead_units": 0.81, "bias_mean": -2.4},
                message="81 % of the units of net.1 never fire",
            ),
        )
        yield Diagnosis(seq=0, step=step, verdict="warning", causes=[], coverage=COVERAGE)
    if since == 14:
        yield FlagChange(
            seq=0,
            step=step,
            flag=Flag(
                id=2,
                kind="output-collapse",
                severity="critical",
                model="model",
                layer="",
                onset_step=onset_step + 2,
                raised_step=step,
                evidence={"out_variance": 4e-8, "loss": 2.31, "loss_constant": 2.30},
                message="the output is the same for every input: variance share 4e-08",
            ),
        )
        yield Diagnosis(
            seq=0,
            step=step,
            verdict="failing",
            causes=[
                Cause(
                    cause="learning-rate-too-high",
                    confidence=0.92,
                    evidence=[
                        f"the largest update was 0.20 of the weight at step {onset_step + 3}",
                        "the loss rose above that of a constant prediction before the collapse",
                    ],
                    advice="divide the learning rate by 10 (0.1 -> 0.01), or clip gradients at 1.0",
                    model="model",
                    layer="net.1",
                    onset_step=onset_step + 1,
                ),
                Cause(
                    cause="dying-relu",
                    confidence=0.41,
                    evidence=["81 % of the units of net.1 never fire", "bias mean fell to -2.4"],
                    advice="use LeakyReLU or GELU, and a smaller learning rate",
                    model="model",
                    layer="net.1",
                    onset_step=onset_step + 1,
                ),
            ],
            coverage=COVERAGE,
        )


def _numbered(event: FlagChange | Diagnosis, seq: int) -> Event:
    if isinstance(event, FlagChange):
        return FlagChange(seq=seq, step=event.step, flag=event.flag)
    return msgspec.structs.replace(event, seq=seq)


def _status(seq: int, status: str, time: float, step: int, samples: int, every: int) -> Status:
    return Status(
        seq=seq,
        time=time,
        status=status,
        step=step,
        samples=samples,
        dropped=0,
        overhead=0.006,
        interval=every,
    )
