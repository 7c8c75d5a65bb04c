"""What a viewer asks for beside the news: the spread of one tensor, dense samples, notes.

`Demands` holds no socket: it says which questions are due and folds the answers in. A source that
can answer such questions has one, and is an `Answering`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from deadband.wire import (
    AskDense,
    AskDistributions,
    AskHistogram,
    AskNote,
    Distributions,
    Done,
    Histogram,
    Refusal,
    What,
)
from deadband_monitor.state.course import Course

ASK_EVERY_S = 1.0
Subject = tuple[str, str, What]
"""Model, layer, tensor."""
Question = AskDistributions | AskHistogram | AskDense | AskNote


@dataclass(slots=True, eq=False)
class Spread:
    """What is known of the tensor that is looked at."""

    subject: Subject
    course: Course = field(default_factory=Course)
    kinds: tuple[What, ...] = ()
    """The tensors of that layer that can be looked at."""
    values: int = 0
    """Elements of the slice ..."""
    source: int = 0
    """... and of the whole tensor; 0 where that is not known."""
    histogram: Histogram | None = None
    asked_rank: int = -1
    """Whose tensor was asked for ..."""
    rank: int = -1
    """... and whose it is; below 0: of the rank that stands for the run."""


def beside(before: Spread | None, subject: Subject) -> Spread:
    """A fresh spread; of the same layer as the one before, what tensors there are is known."""
    same = before is not None and before.subject[:2] == subject[:2]
    return Spread(subject, kinds=before.kinds if before is not None and same else ())


@runtime_checkable
class Answering(Protocol):
    """A source that can be asked for more than the news."""

    spread: Spread | None
    """Of what `look_at` said last."""
    answers: int
    """Counts answers, so that a screen knows when to draw again."""
    said: deque[Done]
    """What became of dense samples and notes, oldest first; whoever shows one takes it."""

    def look_at(self, subject: Subject | None, *, finely: bool = False, rank: int = -1) -> None:
        """Follow the spread of this tensor from now on.

        Args:
            subject: None for none any more.
            finely: its histogram, too.
            rank: whose; below 0: of the rank that stands for the run.
        """

    def demand(self, demand: AskDense | AskNote) -> None:
        """Have something done; what becomes of it is `said`."""


class Demands:
    """The questions of one viewer to a hub, one at a time. A live source is one."""

    def __init__(self) -> None:
        self.spread: Spread | None = None
        self.answers = 0
        self.said: deque[Done] = deque()
        self._waiting: deque[Question] = deque()
        self._aside: Question | None = None
        """What is under way."""
        self._finely = False
        self._next = 0.0
        self._deaf = False
        """The hub is of a version that knows none of this."""

    def look_at(self, subject: Subject | None, *, finely: bool = False, rank: int = -1) -> None:
        """Follow the spread of this tensor of a rank from now on; `finely`: its histogram, too."""
        shown = self.spread
        if subject is None:
            self.spread = None
        elif shown is None or (shown.subject, shown.asked_rank) != (subject, rank):
            self.spread, self._next = beside(shown, subject), 0.0
            self.spread.asked_rank = rank
        elif finely and not self._finely:
            self._next = 0.0
        self._finely = finely

    def demand(self, demand: AskDense | AskNote) -> None:
        """Have something done; what becomes of it is `said`."""
        if self._deaf:
            self._say(TOO_OLD)
        else:
            self._waiting.append(demand)

    @property
    def hurries(self) -> bool:
        """Whether somebody has just pressed a key and waits for an answer."""
        first = self.spread is not None and not self._next
        return not self._deaf and self._aside is None and (first or bool(self._waiting))

    @property
    def is_aside(self) -> bool:
        """Whether such a question is under way: it must not be forgotten for another."""
        return self._aside is not None

    def question(self, now: float) -> Question | None:
        """What is to be asked now, if anything; `now` is any even clock."""
        if self._deaf:
            return None
        spread = self.spread
        if spread is not None and now >= self._next:
            self._next = now + ASK_EVERY_S
            model, layer, what = spread.subject
            since, rank = spread.course.last_step, spread.asked_rank
            self._waiting.append(
                AskDistributions(model=model, layer=layer, what=what, since=since, rank=rank)
            )
            if self._finely:
                self._waiting.append(AskHistogram(model=model, layer=layer, what=what, rank=rank))
        self._aside = self._waiting.popleft() if self._waiting else None
        return self._aside

    def take_answer(self, answer: Distributions | Histogram | Done) -> None:
        """Fold an answer in.

        Raises:
            ValueError: it cannot be read.
        """
        asked, self._aside = self._aside, None
        if isinstance(answer, Done):
            self._say(answer)
            return
        self.answers += 1
        spread = self.spread
        if spread is None or spread.subject != (answer.model, answer.layer, answer.what):
            return  # of what was looked at before
        if isinstance(asked, AskDistributions | AskHistogram) and asked.rank != spread.asked_rank:
            return
        if isinstance(answer, Histogram):
            spread.histogram = answer if answer.counts else spread.histogram
            return
        spread.course.add_packed(answer.steps, answer.outlines)
        spread.kinds, spread.values, spread.source = answer.kinds, answer.values, answer.source
        spread.rank = answer.rank

    def is_of_ours(self, refusal: Refusal) -> bool:
        """Whether it was one of these questions that the hub could not read: it is older."""
        if self._aside is None or not refusal.reason.startswith("unreadable question"):
            return False
        self._aside, self._deaf = None, True
        self._waiting.clear()
        self._say(TOO_OLD)
        return True

    def give_up(self) -> None:
        """The hub does not answer: what waits for it will not be done behind somebody's back."""
        for question in (self._aside, *self._waiting):
            if isinstance(question, AskDense | AskNote):
                self._say(UNANSWERED)
        self._aside = None
        self._waiting.clear()

    def _say(self, done: Done) -> None:
        self.answers += 1
        self.said.append(done)


TOO_OLD = Done(said="the hub of this run is older than this viewer and cannot do it", refused=True)
UNANSWERED = Done(said="the hub does not answer: it may not have been done", refused=True)
