"""Word error rates in results.json, a row per system and split."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kdspeech.decode.sweep import Sweep
from kdspeech.io.atomic import one_at_a_time
from kdspeech.io.errors import InputError
from kdspeech.report.results import write_rows


@dataclass(frozen=True)
class WerRow:
    """One system and split: the WER in % at one LM scale and penalty, with its 95 % interval.

    `n` counts utterances, `words` those of the reference. `tuned_on` is the decoding directory
    that gave scale and penalty, None where this one's best were taken; `best` is the WER at those.
    `seconds` are those of training, `parameters` those of the model, where they are known.
    """

    system: str
    split: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    seeds: int
    words: int
    sub: int
    ins: int
    deleted: int
    missing: int
    lm_scale: float
    penalty: float
    tuned_on: str | None
    best: float
    parameters: int | None
    macs: int | None
    seconds: float | None
    command: str


def make_row(
    sweep: Sweep,
    system: str,
    split: str,
    command: str,
    parameters: int | None = None,
    macs: int | None = None,
    seconds: float | None = None,
) -> WerRow:
    """The row of a sweep."""
    total = sweep.score.total
    low, high = sweep.score.interval()
    return WerRow(
        system=system,
        split=split,
        metric="wer",
        value=round(total.wer, 4),
        low=round(low, 4),
        high=round(high, 4),
        n=total.sentences,
        seeds=1,
        words=total.words,
        sub=total.sub,
        ins=total.ins,
        deleted=total.deleted,
        missing=len(sweep.score.missing),
        lm_scale=sweep.chosen.scale,
        penalty=sweep.chosen.penalty,
        tuned_on=sweep.tuned_on,
        best=round(sweep.scores[sweep.best].wer, 4),
        parameters=parameters,
        macs=macs,
        seconds=seconds,
        command=command,
    )


def add_row(row: WerRow, path: str | Path) -> None:
    """Puts a row into results.json, in the place of an older one of that system and split.

    Several processes may do so at once.
    """
    with one_at_a_time(Path(path).parent):
        rows = load_rows(path) if Path(path).exists() else []
        places = {(old.system, old.split): i for i, old in enumerate(rows)}
        place = places.get((row.system, row.split), len(rows))
        rows[place : place + 1] = [row]
        write_rows({"rows": [asdict(each) for each in rows]}, path)


def load_rows(path: str | Path) -> list[WerRow]:
    """Reads results.json. Raises InputError when it is missing or of another layout."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return [WerRow(**row) for row in content["rows"]]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `kds score` first") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no table of word error rates ({error})") from None
