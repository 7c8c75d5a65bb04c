"""How closely this process is looked at: by its settings and its rank, then as the hub asks."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from deadband import ranks, wire
from deadband.arena import FAR_PAYLOAD_BYTES, MOST_PAYLOAD_BYTES
from deadband.cadence import FAR_RATE, RATE_LIMIT, Cadence
from deadband.closeups import Closeups
from deadband.opinions import Opinions
from deadband.recorder import Recorder
from deadband.settings import Settings


class Steering:
    """Sets the cadence and the size of frames.

    Args:
        settings: the user's.
        opinions: what the hub has said.
        recorder: whose frames are to be small on a far rank.
        closeups: of tensors that somebody looks at.
        failed: is told of what went wrong; nothing is raised into training.
        steps_before: steps of training before the watch began.
    """

    def __init__(
        self,
        settings: Settings,
        opinions: Opinions,
        recorder: Recorder,
        closeups: Closeups,
        *,
        failed: Callable[[Exception], None],
        steps_before: int,
    ) -> None:
        self._opinions = opinions
        self._recorder = recorder
        self._closeups = closeups
        self._failed = failed
        at = ranks.place()
        far = at.rank >= wire.FAR_RANK
        self._credit_s = settings.credit_s
        self._rate_share = 1.0 / at.local_size if at.rank else 1.0
        self.cadence = Cadence(
            every=settings.every,
            budget=settings.budget,
            credit_s=0.0 if far else settings.credit_s,
            ranks=at.world_size,
            rate_share=FAR_RATE / RATE_LIMIT if far else self._rate_share,
            steps_before=steps_before,
        )
        if far:
            recorder.most_bytes = FAR_PAYLOAD_BYTES

    def hear(self, step: int, *, armed: bool) -> None:
        """Take in what the hub has said since; `armed`: slices of a sample are on their way."""
        opinions, cadence = self._opinions, self.cadence
        credit_s = opinions.hear()
        cadence.watched = opinions.watched
        if credit_s is not None:
            cadence.renew(credit_s or None, perf_counter(), step)
        if opinions.whole is not None and not armed:  # frames change between samples only
            self._resize(step, whole=opinions.whole)
            opinions.whole = None
        asked, opinions.asked = opinions.asked, None
        if asked is not None:
            cadence.asked(asked, step)
        if opinions.close_wishes:
            self._look_closely()

    def _look_closely(self) -> None:
        wishes, self._opinions.close_wishes = self._opinions.close_wishes, []
        try:
            for wish in wishes:
                self._closeups.wish(wish)
        except Exception as error:
            self._failed(error)

    def _resize(self, step: int, *, whole: bool) -> None:
        """The hub wants whole frames of this far rank, or summaries again."""
        if whole:
            self.cadence.attend(self._credit_s, self._rate_share)
            self.cadence.renew(None, perf_counter(), step)
        else:
            self.cadence.attend(0.0, FAR_RATE / RATE_LIMIT)
        try:
            self._recorder.resize(MOST_PAYLOAD_BYTES if whole else FAR_PAYLOAD_BYTES)
        except Exception as error:
            self._failed(error)
