"""The rule on what is inside: lost signals, embeddings, latents and routers that collapse.

One symptom with several faces; each is a part with its own test, and they share one flag a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Finding, Observation, Words
from deadband_monitor.rules.clashes import Clash
from deadband_monitor.rules.generative import EmptyLatent, MadeAlike
from deadband_monitor.rules.judges import (
    Judgement,
    LayerRule,
    LayerView,
    ModelRule,
    column,
    columns,
    per_model,
)
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.routing import OneExpert
from deadband_monitor.rules.structure import (
    embedding,
    embeddings,
    judges_others,
    perhaps_embeddings,
)
from deadband_monitor.rules.trend import History
from deadband_monitor.rules.views import OpposedGradients, is_spent, nothing_left

KIND = "representation-collapse"

_COSINE, _RHO, _RMS = (LAYER_COLUMN[name] for name in ("cosine", "out_variance", "out_rms"))

LOST = 1e-6
"""Share of variance below which a layer tells no two inputs apart; healthy hidden layers end at
0.1 to 0.7, collapsed ones at 1e-9 and less."""
ALIVE = 1e-3
"""And above which it does."""
POINT = 0.0025
"""1 - mean cosine below which all embeddings are one point: the spread of unit embeddings times
sqrt(d) is the root of it, 0.05 in collapsed SimSiam runs and 1 in healthy ones (Chen and He,
arXiv:2011.10566, figure 2)."""
NEAR = 0.15
"""1 - mean cosine of the embeddings over what it began with, below which views that are to agree
(a cosine loss) do so because all inputs do. Over digits, blobs and wine SimSiam went to 0.005-0.13
of it within 500 steps without stop-gradient and normalisation; with stop-gradient it dipped to
0.3 once and ended at 0.6 to 1.3, save where it collapsed as well, at 0.03."""
DIRECTIONS = 0.3
"""Share of the participation ratio at the start. Over digits three healthy SimSiam runs went down
to 0.34 to 0.43 of it and came back to 0.4 to 0.67; three without stop-gradient sank to 0.17 to
0.25 and stayed."""
RANK = 0.5
"""The same for the effective rank of the output, which separates them better (0.57 to 0.68 against
0.26 to 0.40) and is not known for every model."""
DIRECTIONS_ALONE = 0.2
"""Proof enough without it: a singular spectrum of noise keeps the rank up long after one direction
holds nearly all of the variance."""
SHRUNK = 0.2
"""Standard deviation of embeddings, and 1 - their mean cosine, over what they began with, below
which a squared error between two views falls because all inputs have the same embedding. Over
digits, wine, cancer and series seven such runs ended at 0.02 to 0.1 of the spread and 0.01 to 0.1
of the distance; with a slow copy, or terms for variance, the spread grew 2 to 13 times."""
NO_NEARER = 0.5
"""Squared error between two views that are both learnt, over the variance of the outputs, against
what it began with: above it the views are hardly nearer to each other than rows are, and the loss
fell because all outputs shrank. Of views drawn together without a stop it rose from 0.5 to 1.1."""
FALLEN = 0.2
"""Share of its start below which the loss of such a run has fallen: it is what is minimised."""
PARTED = 1.5
"""1 - mean cosine of the last outputs over what it began with: above it they have been told apart.
Triplets, which pay for what is alike, end at 2; of views drawn together none rose above 1."""

BYGONE = 0.1
"""Squared error over the variance of the targets that outputs of half their spread cannot have."""


class HiddenSignal(LayerRule):
    """A hidden layer that told inputs apart tells them apart no more."""

    kind = KIND
    needs = ("out_variance",)
    grace_steps = 5
    alone = False

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        rho = column(seen, "out_variance")
        # A branch that is switched off by a zero gain has no second moment, and may be meant so.
        lost = (rho < LOST) & (column(seen, "out_rms") > 0)
        followed = np.count_nonzero(self._out_since >= 0) or np.count_nonzero(self._echo)
        if not (followed or np.count_nonzero(lost)):
            return None
        had = past.highest[:, LAYER_COLUMN["out_variance"]] > ALIVE
        fed = np.zeros(len(rho), bool)
        for index, rows in enumerate(layout.rows_of):
            arriving = past.models[layout.models[index].name].value("in_variance")
            first = rho[rows[0]] if len(rows) else math.nan
            fed[rows] = arriving > ALIVE or (math.isnan(arriving) and first > ALIVE)
        judged = had & fed & ~layout.head & (seen.step >= self.grace_steps)
        return LayerView(active=judged & lost, clear=~(rho < ALIVE / 10), known=np.isfinite(rho))

    def severities(
        self, rows: Sequence[int], seen: Observation, past: Past, layout: Layout
    ) -> Sequence[str]:
        """See `LayerRule`."""

        def severity(model: str) -> str:
            # Beside a living path a lost layer is a branch out of use.
            return "warning" if past.output_gone(model) else "info"

        of_model = per_model(rows, layout, severity)
        return [of_model[layout.keys[row][0]] for row in rows]

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        (variances,) = columns(seen, "out_variance")
        highest = past.highest[:, LAYER_COLUMN["out_variance"]].copy()

        def words(row: int) -> Words:
            rho, before = float(variances[row]), float(highest[row])
            return Words(
                f"the signal is lost here: out variance {rho:.1g}, it has been {before:.2g}",
                {"out_variance": rho, "highest_out_variance": before},
            )

        return words


class OneDirection(ModelRule):
    """Embeddings of two views shrink to a point, or to a few of the directions that they had."""

    kind = KIND
    needs = ("cosine", "participation")
    grace_steps = 50
    one_subject = True

    LASTING_STEPS = 50
    """Embeddings that a squared error draws together do not come back."""
    DIP_STEPS = 100
    """Healthy SimSiam runs dip to a third of their directions for some twenty steps, and the
    outputs of the predictor to a point for sixty."""

    def __init__(self) -> None:
        super().__init__()
        self._layout: Layout | None = None
        self._told: list[bool] = []
        """Of each model, whether it was seen to run for two views."""
        self._rows: list[NDArray[np.int64]] = []
        self._embedding: list[int] = []
        self._opposed: OpposedGradients | None = None
        self._low_since: dict[str, int] = {}
        self._apart: dict[str, History] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        if layout is not self._layout:
            self._look_at(layout)
        index = layout.index_of[model.name]
        rows, told = self._rows[index], layout.models[index]
        assert self._opposed is not None
        opposed = index in self._opposed.among(seen)
        cosine = told.loss == "cosine"
        spent = not told.loss and is_spent(past.loss, model.value("grad_norm"))
        certain = self._told[index] or opposed or spent
        if not (certain or cosine):
            return None
        if not len(rows) or model.value("label_entropy") > 0 or makes_samples(layout, model):
            return None
        if model.objective.clash is Clash.STRETCHED:
            return None  # class numbers, by the gradient of several calls
        if model.value("target_sd") >= 0.5 * model.start("target_sd") and not _bygone(past, model):
            return None  # the loss compares with values that stay: two batches, not two views
        row, now, start = _narrowest(seen, past, rows)
        apart, apart_first = _closest(seen, past, rows)
        history = self._apart.setdefault(model.name, History())
        history.add(seen.step, apart)
        rank = model.value("effective_rank") / model.start("effective_rank")
        # What is predicted of embeddings lies in a narrow cone at first, and comes to a point
        # early: a predictor of healthy ones (digits, with stop-gradient) stayed at a tenth of its
        # first distance for 350 of 800 steps.
        embedded, embedded_first = _apart(seen, past, self._embedding[index])
        point = apart < POINT and apart < 0.25 * apart_first and not embedded > 4 * POINT
        share = DIRECTIONS if rank < RANK else DIRECTIONS_ALONE
        # Outputs that lie further apart than at first are told apart, in however few directions.
        # No more than the embeddings that it predicts does the prediction say that they collapse.
        kept = int(rows[-1]) != self._embedding[index] and embedded > embedded_first
        parted = kept or not apart < PARTED * apart_first
        line = now < share * start and not parted
        near = (cosine or spent) and apart < NEAR and embedded < NEAR * embedded_first
        left, spread = _left(seen, past, rows)
        both_learn = told.target_learns or opposed
        if both_learn and past.loss.fresh > NO_NEARER * spread**2 * past.loss.first:
            left = spread
        shrunk = left < SHRUNK and past.loss.fresh < FALLEN * past.loss.first
        drawn = point or line or near or shrunk
        low = drawn if certain else point and nothing_left(past.loss)
        if not low and not left < 2 * SHRUNK:
            self._low_since.pop(model.name, None)
        since = self._low_since.setdefault(model.name, seen.step) if low else seen.step
        patience = self.DIP_STEPS if cosine else self.LASTING_STEPS
        lasting = low and seen.step - since >= patience
        window = max(self.LASTING_STEPS, seen.step // 3)
        opening = history.rising(window, max(0.05, apart_first)) is True
        return Judgement(
            active=lasting and seen.step >= self.grace_steps and not opening,
            clear=(parted or not now < 1.3 * share * start)
            and not apart < 2 * POINT
            and not near
            and not left < 2 * SHRUNK,
            severity="critical" if point else "warning",
            layer=layout.layers[row].name,
            message=_words(point, (near or shrunk) and not line, apart, now, start),
            evidence={
                name: value
                for name, value in {
                    "participation": now,
                    "participation_at_start": start,
                    "cosine": 1 - apart,
                    "effective_rank": model.value("effective_rank"),
                }.items()
                if math.isfinite(value)
            },
            onset_step=since if low else None,
        )

    def _look_at(self, layout: Layout) -> None:
        count = range(len(layout.models))
        surely = [embeddings(layout, i) for i in count]
        self._layout, self._opposed = layout, OpposedGradients(layout)
        self._told = [bool(rows) for rows in surely]
        self._rows = [
            np.array(rows or perhaps_embeddings(layout, i), np.int64)
            for i, rows in enumerate(surely)
        ]
        self._embedding = [embedding(layout, rows) if len(rows) else 0 for rows in self._rows]


class RepresentationCollapse:
    """What the layers carry is gone, alike, or no longer used."""

    kind = KIND
    samples_to_open = 3
    samples_to_close = 3
    backward = False
    needs = ("out_variance", "participation", "active_units", "diversity", "choice_entropy")
    grace_steps = 5

    def __init__(self) -> None:
        self._parts = (HiddenSignal(), OneDirection(), EmptyLatent(), MadeAlike(), OneExpert())

    def judge(self, seen: Observation, past: Past) -> Iterator[Finding]:
        """See `Rule`."""
        for part in self._parts:
            yield from part.judge(seen, past)


def _bygone(past: Past, model: ModelPast) -> bool:
    """Whether the targets of the window are none of now, for samples lie too far apart.

    Outputs of half their spread leave a quarter of their variance at the least.
    """
    spread = model.value("target_sd")
    narrow = model.value("out_sd") < 0.5 * spread
    return narrow and past.loss.fresh < BYGONE * spread * spread


def _narrowest(seen: Observation, past: Past, rows: NDArray[np.int64]) -> tuple[int, float, float]:
    """The row that lost most of its directions, how many it has and had."""
    now = column(seen, "participation")[rows]
    column_of = LAYER_COLUMN["participation"]
    start = np.fmax(past.first[rows, column_of], past.early[rows, column_of])
    share = np.where(np.isfinite(now) & (start > 2), now / start, np.inf)
    place = int(np.argmin(share))
    return int(rows[place]), float(now[place]), float(start[place])


def _closest(seen: Observation, past: Past, rows: NDArray[np.int64]) -> tuple[float, float]:
    """How far apart the directions of the outputs of the last row lie, now and at first."""
    known = rows[np.isfinite(column(seen, "cosine")[rows])]
    return _apart(seen, past, int(known[-1])) if len(known) else (math.nan, math.nan)


def _apart(seen: Observation, past: Past, row: int) -> tuple[float, float]:
    """How far apart the directions of the outputs of a row lie, now and at first."""
    return 1 - float(seen.layers[row, _COSINE]), 1 - float(past.first[row, _COSINE])


def makes_samples(layout: Layout, model: ModelPast) -> bool:
    """Whether another model judges what this one makes: its samples are no embeddings."""
    if not model.value("diversity") >= 0:
        return False
    others = (i for i, other in enumerate(layout.models) if other.name != model.name)
    return any(judges_others(layout, i) for i in others)


def _left(seen: Observation, past: Past, rows: NDArray[np.int64]) -> tuple[float, float]:
    """What is left of the distances between the last outputs: in place and direction, and in place.

    Not the scale alone, which weight decay takes back, nor the direction alone, which an offset
    hides.
    """
    known = rows[np.isfinite(column(seen, "cosine")[rows])]
    if not len(known):
        return math.nan, math.nan
    now, first = seen.layers[known[-1]], past.first[known[-1]]
    spread = math.sqrt(now[_RHO]) * now[_RMS] / (math.sqrt(first[_RHO]) * first[_RMS])
    return float(max(spread, (1 - now[_COSINE]) / (1 - first[_COSINE]))), float(spread)


def _words(point: bool, near: bool, apart: float, now: float, start: float) -> str:
    if near and not point:
        return f"the embeddings draw together: mean cosine {1 - apart:.4f}"
    if point:
        return f"all embeddings point the same way: mean cosine {1 - apart:.4f}"
    return f"the embeddings use {now:.2g} directions, they began with {start:.2g}"
