"""Options of training and alignment, with the names and defaults of Kaldi's scripts."""

from dataclasses import dataclass, field

_MONO_REALIGN = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 23, 26, 29, 32, 35, 38)


@dataclass(frozen=True)
class Jobs:
    """How a stage is run.

    Attributes:
        nj: number of splits, each in a process of its own where there are several.
        scheduler: as in kdspeech.parallel.open_client.
        seed: of all random numbers of the run.
    """

    nj: int = 1
    scheduler: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class AlignOptions:
    """Options of an alignment, with Kaldi's defaults.

    Attributes:
        beam, retry_beam: of the search and, where it finds no path, of a second one (0: none).
        acoustic_scale, transition_scale, self_loop_scale: see kdspeech.decode.align and
            transition_costs.
        boost_silence: factor on the likelihood of the optional silence.
        careful: make utterances fail whose path is through with the transcript too early.
    """

    beam: float = 10.0
    retry_beam: float = 40.0
    acoustic_scale: float = 0.1
    transition_scale: float = 1.0
    self_loop_scale: float = 0.1
    boost_silence: float = 1.0
    careful: bool = False


@dataclass(frozen=True)
class MonoOptions:
    """Options of train_mono, with Kaldi's names and defaults.

    Attributes:
        tot_gauss: Gaussians to grow to.
        num_iters, max_iter_inc: number of passes, and the last one with more Gaussians.
        realign_iters: passes that begin with a new alignment.
        power: of a pdf's frames, which its number of Gaussians is in proportion to.
        align: AlignOptions.
    """

    tot_gauss: int = 1000
    num_iters: int = 40
    max_iter_inc: int = 30
    realign_iters: tuple[int, ...] = _MONO_REALIGN
    power: float = 0.25
    align: AlignOptions = field(default_factory=AlignOptions)


@dataclass(frozen=True)
class TriphoneOptions:
    """Options of all triphone systems, with Kaldi's names and defaults.

    Attributes:
        num_leaves, tot_gauss: leaves of the tree at most, and Gaussians to grow to.
        num_iters, max_iter_inc: number of passes, and the last one with more Gaussians.
        realign_iters: passes that begin with a new alignment.
        power: of a pdf's frames, which its number of Gaussians is in proportion to.
        cluster_thresh: see build_tree.
        align: AlignOptions.
    """

    num_leaves: int = 2000
    tot_gauss: int = 10000
    num_iters: int = 35
    max_iter_inc: int = 25
    realign_iters: tuple[int, ...] = (10, 20, 30)
    power: float = 0.25
    cluster_thresh: float = -1.0
    align: AlignOptions = field(default_factory=AlignOptions)


@dataclass(frozen=True)
class LdaMlltOptions(TriphoneOptions):
    """Options of train_lda_mllt besides those of all triphone systems.

    Attributes:
        mllt_iters: passes in which MLLT is estimated anew.
        dim: dimension after LDA.
    """

    mllt_iters: tuple[int, ...] = (2, 4, 6, 12)
    dim: int = 40


@dataclass(frozen=True)
class SatOptions(TriphoneOptions):
    """Options of train_sat besides those of all triphone systems.

    Attributes:
        power: as there; Kaldi's default differs.
        fmllr_iters: passes in which the transforms are estimated further.
        silence_weight: of silence in estimating them.
        fmllr_update_type: full, diag, offset or none.
        fmllr_min_count: speakers with so many frames or fewer get the unit transform.
    """

    power: float = 0.2
    fmllr_iters: tuple[int, ...] = (2, 4, 6, 12)
    silence_weight: float = 0.0
    fmllr_update_type: str = "full"
    fmllr_min_count: float = 500.0
