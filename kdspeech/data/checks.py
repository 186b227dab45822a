"""Finding and repairing what is wrong in a Kaldi data directory."""

import os
from collections.abc import Iterable

from kdspeech.data.datadir import (
    RECORDING_TABLES,
    SPEAKER_TABLES,
    UTTERANCE_TABLES,
    DataDir,
    invert,
    parse_segment,
)
from kdspeech.io.errors import InputError
from kdspeech.io.tables import iter_table, unsorted_message, write_table

# Messages of one kind beyond these are counted, not listed.
_SHOWN = 5


def check(data: DataDir) -> list[str]:
    """The problems of a data directory on disk; see DataDir.validate."""
    problems: list[str] = []
    tables = {}
    for name in data.table_names:
        tables[name], found = _scan(data, name)
        problems += _shorten(found)
    for name in ("utt2spk", "spk2utt"):
        if name not in tables:
            problems.append(f"{data.path}: has no {name}")
    if "wav.scp" not in tables and "feats.scp" not in tables:
        problems.append(f"{data.path}: has no wav.scp and no feats.scp")
        return problems
    for found in (
        _check_segments(data, tables),
        _check_utterances(data, tables),
        _check_speakers(data, tables),
        _check_audio(data, tables.get("wav.scp", {})),
    ):
        problems += _shorten(found)
    return problems


def _shorten(problems: Iterable[str]) -> list[str]:
    problems = list(problems)
    if len(problems) <= _SHOWN:
        return problems
    return [*problems[:_SHOWN], f"... and {len(problems) - _SHOWN} more like these"]


def _scan(data: DataDir, name: str) -> tuple[dict[str, str], list[str]]:
    """A table as far as it can be read, and what is wrong with it alone."""
    table: dict[str, str] = {}
    problems: list[str] = []
    previous, path = "", data.path / name
    try:
        for number, key, value in iter_table(path, empty_values=name == "text"):
            if key in table:
                problems.append(f"{path}:{number}: duplicate key {key}")
            elif key < previous:
                problems.append(unsorted_message(path, number, key, previous))
            table.setdefault(key, value)
            previous = key
    except InputError as error:
        problems.append(str(error))
    if not table and not problems:
        problems.append(f"{path}: is empty")
    return table, problems


def _listing(tables: dict) -> str:
    return next(name for name in ("segments", "wav.scp", "feats.scp") if name in tables)


def _check_segments(data: DataDir, tables: dict) -> Iterable[str]:
    for utt, line in tables.get("segments", {}).items():
        where = f"{data.path}/segments: {utt}"
        try:
            segment = parse_segment(line, where)
        except InputError as error:
            yield str(error)
            continue
        if "wav.scp" in tables and segment.recording not in tables["wav.scp"]:
            yield f"{where}: no recording {segment.recording} in wav.scp"


def _check_utterances(data: DataDir, tables: dict) -> Iterable[str]:
    listing = _listing(tables)
    expected = set(tables[listing])
    for name in UTTERANCE_TABLES:
        if name not in tables or name == listing:
            continue
        lacking, extra = expected - set(tables[name]), set(tables[name]) - expected
        if lacking:
            yield (
                f"{data.path}/{name}: lacks {len(lacking)} utterances of {listing}, "
                f"{min(lacking)} among them (`kds data fix` drops them)"
            )
        if extra:
            yield (
                f"{data.path}/{name}: has {len(extra)} utterances that {listing} lacks, "
                f"{min(extra)} among them (`kds data fix` drops them)"
            )


def _check_speakers(data: DataDir, tables: dict) -> Iterable[str]:
    utt2spk = tables.get("utt2spk", {})
    speakers = list(utt2spk.values())
    if speakers != sorted(speakers):
        at = next(i for i in range(1, len(speakers)) if speakers[i] < speakers[i - 1])
        yield (
            f"{data.path}/utt2spk: utterance {list(utt2spk)[at]}: speakers are not in order "
            "(begin each utterance id with its speaker id)"
        )
    if "spk2utt" in tables and utt2spk:
        listed = {spk: sorted(utts.split()) for spk, utts in tables["spk2utt"].items()}
        if listed != invert(utt2spk):
            yield f"{data.path}/spk2utt: does not agree with utt2spk (`kds data fix` remakes it)"
    for name in SPEAKER_TABLES:
        extra = set(tables.get(name, {})) - set(speakers) - set(utt2spk)
        if extra:
            yield f"{data.path}/{name}: speaker {min(extra)} is not in utt2spk"


def _check_audio(data: DataDir, wav_scp: dict[str, str]) -> Iterable[str]:
    for key, entry in wav_scp.items():
        where = f"{data.path}/wav.scp: {key}"
        if entry.endswith("|"):
            if not data.allow_pipes:
                yield f"{where}: is a shell command; it runs only with --allow-pipes"
        elif not os.path.exists(data.resolve(entry)):
            yield f"{where}: no such file {entry}"


def fix(data: DataDir) -> dict[str, int]:
    """Repairs a data directory on disk; see DataDir.fix."""
    tables = {name: _unique(data, name) for name in data.table_names if name != "spk2utt"}
    if "utt2spk" not in tables:
        raise InputError(f"{data.path}: has no utt2spk; write one, then fix again")
    if "wav.scp" not in tables and "feats.scp" not in tables:
        raise InputError(f"{data.path}: has no wav.scp and no feats.scp")
    before = len(tables[_listing(tables)])
    kept = _common_utterances(data, tables)
    if not kept:
        raise InputError(f"{data.path}: no utterance is in all of {', '.join(tables)}")
    recordings = kept
    if "segments" in tables:
        recordings = {tables["segments"][utt].split()[0] for utt in kept}
    speakers = {tables["utt2spk"][utt] for utt in kept}
    for name, table in tables.items():
        keys = kept
        if name in RECORDING_TABLES:
            keys = recordings
        elif name in SPEAKER_TABLES:
            keys = speakers | kept
        write_table(data.path / name, {k: v for k, v in table.items() if k in keys})
    spk2utt = invert({utt: tables["utt2spk"][utt] for utt in kept})
    write_table(data.path / "spk2utt", {spk: " ".join(utts) for spk, utts in spk2utt.items()})
    data._tables.clear()
    return {"before": before, "after": len(kept)}


def _unique(data: DataDir, name: str) -> dict[str, str]:
    """A table without its repeated lines."""
    table: dict[str, str] = {}
    path = data.path / name
    for number, key, value in iter_table(path, empty_values=name == "text"):
        if table.setdefault(key, value) != value:
            raise InputError(
                f"{path}:{number}: duplicate key {key} with another value "
                "(remove the wrong one of the two lines)"
            )
    return table


def _common_utterances(data: DataDir, tables: dict) -> set[str]:
    by_recording = "segments" in tables
    kept = set(tables[_listing(tables)])
    for name, table in tables.items():
        if name in UTTERANCE_TABLES or (name == "wav.scp" and not by_recording):
            kept &= set(table)
    if by_recording and "wav.scp" in tables:
        for utt, line in tables["segments"].items():
            segment = parse_segment(line, f"{data.path}/segments: {utt}")
            if segment.recording not in tables["wav.scp"]:
                kept.discard(utt)
    return kept
