"""Sequence criteria over lattices: MMI, sMBR, MPFE and sequence-level distillation.

Scores are log likelihoods, natural log, (total_frames, pdfs): those of one utterance, or of some
one after the other. They take the place of the acoustic costs in the lattices. Values and
gradients come from one forward-backward over each lattice in C++ (docs/sequence.md).
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from kdspeech.decode.lattice import Lattice
from kdspeech.decode.posteriors import ACOUSTIC_SCALE, TidTables
from kdspeech.losses.lattice_batch import LatticeBatch, SequenceReport

Alignments = np.ndarray | Sequence[np.ndarray]
Lattices = Lattice | Sequence[Lattice]


def mmi_loss(
    scores: Tensor,
    lattices: Lattices,
    tables: TidTables,
    alignments: Alignments,
    *,
    boost: float = 0.0,
    drop_frames: bool = True,
    missing: str = "keep",
    ce_weight: float = 0.0,
    logits: Tensor | None = None,
    offsets: Sequence[int] | None = None,
    acoustic_scale: float = ACOUSTIC_SCALE,
    lm_scale: float = 1.0,
    reduction: str = "mean",
    num_threads: int = 1,
    report: SequenceReport | None = None,
) -> Tensor:
    """-(kappa log p(X | reference) - log sum over the lattice's paths), boosted where `boost` is
    not 0 (Povey et al., 2008). The reference's graph cost, a constant, is left out.

    Args:
        scores: (total_frames, pdfs) log likelihoods.
        lattices: one, or one for each utterance: the denominators.
        tables: of the transition model.
        alignments: the references' transition ids, int (frames,), one for each lattice.
        boost: added to a path's log probability for each frame of a wrong phone.
        drop_frames: no gradient in frames where no path has the reference's pdf (Kaldi's
            --drop-frames). The value is that of all frames.
        missing: what becomes of a lattice that does not have the reference's pdfs as a path:
            "keep" as it is, "add" the reference with the graph cost of the best path, "skip".
        ce_weight, logits: F-smoothing: the loss gets ce_weight times the cross entropy of
            softmax(logits), (total_frames, pdfs), with the references.
        offsets: where utterances begin and end in the scores, int (utterances + 1,); by default
            by the lengths of the alignments.
        acoustic_scale, lm_scale: of scores (kappa) and graph costs.
        reduction: "mean" over frames, or "sum".
        num_threads: threads over utterances.
        report: where utterances that cannot be used are noted; None makes them errors.

    Returns:
        A scalar; 0 where no utterance is left.

    Raises:
        InputError: an utterance that cannot be used (see report), a pdf or transition id out of
            range, scores that are no numbers.
        ValueError: other arguments that do not fit.
    """
    batch = LatticeBatch(scores, lattices, tables, alignments, offsets, missing, report, reduction)
    gradient, step = np.zeros_like(batch.values), acoustic_scale / batch.divisor
    sums = batch.add_gradients(
        gradient,
        boost=boost,
        acoustic_scale=acoustic_scale,
        lm_scale=lm_scale,
        factor=step,
        num_threads=num_threads,
    )
    rows, pdfs = batch.references()
    absent = rows[gradient[rows, pdfs] == 0]
    gradient[rows, pdfs] -= step
    if drop_frames:
        gradient[absent] = 0
        batch.report.dropped_frames += len(absent)
    numerator = acoustic_scale * batch.values[rows, pdfs].sum(dtype=np.float64)
    loss = batch.loss(numerator - sums.log_likelihoods.sum(), gradient)
    return _smoothed(loss, batch, ce_weight, logits)


def smbr_loss(
    scores: Tensor,
    lattices: Lattices,
    tables: TidTables,
    alignments: Alignments,
    *,
    criterion: str = "smbr",
    one_silence_class: bool = True,
    missing: str = "keep",
    ce_weight: float = 0.0,
    logits: Tensor | None = None,
    offsets: Sequence[int] | None = None,
    acoustic_scale: float = ACOUSTIC_SCALE,
    lm_scale: float = 1.0,
    reduction: str = "mean",
    num_threads: int = 1,
    report: SequenceReport | None = None,
) -> Tensor:
    """Minus the expected number of right frames, over the lattice's paths (Gibson and Hain, 2006;
    Povey and Kingsbury, 2007).

    Args:
        criterion: "smbr": a frame is right where its pdf is the reference's; "mpfe": its phone.
        one_silence_class: silence phones (of `tables`) are right wherever the reference is
            silence; else they never are.
        scores, lattices, tables, alignments, ...: as in `mmi_loss`.

    Returns, Raises: as `mmi_loss`.
    """
    if criterion not in ("smbr", "mpfe"):
        raise ValueError(f"criterion must be smbr or mpfe, got {criterion!r}")
    batch = LatticeBatch(scores, lattices, tables, alignments, offsets, missing, report, reduction)
    gradient = np.zeros_like(batch.values)
    sums = batch.add_gradients(
        gradient,
        criterion=criterion,
        one_silence_class=one_silence_class,
        acoustic_scale=acoustic_scale,
        lm_scale=lm_scale,
        factor=-acoustic_scale / batch.divisor,
        num_threads=num_threads,
    )
    loss = batch.loss(sums.accuracies.sum(), gradient)
    return _smoothed(loss, batch, ce_weight, logits)


def sequence_kd_loss(
    scores: Tensor,
    lattices: Lattices,
    teacher_scores: Tensor | Sequence[Tensor],
    tables: TidTables,
    *,
    teacher_weights: Sequence[float] | None = None,
    offsets: Sequence[int] | None = None,
    acoustic_scale: float = ACOUSTIC_SCALE,
    teacher_scale: float | None = None,
    lm_scale: float = 1.0,
    reduction: str = "mean",
    num_threads: int = 1,
    report: SequenceReport | None = None,
) -> Tensor:
    """-sum_W P*(W | X) log P(W | X, theta) over the paths W of the lattice, P* being the teacher's
    posterior probabilities there (Wong and Gales, 2016; Lu, Guo and Renals, 2017). Its gradient
    by the scores is kappa (gamma_student - gamma_teacher), occupancies of the same lattice.

    Args:
        scores, lattices, tables, ...: as in `mmi_loss`; by default, utterances are as long as
            their lattices. Give a lattice from `nbest_lattice`, of a determinized one, for the
            N-best form.
        teacher_scores: as `scores`, of the teacher; a sequence of them for an ensemble.
        teacher_weights: alpha_m, P* = sum_m alpha_m P_m; 0 or more, they must sum to one. By
            default all the same.
        teacher_scale: of the teacher's scores; None: acoustic_scale.

    Returns:
        A scalar. With P* itself as the student's it is the entropy of P*, not 0.

    Raises: as `mmi_loss`.
    """
    batch = LatticeBatch(scores, lattices, tables, None, offsets, "keep", report, reduction)
    gradient = np.zeros_like(batch.values)
    value = batch.add_distillation(
        gradient,
        _teachers(scores, teacher_scores, teacher_weights),
        acoustic_scale=acoustic_scale,
        teacher_scale=acoustic_scale if teacher_scale is None else teacher_scale,
        lm_scale=lm_scale,
        factor=-acoustic_scale / batch.divisor,
        num_threads=num_threads,
    )
    return batch.loss(value, gradient)


def _teachers(scores: Tensor, teachers, weights) -> list[tuple[Tensor, float]]:
    teachers = [teachers] if isinstance(teachers, Tensor) else list(teachers)
    weights = [1 / len(teachers) for _ in teachers] if weights is None else list(weights)
    if not teachers or len(weights) != len(teachers):
        raise ValueError(f"{len(teachers)} teachers, but {len(weights)} weights")
    if min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"teacher weights must be 0 or more and sum to one, got {weights}")
    for teacher in teachers:
        if teacher.shape != scores.shape:
            raise ValueError(
                f"teacher and student scores must have one shape, got {tuple(teacher.shape)} and "
                f"{tuple(scores.shape)}"
            )
    return list(zip(teachers, weights, strict=True))


def _smoothed(loss: Tensor, batch: LatticeBatch, weight: float, logits: Tensor | None) -> Tensor:
    if weight == 0:
        return loss
    if logits is None:
        raise ValueError(f"ce_weight = {weight} needs logits, whose cross entropy it weighs")
    return loss + weight * batch.cross_entropy(logits)
