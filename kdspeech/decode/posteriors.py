"""Posteriors of lattices, for many lattices at once: what MMI, sMBR and MPFE training sum up.

Gradients of sequence criteria by the log likelihoods of a network come from one forward-backward
over each lattice, in C++, with threads over lattices and without the GIL.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kdspeech import _core
from kdspeech.hmm import TransitionModel

if TYPE_CHECKING:
    from kdspeech.decode.lattice import Lattice

_CORE = _core.decode
ACOUSTIC_SCALE = 0.1  # the decoder's default, and that of Kaldi's GMM recipes


class Posteriors(NamedTuple):
    """Weights of transition ids in frames, as parallel arrays sorted by both.

    Attributes:
        frames, tids: int32.
        weights: float32.
        log_likelihood: natural log of the sum over all paths of their scaled likelihoods.
        accuracy: expected number of right frames; 0 where no accuracy was asked for.
        num_frames: of the lattice.
    """

    frames: np.ndarray
    tids: np.ndarray
    weights: np.ndarray
    log_likelihood: float
    accuracy: float
    num_frames: int


class LatticeSums(NamedTuple):
    """Expectations over the paths of each lattice, float64 (lattices,).

    Attributes:
        log_likelihoods: natural log of the sum over all paths of their scaled likelihoods.
        accuracies: expected number of right frames; 0 where no accuracy was asked for.
        graph_costs: expected graph cost of a path, without lm_scale.
    """

    log_likelihoods: np.ndarray
    accuracies: np.ndarray
    graph_costs: np.ndarray


class TidTables:
    """What the criteria need to know of transition ids.

    Args:
        transitions: the transition model; None for what needs none (posteriors of lattices with
            their own acoustic scores).
        silence_phones: ids of the phones that count as silence.
    """

    def __init__(
        self, transitions: TransitionModel | None = None, silence_phones: Sequence[int] = ()
    ):
        tables = (transitions.tid_to_pdf, transitions.tid_to_phone) if transitions else ([], [])
        self.tid_to_pdf = np.asarray(tables[0], dtype=np.int32)
        self.core = _CORE.TidTables(*tables, list(silence_phones))


def lattice_posteriors(
    lattices: Sequence["Lattice"],
    tables: TidTables | None = None,
    alignments: Sequence[np.ndarray] | None = None,
    criterion: str = "mmi",
    loglikes: Sequence[np.ndarray] | None = None,
    acoustic_scale: float = ACOUSTIC_SCALE,
    lm_scale: float = 1.0,
    one_silence_class: bool = True,
    boost: float = 0.0,
    num_threads: int = 1,
) -> list[Posteriors]:
    """The weights of transition ids (lattice-to-post, lattice-to-smbr-post, lattice-to-mpe-post).

    Args:
        lattices: compact or state-level.
        tables: of the model the lattices were made with.
        alignments: the references' transition ids, one int32 (frames,) for each lattice; needed
            by all but plain "mmi".
        criterion: "mmi": weights are posterior probabilities. "smbr", "mpfe": posteriors times how
            much more accurate than the average the paths through are, in frames whose pdf, or
            phone, is right: the gradient of the expected accuracy by the scaled log likelihoods.
        loglikes: float32 (frames, pdfs) for each lattice, log likelihoods that take the place of
            the lattices' acoustic scores; None keeps these.
        one_silence_class: silence phones are right wherever the reference is silence; else they
            never are.
        boost: with "mmi" and alignments: boosted MMI's factor; paths get more probable with each
            frame whose phone is wrong.
        num_threads: threads over lattices.
    Raises:
        InputError: an empty lattice, frames that are not as many, ids that the tables lack; names
            the lattice by its number.
    """
    results = _CORE.lattice_posteriors(
        [lattice.core for lattice in lattices],
        (tables or TidTables()).core,
        _options(criterion, acoustic_scale, lm_scale, one_silence_class, boost),
        loglikes=[] if loglikes is None else list(loglikes),
        alignments=[] if alignments is None else list(alignments),
        num_threads=num_threads,
    )
    return [Posteriors(e["frame"], e["tid"], e["weight"], *rest) for e, *rest in results]


def add_lattice_gradients(
    gradients: Sequence[np.ndarray],
    lattices: Sequence["Lattice"],
    tables: TidTables,
    alignments: Sequence[np.ndarray] | None = None,
    criterion: str = "mmi",
    loglikes: Sequence[np.ndarray] | None = None,
    acoustic_scale: float = ACOUSTIC_SCALE,
    lm_scale: float = 1.0,
    one_silence_class: bool = True,
    boost: float = 0.0,
    factor: float = 1.0,
    num_threads: int = 1,
) -> LatticeSums:
    """As `lattice_posteriors`, but adds the weights, times `factor`, to matrices by pdf.

    Args:
        gradients: float32 (frames, pdfs), C-contiguous, one for each lattice; changed in place.
    Returns:
        LatticeSums. What is added, with acoustic_scale as `factor`, is the gradient by `loglikes`
        of the log likelihood ("mmi") or of the accuracy.
    """
    sums = _CORE.lattice_gradients(
        [lattice.core for lattice in lattices],
        tables.core,
        _options(criterion, acoustic_scale, lm_scale, one_silence_class, boost),
        gradients=list(gradients),
        factor=factor,
        loglikes=[] if loglikes is None else list(loglikes),
        alignments=[] if alignments is None else list(alignments),
        num_threads=num_threads,
    )
    return LatticeSums(*sums)


def add_distillation_gradients(
    gradients: Sequence[np.ndarray],
    lattices: Sequence["Lattice"],
    tables: TidTables,
    loglikes: Sequence[np.ndarray],
    teacher_loglikes: Sequence[Sequence[np.ndarray]],
    teacher_weights: Sequence[float],
    acoustic_scale: float = ACOUSTIC_SCALE,
    teacher_scale: float = ACOUSTIC_SCALE,
    lm_scale: float = 1.0,
    factor: float = 1.0,
    num_threads: int = 1,
) -> np.ndarray:
    """What sequence-level distillation sums up: the expectation of a path's log posterior by
    `loglikes`, over the weighted posteriors of the teachers.

    Args:
        gradients: as of `add_lattice_gradients`; `factor` times the posteriors by the teachers less
            those by `loglikes` is added.
        teacher_loglikes: of each teacher a matrix for each lattice.
        teacher_scale: the acoustic scale of the teachers.
        others: as of `add_lattice_gradients`.
    Returns:
        The expectations, float64 (lattices,).
    """
    return _CORE.lattice_distillations(
        [lattice.core for lattice in lattices],
        tables.core,
        scales=_CORE.LatticeScales(acoustic_scale, lm_scale),
        teacher_scales=_CORE.LatticeScales(teacher_scale, lm_scale),
        gradients=list(gradients),
        factor=factor,
        loglikes=list(loglikes),
        teacher_loglikes=[list(matrices) for matrices in teacher_loglikes],
        teacher_weights=list(teacher_weights),
        num_threads=num_threads,
    )


def _options(criterion, acoustic_scale, lm_scale, one_silence_class, boost):
    if criterion not in ("mmi", "smbr", "mpfe"):
        raise ValueError(f'criterion "{criterion}": must be mmi, smbr or mpfe')
    if boost and criterion != "mmi":
        raise ValueError("boost goes with the criterion mmi")
    accuracy = ("mpfe" if boost else "") if criterion == "mmi" else criterion
    scales = _CORE.LatticeScales(acoustic_scale, lm_scale)
    return _CORE.PosteriorOptions(scales, accuracy, one_silence_class, boost)
