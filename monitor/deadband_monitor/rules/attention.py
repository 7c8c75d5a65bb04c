"""The rule on attention: heads that fix on one key within a few steps, tokens that grow alike."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation, Words
from deadband_monitor.rules.judges import LayerRule, LayerView, column, columns, measured
from deadband_monitor.rules.layout import Layout, Mask
from deadband_monitor.rules.past import Past, carried

FALLEN = 0.5
"""Share of its first entropy at which a head has lost its breadth. The level says nothing: a run
whose attention began at 0.05 of the most reached a skill of 0.98."""
CALM = 0.8
SPAN_STEPS = 20
"""A fall from `CALM` to `FALLEN` within so many steps is a collapse: in post-norm transformers at
thirty times the usual rate it took 5 to 10 (Zhai et al., arXiv:2303.06296, name the pattern)."""
ALIKE = 0.999
"""Mean cosine between the tokens of a sample at which attention has averaged them away; healthy
networks stay below 0.98 even untrained."""
ON_END = 3
"""Attentions one after the other whose tokens are alike, with all between them."""
USELESS = 0.02
"""Skill below which answers from such tokens are a constant's. A loss that sinks to a constant
answer's from above looks like learning: eight attentions without ways round them took all their 150
steps for it, and of 94 healthy networks with tokens none had them so alike."""

ONE_KEY = 0.01
"""Entropy over the most below which every query of every head looks at a single key: a weight of
0.999 among twelve. Queries and keys then get no gradient to look elsewhere. Untrained attention
begins at 0.8 to 1; what was trained and finds one key by right began broad."""
BROAD = 0.3
"""First entropy from which an attention was not born so."""
OFTEN, FULLY = 0.15, 3
"""Share of the samples, and how many at least, in which attention that is stuck looks at one key
alone: of close calls between two keys there are some. A vision transformer whose queries were four
hundred times too large did so in 0.24 to 0.33 of its samples. Heads that were taught to find one
key before the run did so in one of sixty (they hovered at 0.02 to 0.06), and went on learning."""
HOT_LOGIT = 50.0
"""Attention logits above it leave e^-50 for all keys but a few; trained models stay near 10 to 20,
and runs whose logits pass 1e4 diverge (Dehghani et al., arXiv:2302.05442)."""
STUCK_STEPS = IDLE_STEPS = 50
COOLED = 0.5
"""Growth of such weights at which a quarter of the scores is left: they are on their way."""
SOME_SKILL = 0.2
SKILLED = 0.9
"""Skill of a network that has no need of it."""
POOR, POOR_STEPS = 0.5, 200
"""Skill that a network whose tokens are alike from some layer on has not reached, and the step from
which it is asked for it."""


class AttentionCollapse(LayerRule):
    """Attention fixed on few keys at once, or made all tokens alike, and nothing is learnt."""

    kind = "attention-collapse"
    needs = ("attention_entropy", "token_similarity")
    grace_steps = 10

    def __init__(self) -> None:
        super().__init__()
        self._calm_at: NDArray[np.float32] = np.zeros(0, np.float32)
        self._fell: Mask = np.zeros(0, bool)
        self._attends: Mask = np.zeros(0, bool)
        self._stuck_since: NDArray[np.float32] = np.zeros(0, np.float32)
        """Since when all queries look at one key, of attention that was born so."""
        self._looked: NDArray[np.float32] = np.zeros(0, np.float32)
        """Samples since then."""
        self._fixed: NDArray[np.float32] = np.zeros(0, np.float32)
        """Those of them in which one key was looked at."""
        self._heat: NDArray[np.float32] = np.zeros(0, np.float32)
        """Size of the scores that the drawn weights make."""

    def adopt(self, layout: Layout) -> None:
        """See `LayerRule`."""
        old = self._layout
        carry = layout.carry(old) if old is not None else np.full(len(layout.keys), -1)
        self._calm_at = carried(self._calm_at, carry, np.nan)
        self._fell = carried(self._fell.astype(np.float32), carry, 0.0) > 0
        self._stuck_since = carried(self._stuck_since, carry, np.nan)
        self._looked = carried(self._looked, carry, 0.0)
        self._fixed = carried(self._fixed, carry, 0.0)
        named = ["attention" in layer.kind.lower() for layer in layout.layers]
        self._attends = np.array(named, bool)
        super().adopt(layout)

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        entropy, similarity = column(seen, "attention_entropy"), column(seen, "token_similarity")
        self._attends |= np.isfinite(entropy)
        if not np.count_nonzero(self._attends):
            return None
        first = past.first[:, LAYER_COLUMN["attention_entropy"]]
        step = np.float32(seen.step)
        low = entropy < FALLEN * first
        sudden = low & (step - self._calm_at <= SPAN_STEPS)
        self._calm_at[entropy > CALM * first] = step
        alike = self._averaged(similarity, past, layout)
        idle, skill = np.zeros(len(entropy), bool), np.full(len(entropy), np.nan)
        for index, rows in enumerate(layout.rows_of):
            name = layout.models[index].name
            idle[rows] = _learns_nothing(past, name, seen.step)
            skill[rows] = past.skill(name)
        # What stood still before a head fell was not stopped by it: a Poisson loss, whose skill is
        # not known, had long been at its least when the one query of a pool came to its choice.
        self._fell = (self._fell & (entropy < CALM * first)) | (sudden & ~idle)
        useless = alike & (skill < USELESS) & (seen.step >= IDLE_STEPS)
        # Whatever is learnt nevertheless is learnt from what the tokens have in common.
        poor = alike & (skill < POOR) & (seen.step >= POOR_STEPS)
        stuck = self._born_stuck(entropy, first, seen, past, layout)
        self._heat = drawn_heat(past, layout)
        stuck |= self._drawn_hot(entropy, seen, past, layout)
        active = ((self._fell | alike) & idle) | useless | poor | stuck
        return LayerView(
            active=active & (seen.step >= self.grace_steps),
            # One good batch from tokens alike is no recovery.
            clear=~active & ~(alike & (skill < SOME_SKILL)),
            known=np.isfinite(entropy) | np.isfinite(similarity) | np.isfinite(self._heat),
        )

    def _born_stuck(
        self,
        entropy: NDArray[np.float32],
        first: NDArray[np.float32],
        seen: Observation,
        past: Past,
        layout: Layout,
    ) -> Mask:
        """Rows whose queries never had a choice among keys, in models that are not solved."""
        one = entropy < ONE_KEY
        begins = one & (first < BROAD) & np.isnan(self._stuck_since)
        self._stuck_since[begins] = seen.step
        self._looked[begins] = self._fixed[begins] = 0.0
        self._looked += np.isfinite(entropy)
        self._fixed += one
        over = (entropy > BROAD) | (self._fixed < OFTEN * self._looked)
        self._stuck_since[over] = np.nan
        stuck: Mask = seen.step - self._stuck_since >= STUCK_STEPS
        return _where_needed(stuck & (self._fixed >= FULLY), past, layout)

    def _drawn_hot(
        self, entropy: NDArray[np.float32], seen: Observation, past: Past, layout: Layout
    ) -> Mask:
        """Rows of attention that shows no scores, and whose weights make them far too large.

        A weight so wide is not moved by steps of a usual size either: it stays as it was drawn.
        """
        hot: Mask = (self._heat > HOT_LOGIT) & ~np.isfinite(entropy)
        if not hot.any() or seen.step < STUCK_STEPS:
            return np.zeros(len(entropy), bool)
        return _where_needed(hot & ~(column(seen, "weight_growth") < COOLED), past, layout)

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        fell, stuck = self._fell, np.isfinite(self._stuck_since)
        heat = np.where(np.isfinite(column(seen, "attention_entropy")), np.nan, self._heat)
        begun = past.first[:, LAYER_COLUMN["attention_entropy"]].copy()
        entropies, similarities, logits = columns(
            seen, "attention_entropy", "token_similarity", "attention_logit"
        )

        def words(row: int) -> Words:
            entropy, first = float(entropies[row]), float(begun[row])
            similarity = float(similarities[row])
            message = f"all tokens of a sample are alike here: mean cosine {similarity:.5f}"
            if stuck[row]:
                message = (
                    f"every query looks at one key alone, and did from the start: entropy "
                    f"{entropy:.1g} of the most; queries and keys get no gradient"
                )
            elif heat[row] > HOT_LOGIT:
                message = (
                    f"queries and keys were drawn so wide that their scores are about "
                    f"{heat[row]:.2g}: each query looks at one key, chosen at random"
                )
            elif fell[row]:
                message = (
                    f"a head fixed on few keys: entropy {entropy:.2g} of the most, "
                    f"at first {first:.2g}"
                )
            evidence = {
                "attention_entropy": entropy,
                "first_attention_entropy": first,
                "attention_logit": float(logits[row]),
                "drawn_logit": float(heat[row]),
                "token_similarity": similarity,
            }
            return Words(message, measured(evidence))

        return words

    def _averaged(self, similarity: NDArray[np.float32], past: Past, layout: Layout) -> Mask:
        """Rows from which on all tokens are alike, though the first layer's were not.

        What an attention adds to a residual stream may be the same for all tokens (cosine 0.999 in
        healthy blocks); then what follows tells them apart again. Several attentions on end, and
        all between them, are the stream itself: what tells apart behind them comes from elsewhere,
        as a decoder's queries do.
        """
        alike = np.zeros(len(similarity), bool)
        if not np.count_nonzero(similarity > ALIKE):
            return alike
        for rows in layout.rows_of:
            known = rows[np.isfinite(similarity[rows])]
            apart = np.flatnonzero(~(similarity[known] > ALIKE))
            if not len(apart) or not self._attends[rows].any():
                continue
            if not similarity[known[0]] < 0.99:
                continue
            tail = known[apart[-1] + 1 :]
            if layout.matrix[tail].sum() >= 2:
                alike[tail] = True
            for before, after in pairwise(apart):
                stretch = known[before + 1 : after]
                if np.count_nonzero(self._attends[stretch]) >= ON_END:
                    alike[stretch] = True
        return alike


def drawn_heat(past: Past, layout: Layout) -> NDArray[np.float32]:
    """Standard deviation of the scores that attention's packed weights made of its first input.

    Elements of queries and keys have the variance w^2 fan_in x^2, and a score is the product of one
    of each over the root of as many as there are: it is as large as that variance. NaN for other
    layers. The input is what the layer before it gave.
    """
    heat = np.full(len(layout.layers), np.nan, np.float32)
    packed = layout.packed_attention
    if not packed.any():
        return heat
    spread = past.first[:, LAYER_COLUMN["weight_spread"]]
    given = past.first[:, LAYER_COLUMN["out_rms"]]
    before = np.concatenate(([np.nan], given[:-1])).astype(np.float32)
    heat[packed] = ((spread * before) ** 2 / 3)[packed]
    return heat


def _where_needed(found: Mask, past: Past, layout: Layout) -> Mask:
    """Without the rows of models that began with skill, trained to look at one key, or have it."""
    for rows, model in zip(layout.rows_of, layout.models, strict=True):
        if found[rows].any():
            taught = past.models[model.name].start("skill") > SOME_SKILL
            skilled = past.solved(model.name) or past.skill(model.name) > SKILLED
            found[rows] &= not (taught or skilled)
    return found


def _learns_nothing(past: Past, model: str, step: int) -> bool:
    """No skill, as far as it is known, and nothing that improves."""
    if past.skill(model) > SOME_SKILL:
        return False
    return step >= IDLE_STEPS and not past.learning(model)
