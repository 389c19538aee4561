"""Merging of other people's records into a results folder: judged first, then written whole.

What is written is made from the objects that were judged, never copied from their files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.records import measurements
from bench.records.schema import STATED, Record
from bench.records.store import Store
from bench.records.transaction import Transaction, open_transaction
from bench.report.known_labels import KnownLabels
from bench.report.verdicts import JudgedRecord, Verdict, judge
from bench.utils.errors import UserError


def merge_records(
    verdicts: Sequence[Verdict], store: Store, labels: KnownLabels, accept_stated: bool = False
) -> list[str]:
    """Write all accepted records, or none; return a line on each.

    Accepted are those recomputed and, if `accept_stated`, those stated, which are marked. Raises
    `UserError` for a record that has changed since its verdict.
    """
    with open_transaction(store.root) as transaction:
        merging = _Merging(store, transaction)
        accepted = (one for one in verdicts if one.recomputed or (one.stated and accept_stated))
        return [line for one in accepted for line in merging.take(_judge_again(one, labels))]


def _judge_again(verdict: Verdict, labels: KnownLabels) -> JudgedRecord:
    """Read a record again, to be written as it is judged now: in the same way, or not at all."""
    found = judge(verdict.path, labels)
    if found.verdict != verdict:
        raise UserError(f"{verdict.path} has changed since it was judged; nothing was merged")
    return found


@dataclass(frozen=True)
class _Merging:
    """A merge into a store by way of a transaction."""

    store: Store
    transaction: Transaction

    def take(self, found: JudgedRecord) -> list[str]:
        """Stage the files of a record that the store does not have; return lines that report it."""
        record, path = found.record, found.verdict.path
        assert record is not None, f"{path} was accepted unread"
        mark, mine = found.verdict.stated, self.store.find_any(record.settings)
        if mine is None or (not mark and _gives_way(mine, record)):
            self._stage_predictions(found)
            measures = self._stage_measures(found)
            self._stage_record(replace(record, evidence=STATED if mark else ""))
            return [f"added, as stated by others: {path}" if mark else f"added: {path}", *measures]
        if mine.outcome != record.outcome:
            return [f"differs, ours kept: {path}"]
        if mine.evidence == STATED:
            return [f"here already: {path}"]
        if not self.store.predictions_path(record.settings).exists():
            self._stage_predictions(found)
        return [f"here already: {path}", *self._stage_measures(found)]

    def _stage_record(self, record: Record) -> None:
        self.transaction.add(Store(self.transaction.folder).write(record))

    def _stage_predictions(self, found: JudgedRecord) -> None:
        """Stage the predictions of a record, which go before it."""
        if found.record and found.predictions:
            staged, settings = Store(self.transaction.folder), found.record.settings
            self.transaction.add(staged.write_predictions(settings, found.predictions))
            for name, kept in found.shift_predictions.items():
                self.transaction.add(staged.write_predictions(settings, kept, name))

    def _stage_measures(self, found: JudgedRecord) -> list[str]:
        """Stage the measures that the store lacks; none of a record that is only stated.

        A run of one's own would take those for its own.
        """
        folder, lines = self.transaction.folder, []
        for measured in found.measures if found.verdict.recomputed else ():
            name = measured.measurement
            if measurements.missing_measurements(self.store.root, measured.cell, [name]):
                self.transaction.add(measurements.write_measurement(folder, measured))
                lines.append(f"added: {name} of {found.verdict.path}")
        return lines


def _gives_way(mine: Record, theirs: Record) -> bool:
    """Return whether a recomputed record takes the place of ours: of what proves nothing."""
    return mine.evidence == STATED or (theirs.ok and not mine.ok)
