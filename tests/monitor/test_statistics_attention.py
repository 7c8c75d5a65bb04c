"""Entropy and logits of attention against slow references: masks, padding, parts of sequences."""

from __future__ import annotations

import numpy as np
import pytest
from statistics_frames import Bench, of_layer

from deadband.wire import Layer, What
from deadband_monitor.statistics import Statistician

RNG = np.random.default_rng(0)


def softmax(logits: np.ndarray) -> np.ndarray:
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def slow_entropy(rows: list[np.ndarray]) -> float:
    """Rows hold the weights of the keys that they see; those that see one have no choice."""
    told = [
        -sum(p * np.log(p) for p in row / row.sum() if p > 0) / np.log(len(row))
        for row in rows
        if len(row) > 1
    ]
    return float(np.mean(told))


def of_rows(weight: np.ndarray, source: tuple[int, ...] = (), causal: float | None = None) -> float:
    options = {} if causal is None else {"causal": causal}
    bench = Bench([Layer(name="a", model="m", kind="softmax", options=options)])
    bench.add(What.ATTENTION, 0, weight.shape, "npu", source=source)
    statistician = Statistician()
    statistician.adopt(bench.plan())
    value = {(What.ATTENTION, 0): weight.astype(np.float32)}
    (found,) = statistician.measure([bench.frame(1, value)])
    return of_layer(found, "attention_entropy")


def of_pair(
    query: np.ndarray,
    key: np.ndarray,
    sources: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    scale: float | None = None,
    causal: float = 0.0,
) -> tuple[float, float]:
    options = {"causal": causal} | ({} if scale is None else {"scale": scale})
    bench = Bench([Layer(name="a", model="m", kind="sdpa", options=options)])
    bench.add(What.QUERY, 0, query.shape, "npu", source=sources[0])
    bench.add(What.KEY, 0, key.shape, "npu", source=sources[1])
    statistician = Statistician()
    statistician.adopt(bench.plan())
    values = {(What.QUERY, 0): query.astype(np.float32), (What.KEY, 0): key.astype(np.float32)}
    (found,) = statistician.measure([bench.frame(1, values)])
    return of_layer(found, "attention_entropy"), of_layer(found, "attention_logit")


def test_entropy_agrees_with_its_definition() -> None:
    weight = softmax(2 * RNG.normal(size=(8, 4, 30)))
    expected = slow_entropy(list(weight.reshape(-1, 30)))
    assert of_rows(weight, (2, 4, 30, 30)) == pytest.approx(expected, rel=1e-5)
    assert of_rows(np.full((8, 4, 30), 1 / 30)) == pytest.approx(1.0)


def test_of_long_sequences_the_first_keys_and_queries_are_compared() -> None:
    length, held = 400, 128
    logits = 2 * RNG.normal(size=(2, length, length))
    whole = softmax(np.where(np.tril(np.ones((length, length))) > 0, logits, -np.inf))
    places = range(16, 128, 32)
    expected = slow_entropy([one[place, : place + 1] for one in whole for place in places])
    found = of_rows(whole[:, places, :held], (2, length, length))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_keys_behind_a_causal_mask_are_no_choice(known: bool) -> None:
    length = 24
    logits = 2 * RNG.normal(size=(8, length, length))
    whole = softmax(np.where(np.tril(np.ones((length, length))) > 0, logits, -np.inf))
    places = range(3, 24, 6)  # four queries spread over the sequence, as the client takes them
    weight = whole[:, places]
    expected = slow_entropy([one[place, : place + 1] for one in whole for place in places])
    causal = 1.0 if known else None
    assert of_rows(weight, (2, 4, length, length), causal) == pytest.approx(expected, rel=1e-5)
    uniform = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    assert of_rows(np.tile(uniform, (2, 1, 1)), causal=causal) == pytest.approx(1.0)


def test_a_row_that_sees_one_key_is_skipped() -> None:
    assert np.isnan(of_rows(np.ones((4, 1, 1))))
    first_alone = np.stack([np.eye(2)[0], [0.5, 0.5]])[None]
    assert of_rows(first_alone) == pytest.approx(1.0)


def test_one_key_for_all_has_no_entropy_and_is_not_taken_for_a_mask() -> None:
    one = np.zeros((8, 4, 20))
    one[:, :, 13] = 1.0
    assert of_rows(one, (2, 4, 20, 20)) == 0.0
    one = np.zeros((8, 4, 20))
    one[:, :, 0] = 1.0
    assert of_rows(one, (2, 4, 20, 20)) == 0.0
    assert of_rows(one, (2, 4, 20, 20), causal=1.0) == 0.0


def test_padded_keys_are_no_choice() -> None:
    weight = np.zeros((4, 4, 20))
    weight[:, :, :10] = 1 / 10
    assert of_rows(weight, (2, 2, 20, 20), causal=0.0) == pytest.approx(1.0)


def test_rows_whose_weight_lies_on_keys_that_were_not_copied_are_left_out() -> None:
    weight = np.zeros((1, 2, 128))
    weight[0, 0, 5] = 0.001
    weight[0, 1] = 0.9 / 128
    assert of_rows(weight, (1, 500, 1000)) == pytest.approx(1.0)


def test_attention_that_is_not_finite_says_nothing() -> None:
    weight = np.full((2, 2, 4), 0.25)
    weight[0, 0, 0] = np.nan
    assert np.isnan(of_rows(weight))
    query = np.ones((1, 2, 4))
    query[0, 0, 0] = np.nan
    assert np.isnan(of_pair(query, np.ones((1, 6, 4)))).all()


@pytest.mark.parametrize("scale", [None, 0.5])
def test_queries_and_keys_give_entropy_and_the_largest_logit(scale: float | None) -> None:
    query, key = 2 * RNG.normal(size=(6, 4, 16)), RNG.normal(size=(6, 40, 16))
    logits = np.einsum("nqf,nkf->nqk", query, key) * (scale or 1 / 4)
    entropy, largest = of_pair(query, key, scale=scale)
    assert entropy == pytest.approx(slow_entropy(list(softmax(logits).reshape(-1, 40))), rel=1e-4)
    assert largest == pytest.approx(np.abs(logits).max(), rel=1e-5)


def test_a_causal_pair_looks_back_only() -> None:
    query, key = RNG.normal(size=(2, 24, 8)), RNG.normal(size=(2, 24, 8))
    key[:, 23] *= 1e3  # seen by the last query alone, which is not copied
    places = list(range(3, 24, 6))
    rows, logits = [], []
    for one in range(2):
        for place in places:
            row = key[one, : place + 1] @ query[one, place] / np.sqrt(8)
            logits.append(np.abs(row).max())
            rows.append(softmax(row))
    sources = ((2, 24, 8), (2, 24, 8))
    entropy, largest = of_pair(query[:, places], key, sources, causal=1.0)
    assert entropy == pytest.approx(slow_entropy(rows), rel=1e-4)
    assert largest == pytest.approx(max(logits), rel=1e-5)
    assert of_pair(query[:, places], key, sources)[1] > 10 * largest


def test_large_logits_neither_overflow_nor_vanish() -> None:
    query, key = np.full((1, 2, 4), 1e20), np.full((1, 3, 4), 1e20)
    key[0, 0] *= 2
    entropy, largest = of_pair(query, key, scale=1.0)
    assert largest == np.float32(np.finfo(np.float32).max)
    assert entropy == 0.0
