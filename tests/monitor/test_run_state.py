from __future__ import annotations

import zlib
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from deadband.wire import Event, Layer, LayerTable, Sample
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.source.scripted import collapsing_run, healthy_run, layer_table
from deadband_monitor.state.run_state import RECENT_SAMPLES, RunState


def folded(events: list[Event]) -> RunState:
    state = RunState()
    for event in events:
        state.apply(event)
    return state


def sample(seq: int, step: int, table: LayerTable, value: float) -> Sample:
    layers = np.full((len(table.layers), len(table.layer_metrics)), value, np.float32)
    models = np.full((len(table.models), len(table.model_metrics)), value, np.float32)
    return Sample(
        seq=seq,
        step=step,
        time=float(step),
        rank=0,
        table=table.id,
        layers=layers.tobytes(),
        models=models.tobytes(),
    )


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 87, 120, 200])
def test_a_late_joiner_knows_what_one_from_the_start_knows(cut: int) -> None:
    events = list(collapsing_run(layers=8, samples=160, every=3))
    early = folded(events)
    late = RunState.unpack(folded(events[:cut]).pack())
    for event in events[cut:]:
        late.apply(event)
    assert late.pack() == early.pack()


def test_events_seen_twice_count_once() -> None:
    events = list(healthy_run(samples=30))
    state = folded(events)
    for event in events[10:20]:
        state.apply(event)
    assert state.pack() == folded(events).pack()


def test_packing_and_unpacking_changes_nothing() -> None:
    state = folded(list(collapsing_run(samples=120)))
    again = RunState.unpack(state.pack())
    assert again.pack() == state.pack()
    assert again.open_flags == state.open_flags
    assert again.causes == state.causes
    assert again.info == state.info
    assert again.status == state.status
    assert again.last_scalar == state.last_scalar
    assert again.latest is not None
    assert state.latest is not None
    np.testing.assert_array_equal(again.latest.layers, state.latest.layers)


@pytest.mark.parametrize("data", [b"", b"rubbish", zlib.compress(msgspec.msgpack.encode([1, 2]))])
def test_what_is_not_a_packed_state_is_said_so(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed state"):
        RunState.unpack(data)


def test_an_empty_run_can_be_packed() -> None:
    empty = RunState.unpack(RunState().pack())
    assert (empty.seq, empty.step, empty.latest, empty.open_flags) == (0, 0, None, [])


def test_fewer_columns_make_a_smaller_picture_of_the_same_run() -> None:
    state = folded(list(healthy_run(layers=10, samples=500)))
    small = RunState.unpack(state.pack(64))
    assert len(state.pack(64)) < len(state.pack(512))
    assert small.step == state.step
    first, last = small.series.window(1), state.series.window(1)
    np.testing.assert_array_equal(first.high, last.high)
    np.testing.assert_array_equal(first.low, last.low)


def test_the_worst_flag_comes_first() -> None:
    state = folded(list(collapsing_run()))
    assert [flag.kind for flag in state.open_flags] == ["output-collapse", "dead-units"]
    assert state.verdict == "failing"
    assert all(a.onset_step >= b.onset_step for a, b in pairwise(state.open_flags))


def test_recent_samples_are_bounded() -> None:
    state = folded(list(healthy_run(samples=RECENT_SAMPLES + 50)))
    assert len(state.recent) == RECENT_SAMPLES
    assert state.samples == RECENT_SAMPLES + 50


def test_a_new_layer_table_keeps_the_past_of_layers_that_stay() -> None:
    table = layer_table(1, 2)
    state = folded([table, sample(2, 1, table, 0.5)])
    new = Layer(name="extra", model="model", kind="Linear")
    bigger = msgspec.structs.replace(table, seq=3, id=2, layers=(new, *table.layers))
    state.apply(bigger)
    assert state.latest is not None
    assert np.isnan(state.latest.layers[0]).all()
    assert (state.latest.layers[1:] == 0.5).all()
    state.apply(sample(4, 2, bigger, 0.25))
    mean = state.series.window(8).mean[:, :, 0]
    np.testing.assert_array_equal(mean[1], np.array([np.nan, 0.5, 0.5], np.float32))
    np.testing.assert_array_equal(mean[2], np.full(3, 0.25, np.float32))


def test_columns_go_by_name_not_by_place() -> None:
    table = layer_table(1, 1)
    other = msgspec.structs.replace(
        table, layer_metrics=("unheard_of", "out_rms", "out_variance"), model_metrics=("loss",)
    )
    state = folded([other])
    state.apply(
        Sample(
            seq=2,
            step=1,
            time=1.0,
            rank=0,
            table=1,
            layers=np.array([7.0, 2.0, 3.0], np.float32).tobytes(),
            models=np.array([4.0], np.float32).tobytes(),
        )
    )
    assert state.latest is not None
    names = [metric.name for metric in LAYER_METRICS]
    row = dict(zip(names, state.latest.layers[0].tolist(), strict=True))
    assert (row["out_variance"], row["out_rms"]) == (3.0, 2.0)
    assert np.isnan(row["weight_rms"])
    models = [metric.name for metric in MODEL_METRICS]
    assert state.latest.models[0, models.index("loss")] == 4.0


def test_a_sample_without_a_table_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="after its layer table"):
        RunState().apply(sample(1, 1, layer_table(1, 1), 0.0))
