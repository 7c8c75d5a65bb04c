"""Layer tables of networks of several builds, for scenes in which a part of them collapses."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from rules_scene import Scene

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
