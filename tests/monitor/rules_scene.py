"""Observations made by hand: a small network in which one statistic at a time goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deadband.wire import Flag, Layer, LayerTable, Model
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.engine import Engine

NAMES = ("fc1", "act1", "fc2", "act2", "fc3")


def table(names: Sequence[str] = NAMES, models: Sequence[str] = ("model",)) -> LayerTable:
    layers = [
        Layer(
            name=name,
            model=model,
            kind="Linear" if name.startswith("fc") else "ReLU",
            activation="" if name.startswith("fc") else "relu",
            fan_in=64 if name.startswith("fc") else 0,
            units=32,
            parameters=2048,
        )
        for model in models
        for name in names
    ]
    return LayerTable(
        seq=1,
        id=1,
        layers=tuple(layers),
        models=tuple(
            Model(name=m, kind="Net", parameters=9, trainable=9, loss="cross_entropy")
            for m in models
        ),
        optimizers=(),
        layer_metrics=tuple(m.name for m in LAYER_METRICS),
        model_metrics=tuple(m.name for m in MODEL_METRICS),
    )


class Scene:
    """A healthy run whose numbers a test may bend from some step on."""

    def __init__(self, names: Sequence[str] = NAMES, models: Sequence[str] = ("model",)) -> None:
        self.table = table(names, models)
        self.engine = Engine()
        self.step = 0
        self.changes: list[Flag] = []

    def healthy(self, step: int) -> tuple[np.ndarray, np.ndarray, float]:
        layers = np.full((len(self.table.layers), len(LAYER_METRICS)), np.nan, np.float32)
        skill = 1 - np.exp(-step / 60)
        loss = 2.3 * (1 - skill) + 0.02
        for row, layer in enumerate(self.table.layers):
            _set(
                layers[row],
                out_variance=0.4,
                out_rms=1,
                participation=6,
                nonfinite=0,
                out_grad_rms=0.01,
            )
            if layer.kind == "Linear":
                _set(
                    layers[row],
                    weight_rms=0.1,
                    weight_spread=1,
                    weight_growth=1 + step / 500,
                    duplicate_units=0,
                    duplicate_grads=0,
                    grad_rms=0.01,
                    update_ratio=0.01,
                    bias_mean=0,
                )
            else:
                _set(
                    layers[row], saturation=0.1, saturated_units=0, dead_units=0.05, zero_share=0.5
                )
        models = np.full((len(self.table.models), len(MODEL_METRICS)), np.nan, np.float32)
        for readings in models:
            for name, value in {
                "out_variance": 0.5,
                "out_rms": 1,
                "out_sd": 0.7,
                "information": 0.01 + 0.9 * skill,
                "top_share": 0.2,
                "distinct_predictions": 10,
                "label_entropy": 2.3,
                "batch_label_entropy": 0.97,
                "skill": skill,
                "loss": loss,
                "loss_constant": 2.3,
                "grad_norm": 0.5,
                "update_ratio": 0.01,
                "in_variance": 0.5,
                "in_rms": 1,
                "in_max": 4,
                "in_scale_spread": 1.5,
                "in_top_share": 0.05,
                "in_duplicates": 0,
                "nonfinite": 0,
                "lr": 0.1,
            }.items():
                readings[MODEL_COLUMN[name]] = value
        return layers, models, loss

    def run(
        self, steps: int, bend: Callable[[SceneSample], None] | None = None, every: int = 1
    ) -> Scene:
        """Go on for `steps` steps, with a sample at every `every`-th."""
        last = self.step
        for step in range(self.step + 1, self.step + steps + 1):
            if step > 10 and step % every:
                continue
            sample = SceneSample(self, step)
            if bend is not None:
                bend(sample)
            lost = np.arange(last + 1, step + 1, dtype=np.int64)
            self.changes += self.engine.observe(
                Observation(
                    step=step,
                    table=self.table,
                    layers=sample.layers,
                    models=sample.models,
                    loss_steps=lost,
                    losses=np.array([sample.lost(int(k)) for k in lost], np.float32),
                )
            )
            last = step
        self.step += steps
        return self

    @property
    def standing(self) -> dict[str, Flag]:
        return {flag.kind: flag for flag in self.engine.flags if flag.resolved_step is None}

    @property
    def causes(self) -> list[str]:
        return [cause.cause for cause in self.engine.causes()]


class SceneSample:
    def __init__(self, scene: Scene, step: int) -> None:
        self._scene = scene
        self.step = step
        self.layers, self.models, self.loss = scene.healthy(step)
        self.lost: Callable[[int], float] = lambda step: self.loss
        """The loss of each step since the last sample."""

    def layer(self, name: str, **values: float) -> None:
        for row, layer in enumerate(self._scene.table.layers):
            if layer.name == name:
                _set(self.layers[row], **values)

    def model(self, row: int = 0, **values: float) -> None:
        for name, value in values.items():
            self.models[row, MODEL_COLUMN[name]] = value

    def nothing_measured(self, **told: float) -> None:
        """As the last losses and evaluations of a run come."""
        self.layers[:], self.models[:] = np.nan, np.nan
        self.model(0, **{"loss": self.loss, "nonfinite": 0, "lr": 0.1, "skipped": 0} | told)

    def no_better_than_constant(self) -> None:
        self.loss = 2.31
        self.model(loss=2.31, skill=-0.004, information=1e-4)


def _set(row: np.ndarray, **values: float) -> None:
    for name, value in values.items():
        row[LAYER_COLUMN[name]] = value
