"""Layer tables of networks of several builds, for scenes in which a part of them collapses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from rules_scene import Scene, SceneSample

from deadband.wire import Layer, Model, OptimizerGroup


def linear(name: str, fan_in: int, units: int, model: str = "model", **more: object) -> Layer:
    return msgspec.structs.replace(
        Layer(
            name=name,
            model=model,
            kind="Linear",
            fan_in=fan_in,
            units=units,
            parameters=fan_in * units,
        ),
        **more,
    )


def layer(name: str, kind: str, activation: str = "", units: int = 32, **more: object) -> Layer:
    return msgspec.structs.replace(
        Layer(name=name, model="model", kind=kind, activation=activation, units=units), **more
    )


def scene_of(layers: list[Layer], **of_models: Mapping[str, object]) -> Scene:
    """A scene over these layers; per model what its entry holds other than usual."""
    names = list(dict.fromkeys(each.model for each in layers))
    scene = Scene((), names)
    scene.table = msgspec.structs.replace(
        scene.table,
        layers=tuple(layers),
        models=tuple(
            msgspec.structs.replace(
                Model(name=name, kind="Net", parameters=9, trainable=9), **of_models.get(name, {})
            )
            for name in names
        ),
    )
    return scene


def trained_by(
    loss: str = "cross_entropy",
    last: str = "",
    prediction: tuple[int, ...] = (64, 10),
    target: tuple[int, ...] = (64,),
) -> Scene:
    """The usual network with this loss, and an activation at its end where asked."""
    made = Scene()
    layers = made.table.layers
    if last:
        layers = (*layers, layer("out", last.title(), last, units=10))
    model = msgspec.structs.replace(
        made.table.models[0], loss=loss, loss_input=prediction, loss_target=target
    )
    made.table = msgspec.structs.replace(made.table, layers=layers, models=(model,))
    return made


def label_free(sample: object) -> None:
    """No labels, no class probabilities: what the output should be is not known."""
    nan = float("nan")
    sample.model(  # type: ignore[attr-defined]
        information=nan,
        skill=nan,
        loss_constant=nan,
        label_entropy=nan,
        batch_label_entropy=nan,
        top_share=nan,
        distinct_predictions=nan,
    )


SGD = OptimizerGroup(optimizer="SGD", lr=0.1, momentum=0.9)


def of_loss(loss: str, *groups: OptimizerGroup) -> Scene:
    """The usual network with this loss of 32 rows, moved by these optimisers."""
    given = ((32, 1), (32, 1)) if loss == "mse" else ((32, 10), (32,))
    scene = trained_by(loss, prediction=given[0], target=given[1])
    scene.table = msgspec.structs.replace(scene.table, optimizers=groups)
    return scene


def nothing_is_learnt(sample: SceneSample) -> None:
    """No better than a constant, and no near inputs whose answers agree."""
    sample.no_better_than_constant()
    sample.model(neighbour_agreement=0.0, in_distinct=0.5, majority_share=0.5)


def block(spread: float, growth: float = 1.0) -> tuple[Scene, Callable[[SceneSample], None]]:
    """A block of attention that was drawn so wide, and a slow learner's samples of it."""
    scene = scene_of(
        [
            layer("norm", "LayerNorm", units=24),
            layer("attend", "MultiheadAttention", units=24, fan_in=24, parameters=1728),
            linear("up", 24, 48),
            linear("head", 48, 10),
        ]
    )

    def bend(sample: SceneSample) -> None:
        sample.layer("norm", token_similarity=0.3)
        sample.layer("attend", weight_spread=spread, weight_rms=spread / 8, weight_growth=growth)
        known = min(0.3, sample.step / 200)
        sample.model(skill=known, information=known)
        sample.loss = 2.3 * (1 - known)

    return scene, bend


def values(sample: SceneSample, **more: float) -> None:
    """Numbers in place of classes, and these beside them."""
    sample.model(0, information=np.nan, label_entropy=np.nan, out_sd=1.0, sigma_share=0.8, **more)
