"""The event log: what a run logged, line by line, the same bytes however often it was killed.

The log is a tape. A resumed run cuts it back to the last checkpoint and winds to its start;
code that runs again writes the same lines over the old ones, and a line that differs is an
error (the run does not depend on its seed alone). Times never enter it: they would differ.
"""

import json
import os
import struct
import time
from pathlib import Path
from typing import Any

from orrery.errors import OrreryError
from orrery.files import cannot_write


class Tape:
    """An append-only file of JSON lines that can be wound back and re-written identically."""

    def __init__(self, path: Path, valid: int) -> None:
        """Open the log; everything after its first `valid` bytes was never checkpointed."""
        self._path = path
        with open(path, "ab"):
            pass
        self._file = open(path, "r+b")  # noqa: SIM115  (closed by close)
        self._file.truncate(valid)
        self._end = valid
        self.position = 0

    def write(self, event: dict[str, object]) -> None:
        """Append an event, or check that the tape holds it already.

        Raises:
            OrreryError: the run is not reproducible, or the disk is full.
        """
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        if self.position < self._end:
            self._file.seek(self.position)
            before = self._file.read(len(line))
            if before != line:
                raise OrreryError(
                    f"{self._path}: the resumed run logged {line.decode().strip()} where the "
                    f"first one logged {before.decode(errors='replace').strip()}: something "
                    "outside seed and step decides it"
                )
        else:
            try:
                self._file.seek(self.position)
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise cannot_write(self._path, len(line), error) from error
        self.position += len(line)
        self._end = max(self._end, self.position)

    def wind(self, position: int) -> None:
        """Go to where the log stood at a checkpoint."""
        self.position = position

    def sync(self) -> int:
        """Make what was written last through a power cut; returns its length in bytes.

        Raises:
            OrreryError: the disk is full.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self._path, self.position, error) from error
        return self.position

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(path: Path) -> list[dict[str, object]]:
    """Every whole event in a log; a last line cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


class TensorBoardLog:
    """The same numbers as the event log, as a TensorBoard event file."""

    def __init__(self, folder: Path, events: list[dict[str, object]]) -> None:
        """Start a new file with `events`; files of earlier, interrupted attempts go away."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        path = folder / f"events.out.tfevents.{int(time.time())}.orrery"
        self._file = open(path, "wb")  # noqa: SIM115  (closed by close)
        self._writer = RecordWriter(self._file)
        self._count = 0
        self._record(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        for event in events:
            self.write(event)

    def write(self, event: dict[str, object]) -> None:
        """Append the numbers of one event; without a step, its place in the log is the step."""
        phase, step = event.get("phase"), event.get("step", self._count)
        values = [
            self._summary.Value(tag=f"{phase}/{k}" if phase else k, simple_value=_single(v))
            for k, v in event.items()
            if k not in ("phase", "step") and isinstance(v, int | float)
        ]
        summary = self._summary(value=values)
        self._record(self._event(wall_time=time.time(), step=step, summary=summary))
        self._count += 1

    def flush(self) -> None:
        """Let a reader see what was written."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _record(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def _single(value: float) -> float:
    """`value` as the 32-bit number TensorBoard stores (infinite where it does not fit)."""
    try:
        number: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    return number
