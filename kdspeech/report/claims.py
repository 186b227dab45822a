"""What a recipe says of its systems, beside what came out."""

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from kdspeech.config import Config
from kdspeech.io.errors import InputError
from kdspeech.report.asr import AsrExperiment
from kdspeech.report.asr_network_tables import CHANGE, WHICH_SEEDS, change_cells
from kdspeech.report.seeds import SeededWer, compare, over_seeds
from kdspeech.report.table import Cell, Table


class Claim(Config):
    """System `better` has a lower WER than system `than`; `claim` says it in words."""

    claim: str
    better: str
    than: str


def read_claims(path: str | Path) -> list[Claim]:
    """Reads a recipe's claims, a YAML list of `{claim: ..., better: system, than: system}`.

    Raises:
        InputError: no such file, no YAML, or something else in it; names the place in the list.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or []
        return TypeAdapter(list[Claim]).validate_python(values)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}: {where}: {first['msg']} (write a list of `claim:`, `better:` and `than:`)"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({error})") from None


def claims_table(experiment: AsrExperiment, claims: list[Claim]) -> Table:
    """Each claim with both WERs on the last split, the relative change, and P(better)."""
    split = experiment.splits[-1]
    header = ["claim", "system", "against", f"WER {split}", "against", *CHANGE]
    note = (
        f"{WHICH_SEEDS} P(better): share of 10,000 bootstrap replicates over utterances, the same "
        "for both systems, and over seeds, in which the first one's WER is lower; a tie counts one "
        "half. Nothing is corrected for the number of claims."
    )
    rows = [_claim_cells(experiment, claim, split) for claim in claims]
    return Table(f"Claims, paired on {split}", header, rows, labels=3, note=note)


def _claim_cells(experiment: AsrExperiment, claim: Claim, split: str) -> list[Cell]:
    names = claim.better, claim.than
    cells = [Cell(claim.claim), *map(Cell, names)]
    found = compare(experiment, claim.better, claim.than, split)
    wers = (found.a, found.b) if found else (over_seeds(experiment, s, split) for s in names)
    return [*cells, *map(_wer, wers), *change_cells(found)]


def _wer(wer: SeededWer | None) -> Cell:
    return Cell(f"{wer.value:.2f}" if wer else "not run")
