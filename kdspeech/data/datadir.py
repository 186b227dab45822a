"""Kaldi data directories: wav.scp, segments, text, utt2spk, spk2utt and the tables beside them.

A path in wav.scp that is not absolute is meant from the current directory, as in Kaldi; if there
is no such file, from the data directory, and then from the folder that holds it (a corpus that
brings its own data directories). An entry that ends in `|` is a shell command whose output is
the audio; it runs only where the caller allows pipes.
"""

import os
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdspeech.io.atomic import atomic_dir
from kdspeech.io.audio import read_audio
from kdspeech.io.errors import InputError
from kdspeech.io.tables import (
    iter_table,
    read_table,
    table_lines,
    unsorted_message,
    write_table,
)

# Which key each table has. Those of recordings are by utterance where there is no `segments`.
UTTERANCE_TABLES = (
    *("segments", "text", "utt2spk", "utt2dur", "utt2num_frames", "utt2lang", "utt2uniq"),
    *("utt2warp", "feats.scp", "vad.scp"),
)
SPEAKER_TABLES = ("spk2utt", "spk2gender", "spk2age", "spk2warp", "cmvn.scp")
RECORDING_TABLES = ("wav.scp", "reco2dur", "reco2file_and_channel")
TABLES = RECORDING_TABLES + UTTERANCE_TABLES + SPEAKER_TABLES
_EMPTY_VALUES = ("text",)


class Segment(NamedTuple):
    """Where an utterance lies in its recording; seconds; `end` None is the recording's end."""

    recording: str
    start: float = 0.0
    end: float | None = None
    channel: int | None = None


class DataDir:
    """A Kaldi data directory, read table by table as they are asked for.

    Args:
        path: the folder; None for one made in memory.
        tables: table name -> {key: value}, for one made in memory.
        allow_pipes: let entries of wav.scp run shell commands.
    Raises:
        InputError: no such folder, or on access a damaged table; names file:line.
    """

    def __init__(
        self,
        path: str | os.PathLike | None = None,
        tables: Mapping[str, Mapping[str, str]] | None = None,
        allow_pipes: bool = False,
    ):
        self.path = None if path is None else Path(path)
        self.allow_pipes = allow_pipes
        self._tables = {name: dict(table) for name, table in (tables or {}).items()}
        self._piped: tuple[str, bytes] | None = None
        if self.path is not None and not self.path.is_dir():
            raise InputError(f"{self.path}: no such data directory")

    def __contains__(self, name: str) -> bool:
        """Whether the table `name` is there."""
        return name in self._tables or (self.path is not None and (self.path / name).is_file())

    def __len__(self) -> int:
        return len(self.utterances)

    def count(self) -> int:
        """The number of utterances, without loading the table that lists them."""
        name = self._listing()
        if name in self._tables:
            return len(self._tables[name])
        with open(self.path / name, "rb") as file:
            return sum(1 for _ in file)

    def table(self, name: str) -> dict[str, str]:
        """A table by its file name, {} if the directory does not have it."""
        if name not in self._tables:
            present = name in self
            self._tables[name] = (
                read_table(self.path / name, name in _EMPTY_VALUES, need_sorted=True)
                if present
                else {}
            )
        return self._tables[name]

    @property
    def table_names(self) -> list[str]:
        """The tables that are there, in a fixed order."""
        return [name for name in TABLES if name in self]

    @property
    def wav_scp(self) -> dict[str, str]:
        """Recording (utterance, where there is no `segments`) -> path or command."""
        return self.table("wav.scp")

    @property
    def segments(self) -> dict[str, Segment]:
        """Utterance -> Segment; {} where every recording is one utterance."""
        return {
            utt: parse_segment(line, f"{self._file('segments')}: {utt}")
            for utt, line in self.table("segments").items()
        }

    @property
    def text(self) -> dict[str, str]:
        """Utterance -> words."""
        return self.table("text")

    @property
    def utt2spk(self) -> dict[str, str]:
        """Utterance -> speaker."""
        return self.table("utt2spk")

    @property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, sorted; made from utt2spk."""
        return invert(self.utt2spk)

    @property
    def utterances(self) -> list[str]:
        """The utterances, in the order of the table that lists them."""
        return list(self.table(self._listing()))

    def _listing(self) -> str:
        for name in ("segments", "wav.scp", "feats.scp", "utt2spk"):
            if name in self:
                return name
        raise InputError(f"{self.path}: no data directory: has no wav.scp and no feats.scp")

    def _file(self, name: str) -> str:
        return os.fspath(self.path / name) if self.path is not None else name

    def iter_audio(
        self, on_error: Callable[[str, str], None] | None = None, **how
    ) -> Iterator[tuple[str, np.ndarray, int]]:
        """Yields (utterance, int16 samples, rate) one after the other; memory stays constant.

        Args:
            on_error: called with utterance and message for audio that cannot be used, which is
                then left out; without it the first such error is raised.
            how: `sample_rate`, `resample`, `channel` as in `read_audio`.
        Raises:
            InputError: as `samples`; always for a damaged table or a pipe that is not allowed.
        """
        has_segments = "segments" in self
        for where, utt, value in self._rows(self._audio_listing()):
            segment, entry = Segment(utt), value
            if has_segments:
                segment = parse_segment(value, f"{where}: {utt}")
                entry = self._entry(segment.recording, f"{where}: {utt}")
            self._check_pipe(entry, where)
            try:
                samples, rate = self._read(utt, segment, entry, where, how)
            except InputError as error:
                if on_error is None:
                    raise
                on_error(utt, str(error))
            else:
                yield utt, samples, rate

    def _audio_listing(self) -> str:
        if "wav.scp" not in self:
            raise InputError(f"{self.path}: has no wav.scp")
        return "segments" if "segments" in self else "wav.scp"

    def _rows(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(where it stands, key, value) of a table, which is not loaded if it lies on disk."""
        if name in self._tables:
            where = self._file(name)
            for key, value in self._tables[name].items():
                yield where, key, value
            return
        previous, path = "", self._file(name)
        for number, key, value in iter_table(path, name in _EMPTY_VALUES):
            if key == previous:
                raise InputError(f"{path}:{number}: duplicate key {key}")
            if key < previous:
                raise InputError(unsorted_message(path, number, key, previous))
            previous = key
            yield f"{path}:{number}", key, value

    def audio(self, utt: str, **how) -> tuple[np.ndarray, int]:
        """One utterance: int16 samples, shape (num_samples,), and their rate in Hz.

        Args:
            utt: the utterance.
            how: `sample_rate`, `resample`, `channel` as in `read_audio`.
        Raises:
            InputError: no such utterance, audio as in `read_audio`, a pipe that is not allowed or
                whose command fails. Names the utterance and where it is listed.
        """
        name = self._audio_listing()
        if utt not in self.table(name):
            raise InputError(f"{self._file(name)}: no utterance {utt}")
        where, segment = f"{self._file(name)}: {utt}", Segment(utt)
        if name == "segments":
            segment = parse_segment(self.table(name)[utt], where)
        entry = self._entry(segment.recording, where)
        self._check_pipe(entry, where)
        return self._read(utt, segment, entry, where, how)

    def samples(self, utt: str, **how) -> np.ndarray:
        """The samples of `audio` without the rate."""
        return self.audio(utt, **how)[0]

    def _entry(self, recording: str, where: str) -> str:
        entry = self.wav_scp.get(recording)
        if entry is None:
            raise InputError(f"{where}: no recording {recording} in {self._file('wav.scp')}")
        return entry

    def _check_pipe(self, entry: str, where: str) -> None:
        if entry.endswith("|") and not self.allow_pipes:
            raise InputError(
                f"{where}: is a shell command ({entry}), which runs only when you allow it: "
                "--allow-pipes, or DataDir(..., allow_pipes=True)"
            )

    def _read(self, utt: str, segment: Segment, entry: str, where: str, how: dict):
        channel = how.get("channel")
        options = {
            **how,
            "channel": segment.channel if channel is None else channel,
            "start": segment.start,
            "end": segment.end,
        }
        try:
            if entry.endswith("|"):
                return read_audio(self._run_pipe(entry), name=entry, **options)
            return read_audio(self.resolve(entry), **options)
        except InputError as error:
            raise InputError(f"{where}: utterance {utt}: {error}") from error

    def _run_pipe(self, entry: str) -> bytes:
        """The output of a command; kept for the next segment of the same recording."""
        if self._piped and self._piped[0] == entry:
            return self._piped[1]
        done = subprocess.run(entry[:-1], shell=True, capture_output=True)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise InputError(
                f"command failed with status {done.returncode}: {entry} {said[-1] if said else ''}"
            )
        self._piped = (entry, done.stdout)
        return done.stdout

    def resolve(self, entry: str) -> str:
        """Where the file of a wav.scp entry is (the rule stands at the top of this module)."""
        if self.path is None or os.path.isabs(entry) or os.path.exists(entry):
            return entry
        for folder in (self.path, self.path.absolute().parent):
            path = os.path.join(folder, entry)
            if os.path.exists(path):
                return path
        return entry

    def validate(self) -> list[str]:
        """What is wrong with the directory, one message each, [] if nothing.

        Checks each table alone (fields, sorted, no duplicates, UTF-8), the tables against each
        other, that files named in wav.scp exist and that pipes are allowed.
        """
        from kdspeech.data.checks import check

        return check(self)

    def fix(self) -> dict[str, int]:
        """Sorts the tables, drops repeated lines and utterances that some table lacks, in place.

        Returns:
            Numbers of utterances "before" and "after".
        Raises:
            InputError: lines that only the user can put right, a key with two values among them.
        """
        from kdspeech.data.checks import fix

        return fix(self)

    def write(self, path: str | os.PathLike, scratch: bool = False) -> "DataDir":
        """Writes all tables to the folder `path`, sorted; spk2utt is made from utt2spk.

        A new folder appears whole; in an old one each table is replaced whole, and tables that
        this directory does not have are removed. `scratch` writes without that care, for a
        folder that nobody reads after a crash.
        """
        path = Path(path)
        tables = self._written_tables(path)
        if scratch:
            path.mkdir(parents=True, exist_ok=True)
            for name, table in tables.items():
                with open(path / name, "w", encoding="utf-8") as file:
                    file.writelines(table_lines(table.items()))
        elif path.exists():
            _write_tables(path, tables)
            for name in set(TABLES) - set(tables):
                (path / name).unlink(missing_ok=True)
        else:
            with atomic_dir(path, ours=[]) as temporary:
                _write_tables(temporary, tables)
        return DataDir(path, allow_pipes=self.allow_pipes)

    def _written_tables(self, path: Path) -> dict[str, dict[str, str]]:
        tables = {name: self.table(name) for name in self.table_names}
        if "utt2spk" in tables:
            tables["spk2utt"] = {spk: " ".join(utts) for spk, utts in self.spk2utt.items()}
        if self.path is not None and path.absolute() != self.path.absolute():
            # Entries meant from this directory must be found from the new one.
            tables["wav.scp"] = {key: self._moved(value) for key, value in self.wav_scp.items()}
        return {name: table for name, table in tables.items() if table}

    def _moved(self, entry: str) -> str:
        """The entry as another directory must have it to mean the same file."""
        if entry.endswith("|"):
            return entry
        found = self.resolve(entry)
        return entry if found == entry else os.path.abspath(found)

    def subset(
        self,
        utterances: Iterable[str] | None = None,
        speakers: Iterable[str] | None = None,
    ) -> "DataDir":
        """The part with these utterances, or these speakers' utterances, in memory.

        Raises:
            InputError: an utterance or speaker that is not here.
        """
        if speakers is not None:
            spk2utt = self.spk2utt
            utterances = [u for spk in _known(speakers, spk2utt, "speaker") for u in spk2utt[spk]]
        wanted = set(_known(utterances, self.table(self._listing()), "utterance"))
        recordings, speakers_left = self._owners(wanted)
        tables = {}
        for name in self.table_names:
            keys = wanted
            if name in RECORDING_TABLES:
                keys = recordings
            elif name in SPEAKER_TABLES:
                keys = speakers_left | wanted  # cmvn.scp may be by utterance
            tables[name] = {k: v for k, v in self.table(name).items() if k in keys}
        part = DataDir(tables=tables, allow_pipes=self.allow_pipes)
        part.path = self.path  # paths in wav.scp keep their meaning
        return part

    def _owners(self, utterances: set[str]) -> tuple[set[str], set[str]]:
        """The recordings and the speakers of some utterances."""
        recordings = utterances
        if "segments" in self:
            segments = self.table("segments")
            recordings = {segments[utt].split(None, 1)[0] for utt in utterances}
        return recordings, {self.utt2spk[u] for u in utterances if u in self.utt2spk}

    def split(self, num_parts: int) -> list["DataDir"]:
        """Parts of equal numbers of utterances (to one), in order."""
        utts = self.utterances
        _check_parts(num_parts, len(utts), "utterances", self.path)
        ends = [len(utts) * i // num_parts for i in range(num_parts + 1)]
        return [self.subset(utts[a:b]) for a, b in zip(ends, ends[1:], strict=False)]

    def split_by_speaker(self, num_parts: int) -> list["DataDir"]:
        """Parts that share no speaker, balanced by their numbers of utterances.

        Raises:
            InputError: fewer speakers than parts, or an utterance without one.
        """
        spk2utt = invert({utt: self._speaker(utt) for utt in self.utterances})
        _check_parts(num_parts, len(spk2utt), "speakers (see utt2spk)", self.path)
        parts, sizes = [[] for _ in range(num_parts)], [0] * num_parts
        for spk in sorted(spk2utt, key=lambda s: (-len(spk2utt[s]), s)):
            smallest = sizes.index(min(sizes))
            parts[smallest] += spk2utt[spk]
            sizes[smallest] += len(spk2utt[spk])
        return [self.subset(sorted(part)) for part in parts]

    def _speaker(self, utt: str) -> str:
        if utt not in self.utt2spk:
            raise InputError(f"{self._file('utt2spk')}: lacks utterance {utt} (`kds data fix`)")
        return self.utt2spk[utt]


def combine(parts: Iterable[DataDir]) -> DataDir:
    """One directory, in memory, of several; tables that not all of them have are left out.

    Raises:
        InputError: a key with two values.
    """
    parts = list(parts)
    common = [name for name in TABLES if all(name in part for part in parts)]
    if any("segments" in part for part in parts) and "segments" not in common:
        raise InputError("cannot combine directories with and without segments")
    tables: dict[str, dict[str, str]] = {}
    for name in common:
        if name == "spk2utt":
            continue  # made from utt2spk
        table = tables.setdefault(name, {})
        for part in parts:
            rows = part.table(name)
            if name == "wav.scp":
                rows = {key: part._moved(value) for key, value in rows.items()}
            for key, value in rows.items():
                if table.setdefault(key, value) != value:
                    raise InputError(
                        f"{part._file(name)}: {key} has the value {value}, "
                        f"and {table[key]} in another directory"
                    )
    return DataDir(tables=tables, allow_pipes=any(part.allow_pipes for part in parts))


def parse_segment(line: str, where: str) -> Segment:
    """Reads "recording start end [channel]" of a segments file; an end of -1 is the end."""
    fields = line.split()
    if len(fields) not in (3, 4):
        raise InputError(f"{where}: a segment is `recording start end [channel]`, not `{line}`")
    try:
        start, end = float(fields[1]), float(fields[2])
        channel = int(fields[3]) if len(fields) == 4 else None
    except ValueError as error:
        raise InputError(f"{where}: start, end or channel is no number: `{line}`") from error
    if not 0 <= start < float("inf") or not (end > start or end == -1) or end == float("inf"):
        raise InputError(f"{where}: segment {fields[1]}..{fields[2]} s is empty or negative")
    return Segment(fields[0], start, None if end == -1 else end, channel)


def invert(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """utt2spk to spk2utt: speaker -> sorted utterances, the speakers sorted."""
    spk2utt = defaultdict(list)
    for utt, spk in utt2spk.items():
        spk2utt[spk].append(utt)
    return {spk: sorted(spk2utt[spk]) for spk in sorted(spk2utt)}


def _write_tables(folder: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    for name, table in tables.items():
        write_table(folder / name, table)


def _known(keys: Iterable[str] | None, table: Mapping, kind: str) -> list[str]:
    if keys is None:
        raise TypeError("subset() needs utterances or speakers")
    keys = list(keys)
    missing = [key for key in keys if key not in table]
    if missing:
        raise InputError(f"no {kind} {missing[0]} ({len(missing)} of {len(keys)} are missing)")
    return keys


def _check_parts(num_parts: int, available: int, what: str, path) -> None:
    if not 1 <= num_parts <= available:
        raise InputError(f"{path}: cannot make {num_parts} parts of {available} {what}")
