"""Looks into a long recording that read little of it: gists, courses, and a few samples."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from deadband.wire import LayerTable, Sample
from deadband_monitor.record.format import COURSES_HEAD
from deadband_monitor.record.reader import Recording

HANDFUL = 64
"""Samples held in memory at once: of 400 layers each is 50 kB."""
_SAMPLES = "SELECT seq, step, time, rank, layer_table, layers, models FROM samples"

_decode_table = msgspec.msgpack.Decoder(LayerTable).decode


class DeepRecording(Recording):
    """A recording of which pictures are cut."""

    def gist_before(self, seq: int, layout: int) -> int:
        """Number of the event of the newest gist of this layout up to event `seq`; 0: none."""
        if not self._holds("gists"):
            return 0
        query = "SELECT coalesce(max(seq), 0) FROM gists WHERE seq <= ? AND format = ?"
        return int(self._rows(query, seq, layout)[0][0])

    def gist(self, seq: int) -> bytes:
        """The gist of exactly that event."""
        return bytes(self._rows("SELECT state FROM gists WHERE seq = ?", seq)[0][0])

    def newest_samples(self, seq: int, rank: int, number: int) -> list[Sample]:
        """The last samples of a rank up to event `seq`, in order, without their scalars."""
        query = f"{_SAMPLES} WHERE seq <= ? AND +rank = ? ORDER BY seq DESC LIMIT ?"
        return [_sample(row) for row in reversed(self._rows(query, seq, rank, number))]

    def samples_between(self, after: int, upto: int, rank: int, limit: int) -> list[Sample]:
        """The first samples of a rank after event `after`, in order, without their scalars."""
        query = f"{_SAMPLES} WHERE seq > ? AND seq <= ? AND +rank = ? ORDER BY seq LIMIT ?"
        return [_sample(row) for row in self._rows(query, after, upto, rank, limit)]

    def count_steps(self, first: int, last: int, limit: int) -> int:
        """How many samples there are of these steps, by any rank; no more than `limit`."""
        query = "SELECT count(*) FROM (SELECT 1 FROM samples WHERE step >= ? AND step <= ? LIMIT ?)"
        return int(self._rows(query, first, last, limit)[0][0])

    def count_between(self, after: int, upto: int, limit: int) -> int:
        """How many samples come after event `after`, by any rank; no more than `limit`."""
        query = "SELECT count(*) FROM (SELECT 1 FROM samples WHERE seq > ? AND seq <= ? LIMIT ?)"
        return int(self._rows(query, after, upto, limit)[0][0])

    @property
    def last_sampled_step(self) -> int:
        """The newest step that was sampled; 0 before the first."""
        return int(self._rows("SELECT coalesce(max(step), 0) FROM samples")[0][0])

    def step_back(self, first: int, last: int, samples: int) -> int:
        """From which of these steps on there are so many samples; the first if there are fewer."""
        query = (
            "SELECT step FROM samples WHERE step >= ? AND step <= ?"
            " ORDER BY step DESC LIMIT 1 OFFSET ?"
        )
        rows = self._rows(query, first, last, samples - 1)
        return int(rows[0][0]) if rows else first

    def samples_of_steps(
        self, first: int, last: int, upto: int, rank: int, newest: int
    ) -> Iterator[list[Sample]]:
        """Samples of a rank up to event `upto` in order of steps, in handfuls; the newest only."""
        query = (
            "SELECT seq FROM samples WHERE step >= ? AND step <= ? AND +seq <= ? AND +rank = ?"
            " ORDER BY step DESC, seq DESC LIMIT ?"
        )
        places = self._rows(query, first, last, upto, rank, newest)[::-1]
        for at in range(0, len(places), HANDFUL):
            some = [seq for (seq,) in places[at : at + HANDFUL]]
            marks = ",".join("?" * len(some))
            # SQLite would carry every sample through a sorter.
            rows = self._rows(f"{_SAMPLES} WHERE seq IN ({marks})", *some)
            samples = {row[0]: row for row in rows}
            yield [_sample(samples[seq]) for seq in some]

    @property
    def courses_head(self) -> bytes | None:
        """What the thinned out history of layers stands for; None where there is none."""
        if not self._holds("courses"):
            return None
        rows = self._rows("SELECT value FROM meta WHERE key = ?", COURSES_HEAD)
        return bytes(rows[0][0]) if rows else None

    def courses(self, metric: str | None, first_row: int | None) -> list[tuple[str, int, bytes]]:
        """Its blocks of one metric, of one block of layers, or of both: metric, first row, body."""
        return self._rows(
            "SELECT metric, first_row, body FROM courses"
            " WHERE (?1 IS NULL OR metric = ?1) AND (?2 IS NULL OR first_row = ?2)",
            metric,
            first_row,
        )

    def layer_table(self, number: int) -> LayerTable | None:
        """The table that samples name by this number."""
        rows = self._rows("SELECT body FROM layer_tables WHERE id = ?", number)
        return self._decoded(_decode_table, rows[-1][0]) if rows else None


def _sample(row: tuple[int, int, float, int, int, bytes, bytes]) -> Sample:
    seq, step, time, rank, table, layers, models = row
    return Sample(
        seq=seq, step=step, time=time, rank=rank, table=table, layers=layers, models=models,
        scalars={},
    )  # fmt: skip
