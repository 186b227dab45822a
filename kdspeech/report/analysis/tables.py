"""Tables of an analysis."""

import numpy as np

from kdspeech.report.analysis.findings import Findings, PairFindings
from kdspeech.report.analysis.soft_targets import SoftTargets, class_means, over_samples
from kdspeech.report.analysis.study import Study
from kdspeech.report.table import Cell, Table


def networks_table(study: Study, findings: Findings) -> Table:
    """What was compared and how often it is right."""
    columns = list(dict.fromkeys(key for n in study.networks for key in n.about))
    roles = _roles(study)
    rows = [
        [
            Cell(network.name),
            Cell(roles.get(network.name, "")),
            *(Cell(network.about.get(key, "")) for key in columns),
            Cell(f"{found.accuracy:.1f}", detail=f"[{found.low:.1f}, {found.high:.1f}]"),
        ]
        for network, found in zip(study.networks, findings.networks, strict=True)
    ]
    samples = f"{len(study.labels)} {study.split} {study.unit}s"
    note = f"Accuracy in % of {samples} with Wilson's 95 % interval."
    header = ["network", "here", *columns, "accuracy"]
    return Table("Networks", header, rows, labels=len(header) - 1, note=note)


def _roles(study: Study) -> dict[str, str]:
    roles = {study.before.name: "baseline", study.reference.name: "reference"}
    return roles | {study.student.name: "student"}


def seeds_table(findings: Findings) -> Table:
    """The main numbers over the seeds; no rows where there is one seed."""
    reference = findings.seeds[0].name
    count = len(findings.seeds[0].accuracy)
    rows = [
        [
            Cell(found.name),
            _range_cell(found.accuracy, 1),
            _range_cell(100 * found.same, 1) if found.name != reference else Cell(""),
            _range_cell(found.kl, 3) if found.name != reference else Cell(""),
            _range_cell(100 * found.ece, 1),
            _range_cell(found.temperature, 2),
        ]
        for found in (findings.seeds if count > 1 else [])
    ]
    header = [
        "network",
        "accuracy, %",
        f"as {reference}, %",
        "KL, nats",
        "ECE, %",
        "best T",
    ]
    note = f"Mean of {count} seeds, from least to most; held against {reference} of the same seed."
    return Table("Over the seeds", header, rows, note=note)


def _range_cell(values: np.ndarray, digits: int) -> Cell:
    low, high = np.min(values), np.max(values)
    return Cell(f"{np.mean(values):.{digits}f}", detail=f"{low:.{digits}f} to {high:.{digits}f}")


def softness_table(findings: Findings) -> Table:
    """Entropy and mass off the true class of each network by temperature."""
    first = findings.networks[0].soft_targets
    header = ["network", *(f"T = {soft.temperature:g}" for soft in first)]
    rows = [
        [Cell(found.name), *(_softness_cell(soft) for soft in found.soft_targets)]
        for found in findings.networks
    ]
    most = np.log(len(first[0].counts))
    note = (
        "Mean mass off the true class in %; below it the mean entropy in nats, of at most "
        f"{most:.2f} (all classes alike)."
    )
    return Table("Softness by temperature", header, rows, note=note)


def _softness_cell(soft: SoftTargets) -> Cell:
    off = 100 * over_samples(soft.off_target, soft.counts)
    return Cell(f"{off:.1f}", detail=f"{over_samples(soft.entropy, soft.counts):.2f}")


def others_table(study: Study, findings: Findings) -> Table:
    """Which other classes each network finds likely, at the middle temperature."""
    middle = len(findings.networks[0].soft_targets) // 2
    soft = [found.soft_targets[middle] for found in findings.networks]
    rows = [
        [Cell(name), *(Cell(likeliest_others(s, c, study.classes)) for s in soft)]
        for c, name in enumerate(study.classes)
        if soft[0].counts[c]
    ]
    title = f"What else it could be, at T = {soft[0].temperature:g}"
    note = "The other classes with the largest mean mass, in %."
    header = ["class", *(found.name for found in findings.networks)]
    return Table(title, header, rows, labels=len(header), note=note)


def classes_table(study: Study, findings: Findings, number: int) -> Table:
    """Of every class the mass off it by temperature, for one network."""
    found = findings.networks[number]
    middle = found.soft_targets[len(found.soft_targets) // 2]
    rows = [
        [
            Cell(name),
            Cell(str(middle.counts[c])),
            *(Cell(_percent(soft.off_target[c])) for soft in found.soft_targets),
            Cell(f"{middle.entropy[c]:.2f}"),
        ]
        for c, name in enumerate(study.classes)
        if middle.counts[c]
    ]
    header = ["class", f"{study.unit}s", *(f"T = {s.temperature:g}" for s in found.soft_targets)]
    header += [f"entropy at T = {middle.temperature:g}"]
    note = "Mean mass off the true class in %."
    return Table(f"Soft targets by class: {found.name}", header, rows, note=note)


def likeliest_others(soft: SoftTargets, label: int, classes: tuple[str, ...], top: int = 3) -> str:
    """`off: 3.1, stop: 1.2`: where most of the mass goes that is off a class, in %."""
    mean = soft.mean[label].copy()
    mean[label] = -1
    order = np.argsort(-mean, kind="stable")[: min(top, len(mean) - 1)]
    return ", ".join(f"{classes[k]}: {100 * mean[k]:.1f}" for k in order)


def agreement_table(study: Study, findings: Findings) -> Table:
    """Each pair: the same answer, divergence, and what they have right."""
    rows = [_agreement_row(pair, len(study.labels)) for pair in findings.pairs]
    header = ["first", "second", "same answer", "both right", "only first", "only second",
              "same mistake", "two mistakes", "KL", "on class", "CKA"]  # fmt: skip
    note = (
        f"In % of the {study.unit}s. KL: of the second from the first, nats per {study.unit}; "
        "below it the median; then the part of it that is about the true class against all "
        "others, the rest being about which others. CKA: how alike the penultimate layers are, "
        "0 to 1."
    )
    return Table("Agreement", header, rows, labels=2, note=note)


def _agreement_row(pair: PairFindings, total: int) -> list[Cell]:
    same, kl, kl_target = pair.agreement
    part = f"{100 * kl_target.sum() / kl.sum():.0f} %" if kl.sum() else "–"
    return [
        Cell(pair.first),
        Cell(pair.second),
        Cell(_percent(same.mean())),
        *(Cell(_percent(count / total)) for count in pair.outcomes),
        Cell(f"{kl.mean():.3f}", detail=f"{np.median(kl):.4f}"),
        Cell(part),
        Cell("" if pair.cka is None else f"{pair.cka:.2f}"),
    ]


def temperatures_table(findings: Findings) -> Table:
    """Each pair by temperature: divergence, and whether the same other classes are likely."""
    rows = []
    for pair in findings.pairs:
        both = zip(pair.kl_by_temperature, pair.off_target_correlation, strict=True)
        cells = [Cell(f"{kl:.4f}", detail=f"{alike:.2f}") for kl, alike in both]
        rows.append([Cell(pair.first), Cell(pair.second), *cells])
    header = ["first", "second", *(f"T = {t:g}" for t in findings.temperatures)]
    note = (
        "KL of the second from the first in nats, both softened; below it the correlation of their "
        "mean masses on other classes than the true one."
    )
    return Table("Divergence by temperature", header, rows, labels=2, note=note)


def agreement_by_class_table(study: Study, pair: PairFindings) -> Table:
    """A pair, class by class."""
    labels, count = study.labels, len(study.classes)
    same = class_means(pair.agreement.same.astype(float), labels, count)
    kl = class_means(pair.agreement.kl, labels, count)
    rows = [
        [Cell(name), Cell(str((labels == c).sum())), Cell(_percent(same[c])), Cell(f"{kl[c]:.3f}")]
        for c, name in enumerate(study.classes)
        if (labels == c).any()
    ]
    title = f"Agreement of {pair.second} with {pair.first} by class"
    return Table(title, ["class", f"{study.unit}s", "same answer, %", "KL, nats"], rows)


def calibration_table(study: Study, findings: Findings) -> Table:
    """ECE and its kin, as they are and after temperature scaling."""
    rows = []
    for found in findings.networks:
        rows.append([Cell(found.name), Cell("1"), *_calibration_cells(found.calibration)])
        if found.scaled:
            at = Cell(f"{found.held_out_temperature:.2f}", detail="best on dev")
            rows.append([Cell(found.name), at, *_calibration_cells(found.scaled)])
    header = ["network", "at T", "ECE, %", "largest gap, %", "NLL, nats", "Brier"]
    header += [f"best T on {study.split}"]
    note = (
        f"ECE: {len(findings.networks[0].reliability.counts)} bins of equal width (Guo et al. "
        "2017). Brier: 0 to 2. A best T above 1 means too sure of itself, below 1 not sure enough."
    )
    return Table("Calibration", header, rows, note=note)


def _calibration_cells(found) -> list[Cell]:
    return [
        Cell(f"{100 * found.ece:.1f}"),
        Cell(f"{100 * found.mce:.0f}"),
        Cell(f"{found.nll:.3f}"),
        Cell(f"{found.brier:.3f}"),
        Cell(f"{found.temperature:.2f}"),
    ]


def embedding_table(study: Study, findings: Findings) -> Table:
    """How well the penultimate layers separate the classes."""
    known = [found for found in findings.networks if found.neighbour_accuracy is not None]
    embeddings = {n.name: n.embedding for n in study.networks}
    rows = [
        [
            Cell(found.name),
            Cell(str(embeddings[found.name].shape[1])),
            Cell(_percent(found.neighbour_accuracy)),
            Cell(f"{found.accuracy:.1f}"),
        ]
        for found in known
    ]
    header = ["network", "dimensions", "10 nearest neighbours, %", "output layer, %"]
    note = (
        f"How many of {len(findings.pictured)} {study.unit}s have the class of most of their ten "
        f"nearest neighbours in the penultimate layer; how many of all {len(study.labels)} the "
        "network has right."
    )
    return Table("The penultimate layer", header, rows, note=note)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
