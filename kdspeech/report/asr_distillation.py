"""The table of networks that learnt from posteriors: who taught them how, and what it was worth."""

from pathlib import Path

import yaml

from kdspeech.acoustic.identity import network_id
from kdspeech.report.asr import AsrExperiment
from kdspeech.report.asr_network_tables import (
    CHANGE,
    WHICH_SEEDS,
    best_of,
    change_cells,
    wer_cell,
)
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.seeds import SeededWer, common_seeds, compare, over_seeds
from kdspeech.report.table import Cell, Table


def distillation_table(experiment: AsrExperiment) -> Table:
    """Every network that was trained on teachers' posteriors, beside its twin without a teacher.

    The twin is the system whose name ends where the training's begins: hdnn_h128_l10 for
    hdnn_h128_l10_kd_q0_t1. A store of k posteriors takes 4 k + 2 bytes a frame (make_soft_labels).
    """
    students = {s: found for s in experiment.network_systems if (found := _settings(experiment, s))}
    names = {network_id(facts.folder): base for base, facts in experiment.networks.items()}
    splits = experiment.splits[::-1]
    found = {split: [_wer(experiment, s, split) for s in students] for split in splits}
    header = ["student", "teacher", "q", "T", "top k", "bytes a frame"]
    header += [*(f"WER {split}" for split in splits), "against", f"its WER {splits[0]}", *CHANGE]
    rows = [
        [
            *_how_cells(system, settings, names),
            *(wer_cell(found[split][i], best_of(found[split])) for split in splits),
            *_twin_cells(experiment, system, splits[0]),
        ]
        for i, (system, settings) in enumerate(students.items())
    ]
    note = (
        "L = L_KD + q L_CE with the teacher's posteriors at temperature T, the k largest of each "
        f"frame stored. Change and P(better): {splits[0]}, against the same network without a "
        f"teacher, paired over utterances and seeds. {WHICH_SEEDS}"
    )
    return Table("Frame-level distillation", header, rows, labels=2, note=note)


def _settings(experiment: AsrExperiment, system: str) -> dict:
    """`distill` of the identity that a training wrote; {} where it had no teacher."""
    path: Path = experiment.networks[SystemName.parse(system).base].folder / "config.yaml"
    if SystemName.parse(system).adaptation or not path.is_file():
        return {}
    identity = yaml.safe_load(path.read_text(encoding="utf-8")).get("identity") or {}
    return identity.get("distill") or {}


def _how_cells(system: str, settings: dict, names: dict[str, str]) -> list[Cell]:
    ids = [made.partition(" on ")[0] for made in settings["teacher"].split(", ")]
    teachers = [names.get(i, "not here") for i in ids]
    k = settings["top_k"]
    texts = [f"{settings['q']:g}", f"{settings['temperature']:g}"]
    texts += ["all", ""] if k is None else [str(k), str(4 * k + 2)]
    return [Cell(system), Cell(", ".join(teachers)), *map(Cell, texts)]


def _wer(experiment: AsrExperiment, system: str, split: str) -> SeededWer | None:
    """Of the seeds that are compared with the twin's."""
    seeds = common_seeds(experiment, system, SystemName.parse(system).untrained, split)
    return over_seeds(experiment, system, split, seeds)


def _twin_cells(experiment: AsrExperiment, system: str, split: str) -> list[Cell]:
    twin = SystemName.parse(system).untrained
    found = compare(experiment, system, twin, split)
    wer = f"{found.b.value:.2f}" if found else "not run"
    return [Cell(twin), Cell(wer), *change_cells(found)]
