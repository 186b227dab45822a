"""What was found wrong with a corpus: counted, listed, and fatal when it is too much."""

import hashlib
import os
from collections import Counter
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.io.audio import read_audio
from kdspeech.io.errors import InputError

MAX_BAD_PERCENT = 1.0


class Audit:
    """Checks the files of a corpus one by one and keeps the account.

    Attributes:
        checked: number of files looked at.
        rejected: messages, one per file left out; each names the file.
        duplicates: messages, one per file whose samples another file has; they are kept.
        warnings: other messages.
        counts: set -> kind of clip -> number, filled in by the preparation.
    """

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self.checked = 0
        self.rejected: list[str] = []
        self.duplicates: list[str] = []
        self.warnings: list[str] = []
        self.counts: dict[str, Counter] = {}
        self._seen: dict[bytes, tuple[Path, str]] = {}

    def check(self, path: Path, label: str) -> int:
        """Reads a file: the number of its samples, or 0 if it is left out.

        Args:
            path: audio file, expected to be mono at the corpus's rate.
            label: what it says; a duplicate with another label is pointed out.
        """
        try:
            samples, _ = read_audio(path, self.sample_rate)
        except InputError as error:
            self.checked += 1
            self.rejected.append(str(error))
            return 0
        self.checked += 1
        digest = hashlib.blake2b(samples.tobytes(), digest_size=16).digest()
        first, first_label = self._seen.setdefault(digest, (path, label))
        if first != path:
            differs = "" if label == first_label else ", under another label"
            self.duplicates.append(f"{path}: same samples as {first}{differs}")
        return len(samples)

    def reject(self, path: Path, reason: str) -> None:
        """Counts a file that is left out unread."""
        self.checked += 1
        self.rejected.append(f"{path}: {reason}")

    def warn(self, message: str) -> None:
        """Notes what the user should know and nothing is left out for."""
        self.warnings.append(message)

    def finish(self, corpus: Path, data: str | os.PathLike) -> None:
        """Writes DATA/problems.txt, if there is anything to list.

        Raises:
            InputError: more than 1 % of the files are left out.
        """
        problems = Path(data) / "problems.txt"
        lines = [f"left out: {m}" for m in self.rejected]
        lines += [f"duplicate: {m}" for m in self.duplicates]
        lines += [f"warning: {m}" for m in self.warnings]
        if lines:
            with atomic_path(problems) as temporary:
                temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        else:
            problems.unlink(missing_ok=True)
        if 100 * len(self.rejected) > MAX_BAD_PERCENT * self.checked:
            raise InputError(
                f"{corpus}: {len(self.rejected)} of {self.checked} files cannot be used, more than "
                f"{MAX_BAD_PERCENT:g} % (all in {problems}); first: {self.rejected[0]}"
            )
