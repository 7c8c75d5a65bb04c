"""Rule on the model's answers: are they worth more than one fixed answer?"""

from __future__ import annotations

import math

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.clashes import Clash
from deadband_monitor.rules.crawl import counts_crawl, crawls
from deadband_monitor.rules.creep import REPLACED, STEPS_SURE, WORTH, creeps, grace, worthless
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.majority import FOUND, NAMED, POOR
from deadband_monitor.rules.mean_skill import mean_skill, ruled_by_few, steady_skill, tails_rule
from deadband_monitor.rules.modest import modest
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.rare import (
    PATIENCE_STEPS,
    never_given,
    patience,
    rarely_met,
    soon_told,
    stays_silent,
    unlearnt,
)
from deadband_monitor.rules.structure import drew
from deadband_monitor.rules.unrelated import LITTLE, chance, leaps, unrelated


class ConstantPredictor(ModelRule):
    """The model answers no better than one fixed answer would, and is not getting better."""

    kind = "constant-predictor"
    samples_to_open = 2
    needs = ("information", "sigma_share", "skill")
    grace_steps = 100

    SPAN_STEPS = 20
    """It must have lasted so long: at every step, two samples are no time."""
    STALLED_STEPS = 60
    """The same where only the skill says so: smoothed over ten losses of 48 rows it swings by 0.07,
    and a regression that can explain 8 % takes some hundred steps to show it."""
    FAR_APART = 3
    FAR_APART_STEPS = 150
    """Samples and steps instead of ten samples where those lie fifty steps apart: the mean of all
    losses in between tells the skill as well."""
    ESCALATE_STEPS = 300
    """Standing this long without any trend beside another symptom, it is a failure."""
    ESCALATE_ALONE_STEPS = 1000
    """With nothing else wrong it may be a slow start: three sigmoid layers under SGD stay flat for
    more than 500 steps."""

    MAJORITY_STEPS = 200
    """Networks learn the frequency of the classes first; 2 to 5 % of separable rare ones are named
    from step 50 to 100 on."""
    LEARNT = 0.25
    UNNAMED = 0.4
    """Skill that a classifier which hardly names the rare classes may have by its probabilities,
    and the same for one that never did: 1 % of rare rows, not one of which was found in 800 steps,
    gave 0.28, three classes of 3 % each 0.38."""
    KNOWN = 0.6
    """Skill from which the probabilities tell the rare rows, whether they pass one half or not."""
    STAYS = 0.1
    """Skill that as many steps again as half of those so far would add, below which it stays."""
    RESTING_STEPS = 250
    """Steps after which losses that rest are no matter of a slow start; three times as many as rare
    rows that can be told go unnamed."""
    POOR_STEPS = 500
    """Steps after which rare rows that are seldom found are no matter of a slow start."""

    def __init__(self) -> None:
        super().__init__()
        self._stalled: dict[str, tuple[int, int]] = {}
        """Samples in a row without skill, and the step of the first."""
        self._empty_since: dict[str, int] = {}
        self._silent: dict[str, int] = {}
        """Models of many yes/no answers that never give the rare one, and since when."""
        self._uneven: dict[str, int] = {}
        """Models that name one class only, and since when."""
        self._crept: dict[str, int] = {}
        """When the loss of a model that is not called yet sank last."""
        self._random: set[str] = set()
        """Models whose labels were found to be random."""
        self._leapt: set[str] = set()
        """Models that found what tells their labels."""

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        assert past.layout is not None
        if model.objective.clash is Clash.BROADCAST:
            return _blind(seen, model)
        if model.value("batch_label_entropy") < 0.35:
            if rarely_met(past, model):
                return self._majority(seen, past, model)
            return None  # batches of one label: neither information nor skill means anything
        information, sigma = model.value("information"), model.value("sigma_share")
        skill = past.skill(model.name)
        if tails_rule(past, model):
            # Most batches have no row of those that rule the loss: only the mean counts them.
            skill = mean_skill(past, model)[0]
        if math.isnan(information) and math.isnan(sigma) and math.isnan(skill):
            return self._coupled(seen, past, model) or self._counts(seen, past, model)
        says_nothing = information < 0.01 or sigma < 0.1
        # What hardly varies cannot explain anything: skill above zero is then noise of the loss.
        flat = information < 1e-4 or sigma < 0.01
        useless = math.isnan(skill) or skill < (0.2 if flat else 0.02)
        nothing = worthless(model)
        clear = not says_nothing and (information > 0.02 or sigma > 0.15 or math.isnan(sigma))
        since = past.standing.get((self.kind, model.name))
        poor = clear and skill < (0.1 if since is None else WORTH)
        # What a latent's prior costs is no lack of skill: the answers themselves tell.
        if poor and not drew(past.first, past.layout, model.name):
            # The little there is to learn may be learnt: it counts where it lasts. What is learnt
            # by heart, of rows that come again, takes nothing back that was called.
            least = nothing if since is None or modest(past, model) else WORTH
            clear = steady_skill(seen.step, model) >= least
        # Single losses scatter: a lucky batch is no skill where the mean of many says there is
        # none.
        level = _even_level(past, model)
        clear = clear or (skill > 0.2 and not level < NONE)
        if not never_given(past, model):
            self._silent.pop(model.name, None)
        elif model.name not in self._silent:
            self._silent[model.name] = seen.step
        young = seen.step - model.born < grace(past, model, self.grace_steps)
        if young or model.lr_rising or model.unstarted:
            # Every network starts like this; only the onset is followed.
            return Judgement(active=False, clear=clear)
        suspect = (says_nothing and useless) or skill < nothing or level < NONE
        learning = not suspect or past.learning(model.name)
        creeping = creeps(past, model, seen.step)
        learning = learning and not creeping
        empty = says_nothing and useless and not learning
        if (skill < nothing or level < NONE) and not learning:
            count, since_stalled = self._stalled.get(model.name, (0, seen.step))
            self._stalled[model.name] = (count + 1, since_stalled)
        else:
            self._stalled.pop(model.name, None)
        if not empty:
            self._empty_since.pop(model.name, None)
        since_step = self._empty_since.setdefault(model.name, seen.step) if empty else seen.step
        lasting = empty and seen.step - since_step >= self.SPAN_STEPS
        # Skill alone swings more than information does: ten samples and no fewer.
        count, since_stalled = self._stalled.get(model.name, (0, seen.step))
        # Far below zero it is no matter of noise.
        span = self.STALLED_STEPS if skill > -0.2 else 0
        many = count > 10 - self.samples_to_open or (
            count >= self.FAR_APART
            and seen.step - since_stalled >= self.FAR_APART_STEPS
            and mean_skill(past, model)[0] < nothing
        )
        # What the means of hundreds of losses say need not last over many samples besides.
        sure = creeping and seen.step - model.born >= STEPS_SURE
        stalled = (sure or (many and seen.step - since_stalled >= span)) and not steady_skill(
            seen.step, model
        ) >= nothing
        if since is None and past.learning(model.name):
            self._crept[model.name] = seen.step
        # What sank a little until it was called may yet get somewhere.
        crept = since is not None and since[2] - self._crept.get(model.name, -STILL) < STILL
        ruined = empty and not crept
        severity = "warning"
        if past.layout.several_models and not _ruined(past, model):
            severity = "info"  # a discriminator at its equilibrium knows nothing either
        elif since and (
            since[0] == "critical"
            or (ruined and seen.step - since[2] >= self._patience(past, model))
        ):
            severity = "critical"
        stalled = (stalled and not modest(past, model)) or crawls(seen, past, model, skill)
        if not (lasting or stalled):
            special = self._unrelated(past, model) or self._majority(seen, past, model)
            special = special or ruled_by_few(past, model) or self._no_yes(seen, past, model)
            return special or Judgement(active=False, clear=clear)
        return Judgement(
            active=True,
            clear=clear,
            severity=severity,
            message=_words(model, says_nothing, skill),
            evidence=measured(
                {
                    "information": information,
                    "sigma_share": sigma,
                    "skill": skill,
                    "top_share": model.value("top_share"),
                }
            ),
        )

    def _coupled(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """A hand-written loss that compares all with all tells no targets, but stands still."""
        assert past.layout is not None
        if model.objective.clash is not Clash.COUPLED or seen.step < self.grace_steps:
            return None
        # Targets that are all the same are learnt, and the loss is gone.
        stands = past.loss.falling is False and past.loss.fresh > 0.1 * past.loss.first
        if past.layout.several_models or not stands:
            return None
        return _blind(seen, model)

    def _counts(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """Of a Poisson loss no skill is measured, but what a constant answer costs is known."""
        if not counts_crawl(past, model, seen.step - model.born):
            return None
        mean, most = model.latest("target_mean"), model.latest("out_max")
        return Judgement(
            active=True,
            clear=False,
            message=f"the outputs are logarithms of rates: {math.exp(most):.2g} at most, where the "
            f"mean count is {mean:.3g}, and they hardly come nearer",
            evidence=measured({"target_mean": mean, "out_max": most}),
        )

    def _majority(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """The most frequent class is named nearly always, and the others are not learnt."""
        assert past.layout is not None
        since = self._uneven_since(seen, past, model)
        if since is None:
            self._uneven.pop(model.name, None)
            return None
        self._uneven.setdefault(model.name, since)
        share, recall = model.value("majority_share"), model.value("rare_recall")
        words = "every input is said to be of the class"
        if recall >= NAMED:
            words = f"{recall:.0%} of the rows of the other classes are found beside the one"
        return Judgement(
            active=True,
            clear=False,
            severity="info" if past.layout.several_models else "warning",
            message=f"{words} that holds {100 * share:.3g}% of the labels, though the outputs "
            "still vary",
            evidence=measured(
                {
                    "majority_share": share,
                    "majority_predicted": model.value("majority_predicted"),
                    "rare_recall": recall,
                    "skill": mean_skill(past, model)[0],
                }
            ),
            onset_step=self._uneven[model.name],
        )

    def _no_yes(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """Of many yes/no answers a row the rare one is never given."""
        since = self._silent.get(model.name)
        if since is None or not stays_silent(seen, past, model, since):
            return None
        rate = model.value("target_mean")
        return Judgement(
            active=True,
            clear=False,
            message=f"no answer is ever {'yes' if rate < 0.5 else 'no'}, which "
            f"{min(rate, 1 - rate):.2%} of them should be",
            evidence=measured({"target_mean": rate, "skill": mean_skill(past, model)[0]}),
            onset_step=past.first_step,
        )

    def _uneven_since(self, seen: Observation, past: Past, model: ModelPast) -> int | None:
        if not model.majority.uneven:
            return None
        recall, (skill, rise) = model.value("rare_recall"), mean_skill(past, model)
        if self._stays_unnamed(seen, past, model, rise):
            return past.first_step
        called = model.name in self._uneven
        if called and recall < FOUND:
            return self._uneven[model.name]  # named once in a while they are not learnt yet
        if skill >= self.KNOWN and not self._never(seen, model, rise):
            return None
        if called and math.isnan(recall) and model.majority.lately_silent:
            return self._uneven[model.name]
        if seen.step >= self.POOR_STEPS and recall < POOR and model.majority.rules:
            return past.first_step
        if unlearnt(seen, past, model):
            return past.first_step
        since = model.majority.only_since
        if since is None or self.KNOWN - skill < rise * seen.step * SOON:
            return None  # at this pace they are known before long
        knows = PATIENCE_STEPS if skill >= self.LEARNT else 0  # what is half known comes of itself
        if seen.step - since < max(knows, patience(model)) or soon_told(seen, model):
            return None
        if not model.majority.rules and modest(past, model):
            return None  # of rows that are hard to tell each may well be likelier of the majority
        if skill >= self.KNOWN:
            return since
        return since if skill < (self.UNNAMED if model.majority.never else self.LEARNT) else None

    def _never(self, seen: Observation, model: ModelPast, rise: float) -> bool:
        """Probable rows are never probable enough to be named, and it stays at that."""
        since = model.majority.only_since
        stays = since is not None and seen.step - since >= self.MAJORITY_STEPS
        return stays and model.majority.never and rise * seen.step / 2 < self.STAYS

    def _stays_unnamed(self, seen: Observation, past: Past, model: ModelPast, rise: float) -> bool:
        """Rare rows are hardly ever answered right, and the losses no longer fall.

        Which rows may be rare ones is learnt, and which of them are is not: that too is skill.
        """
        if seen.step - model.born < self.RESTING_STEPS or not model.majority.rules:
            return False
        resting = past.loss_is_all_of(model) and rise * seen.step / 2 < self.STAYS
        return resting and model.value("rare_recall") < NAMED and not soon_told(seen, model)

    def _unrelated(self, past: Past, model: ModelPast) -> Judgement | None:
        """Random labels; learning more of them by heart does not mend them."""
        assert past.layout is not None
        if past.layout.several_models:
            return None
        if leaps(past, model):
            self._leapt.add(model.name)
        elif not past.skill(model.name) >= LITTLE:
            self._leapt.discard(model.name)
        if model.name in self._leapt or modest(past, model):
            self._random.discard(model.name)
        elif unrelated(past, model):
            self._random.add(model.name)
        elif not model.value("neighbour_agreement") < chance(model) + 0.03:  # it swings by that
            self._random.discard(model.name)
        return _random_labels(past, model) if model.name in self._random else None

    def _patience(self, past: Past, model: ModelPast) -> int:
        """Steps until a warning becomes a failure."""
        others = (kind for kind, owner in past.standing if owner == model.name)
        if any(past.stands(kind, model.name) for kind in others if kind != self.kind):
            return self.ESCALATE_STEPS
        ruined = model.peak_update > REPLACED
        return self.ESCALATE_STEPS if ruined else self.ESCALATE_ALONE_STEPS


STILL = 50
"""Steps without any trend after which a loss stands still."""
SOON = 0.75
"""So many times the steps so far is soon: one chirp in thirty had 0.17 of skill after 200 steps and
0.9 after 250."""

EVEN_LOSSES = 128
NONE = 0.02
"""Skill by the mean of so many losses, which scatters by 0.02 where single ones (batches of 48, a
squared error) scatter by 0.2."""


def _even_level(past: Past, model: ModelPast) -> float:
    """Skill by the mean of the last 128 losses; NaN before there are as many."""
    constant, level = model.value("loss_constant"), past.loss.mean(EVEN_LOSSES)
    return 1 - level / constant if constant > 0 and past.loss_is_all_of(model) else math.nan


def _random_labels(past: Past, model: ModelPast) -> Judgement:
    agreement, skill = model.value("neighbour_agreement"), past.skill(model.name)
    return Judgement(
        active=True,
        clear=False,
        message=f"inputs that lie close together bear unrelated labels ({agreement:.2g} of 1 "
        f"above chance): the skill of {skill:.2g} is learnt by heart",
        evidence={"neighbour_agreement": agreement, "skill": skill},
    )


def _blind(seen: Observation, model: ModelPast) -> Judgement:
    """Each prediction is compared with all targets: the mean of the targets is the best answer."""
    shown = {name: model.value(name) for name in ("sigma_share", "coupling", "skill")}
    return Judgement(
        active=True,
        clear=False,
        severity="critical" if seen.step - model.objective.since >= 20 else "warning",
        message="each prediction is compared with the targets of all rows: the best answer to that "
        "is one constant",
        evidence=measured(shown),
        onset_step=model.objective.since,
    )


RUIN = (
    "update-too-large",
    "dead-units",
    "saturation",
    "vanishing-gradient",
    "weight-collapse",
    "weight-divergence",
    "duplicate-units",
)


def _ruined(past: Past, model: ModelPast) -> bool:
    """Whether one of several models is broken by itself, whichever loss is its own."""
    return any(past.stands(kind, model.name) for kind in RUIN)


def _words(model: ModelPast, says_nothing: bool, skill: float) -> str:
    if model.value("top_share") >= 0.999 and math.isfinite(skill):
        return (
            f"every input gets the same class; the loss is that of a constant (skill {skill:.2g})"
        )
    if says_nothing:
        return "the predictions hardly depend on the input"
    return f"the loss is no better than that of a constant prediction (skill {skill:.2g})"
