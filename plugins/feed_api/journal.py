"""What was answered, on disk before the answer leaves: the lines of a segment file, until stored.

A process appends to a segment of its own, one line an answer by one write(), which outlives the
process however it ends (not the machine: nothing waits for the disk). A segment that is sealed is
stored in Postgres and deleted after the commit. Whoever dies in between leaves segments behind,
and the next process takes them over: each file is locked while its writer lives, so nobody reads
what is still being written. A line stored twice is one impression, by its request id.
"""

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

# What may wait on disk for a database that takes nothing; beyond that the disk counts as full.
MOST_BYTES = 1 << 30
# A segment is read as a whole when it is stored.
SEGMENT_BYTES = 4 << 20
SUFFIX = ".jsonl"
REFUSED = "refused.lines"


@dataclass
class Segment:
    """A file of lines that this process has locked.

    Attributes:
        path: where it is.
        handle: file descriptor that holds the lock.
        size: bytes written.
    """

    path: Path
    handle: int
    size: int = 0

    def close(self) -> None:
        """Give up the lock."""
        os.close(self.handle)

    def delete(self) -> None:
        """Remove the file, then give up the lock: nobody else takes it over in between."""
        self.path.unlink(missing_ok=True)
        self.close()

    def read(self) -> list[bytes]:
        """Return the whole lines. One that a kill cut short was never answered, and is left out."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            log.error("%s is gone, and the impressions in it", self.path)
            return []
        *whole, torn = content.split(b"\n")
        if torn:
            log.warning("%s: the last %d bytes are no whole line", self.path, len(torn))
        return [line for line in whole if line]


@dataclass
class Journal:
    """The segments of this process.

    Attributes:
        folder: where segments are; all processes of one service share it.
        most_bytes: bytes that may wait here.
    """

    folder: Path
    most_bytes: int = MOST_BYTES
    current: Segment | None = None
    sealed: list[Segment] = field(default_factory=list)

    def append(self, line: bytes) -> Segment:
        """Write one line, newline excluded, and return the segment that has it.

        Raises:
            OSError: if there is no room; the segment is as it was then.
        """
        if self.waiting_bytes() + len(line) >= self.most_bytes:
            raise OSError(errno.ENOSPC, f"{self.most_bytes} bytes of impressions wait already")
        if self.current is None:
            self.current = self._create()
        segment, data = self.current, line + b"\n"
        try:
            written = os.write(segment.handle, data)
            while written < len(data):
                written += os.write(segment.handle, data[written:])
        except OSError:
            os.ftruncate(segment.handle, segment.size)
            raise
        segment.size += len(data)
        if segment.size >= SEGMENT_BYTES:
            self.seal()
        return segment

    def seal(self) -> None:
        """Put what was written so far among the segments to store."""
        if self.current is not None:
            self.sealed.append(self.current)
            self.current = None

    def take_over(self) -> int:
        """Seal the segments that dead processes left behind; return how many."""
        ours = {segment.path for segment in self.segments()}
        taken = 0
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path not in ours and (segment := _locked(path, os.O_RDWR)):
                segment.size = os.fstat(segment.handle).st_size
                self.sealed.append(segment)
                taken += 1
        return taken

    def refuse(self, line: bytes) -> None:
        """Keep a line that the database will never take where somebody can look at it."""
        with (self.folder / REFUSED).open("ab") as refused:
            refused.write(line + b"\n")

    def segments(self) -> Iterator[Segment]:
        """Yield the segments of this process."""
        yield from self.sealed
        if self.current is not None:
            yield self.current

    def waiting_bytes(self) -> int:
        """Return the bytes that wait to be stored."""
        return sum(segment.size for segment in self.segments())

    def close(self) -> None:
        """Give up all locks; what is left is for the next process."""
        for segment in self.segments():
            if segment.size:
                segment.close()
            else:
                segment.delete()
        self.sealed, self.current = [], None

    def _create(self) -> Segment:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = self.folder / f"{os.getpid()}-{uuid.uuid4().hex}{SUFFIX}"
            # Another process may have found the new file before we locked it: then it is theirs.
            if segment := _locked(path, os.O_RDWR | os.O_CREAT | os.O_EXCL):
                return segment


def _locked(path: Path, flags: int) -> Segment | None:
    """Open and lock a segment, unless it is another process's or gone."""
    try:
        handle = os.open(path, flags | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last owner may have deleted it between our opening and our locking it.
        if os.stat(path).st_ino == os.fstat(handle).st_ino:
            return Segment(path, handle)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
