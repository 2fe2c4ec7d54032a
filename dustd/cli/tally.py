"""What became of the frames of a run, counted, and said at its end."""

import collections
from dataclasses import dataclass, field
from pathlib import Path

from dustd.output.edits import NOT_INTO_ORIGINALS
from dustd.output.sidecar import Edit, Problem, Record
from dustd.pipeline.revisit import Visit
from dustd.text import counted, spots_changed


@dataclass(slots=True)
class Tally:
    """Counts of frames by what became of them; no records are kept, for there may be a hundred thousand."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)  # by status
    of_bodies: dict[str, collections.Counter[str]] = field(default_factory=dict)
    own: int = 0  # cleaned files of dustd's, left alone
    waiting: int = 0  # frames that were looked at and not delivered
    corrected: int = 0
    left: int = 0
    edits: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    failed: list[tuple[str, Problem]] = field(default_factory=list)  # names of files
    improved: int = 0
    more: int = 0  # spots
    fewer: int = 0
    left_alone: list[tuple[str, str]] = field(default_factory=list)  # names of files, why

    def add(self, record: Record) -> None:
        """Count a frame as it stands now."""
        self.counts[record.status] += 1
        self.of_bodies.setdefault(record.camera.body_id, collections.Counter())[record.status] += 1
        corrected = sum(spot.action != "left" for spot in record.spots)
        self.corrected += corrected
        self.left += len(record.spots) - corrected
        self.edits.update((edit.program, _became(edit)) for edit in record.edits)
        if record.status == "failed" and record.error:
            self.failed.append((record.source.name, record.error))

    def visited(self, name: str, visit: Visit) -> None:
        """Count the frame *name* as it stands now, and what deciding anew has changed in it."""
        if visit.record is not None:
            self.add(visit.record)
        if visit.left_alone:
            self.left_alone.append((name, visit.left_alone))
        elif visit.differs:
            self.improved += 1
            self.more += visit.more
            self.fewer += visit.fewer

    def tell(self, total: int, output: Path, *, bodies: bool = False) -> None:
        """Print what became of *total* frames, and where the cleaned ones are; with *bodies*, of each body's, too."""
        done = self.counts.total() + self.own
        rest = f", {total - done} not done" if done < total else ""
        print(f"{_told(self.counts)}{rest}: in {output}")
        if self.waiting:
            print(f"{counted(self.waiting, 'frame')} looked at; the same command goes on from there.")
        if bodies:
            for body_id, counts in sorted(self.of_bodies.items()):
                print(f"  {body_id}: {_told(counts)}")
        if self.own:
            print(f"{counted(self.own, 'cleaned file')} that dustd made left alone.")
        print(f"{counted(self.corrected, 'spot')} corrected, {self.left} left alone; the sidecars say why.")
        for (program, words), count in sorted(self.edits.items()):
            print(f"Edits for {program}: {count} {words}.")
        for name, problem in self.failed:
            print(f"  {name}: {problem.problem}. {problem.remedy}.")
        if self.improved:
            changed = spots_changed(self.more, self.fewer)
            print(f"{counted(self.improved, 'frame')} improved by what the maps know now: {changed}.")
        for name, why in self.left_alone:
            print(f"  {name}: left as it is; {why}.")


def _told(counts: collections.Counter[str]) -> str:
    return f"{counts['cleaned']} cleaned, {counts['clean']} unchanged, {counts['failed']} failed"


def _became(edit: Edit) -> str:
    return f"not possible; {edit.reason}" if edit.reason == NOT_INTO_ORIGINALS else _EDIT_WORDS[edit.result]


_EDIT_WORDS = {
    "written": "written beside the originals",
    "merged": "added to sidecars that were there",
    "kept": "not written, for there are sidecars already",
    "none": "not needed",
    "failed": "failed; the sidecars say why",
}
