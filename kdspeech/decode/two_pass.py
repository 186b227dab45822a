"""Decoding with fMLLR in two passes, as Kaldi's decode_fmllr.sh.

The lattices of a speaker-independent pass give each speaker a first transform, those of a second
pass on the features with it a further one. The scores of the features with both then replace the
acoustic costs in the second pass's lattices.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdspeech.decode.lattice import Lattice
from kdspeech.decode.lattice_files import LatticePack
from kdspeech.decode.posteriors import lattice_posteriors
from kdspeech.decode.recognize import Recognizer, SplitOutput, Utterance
from kdspeech.features.fmllr import Fmllr, FmllrStats
from kdspeech.features.gaussians import Posteriors
from kdspeech.features.post import apply_affine, compose_transforms
from kdspeech.hmm import AcousticModel
from kdspeech.io.lattices import LatticePackWriter

SECOND_BEAM = 4.0  # of the second pass's lattices where they give posteriors (decode_fmllr.sh's)


@dataclass(frozen=True)
class FmllrOptions:
    """Kaldi's, of decode_fmllr.sh."""

    silence_weight: float = 0.01
    update_type: str = "full"
    min_count: float = 500.0


class SpeakerDecoder:
    """Decodes the utterances of one speaker after the other.

    Args:
        model, alignment_model: final.mdl, and final.alimdl where there is one.
        first, second: recognizers of the two passes, with `alignment_model` and `model`.
        silence: ids of the phones whose frames count `options.silence_weight`.
        acoustic_scale, lattice_beam: of the lattices.
    """

    def __init__(
        self,
        model: AcousticModel,
        alignment_model: AcousticModel,
        first: Recognizer,
        second: Recognizer,
        silence: Collection[int],
        acoustic_scale: float,
        lattice_beam: float,
        options: FmllrOptions,
    ):
        self._model, self._alignment_model = model, alignment_model
        self._first, self._second = first, second
        self._scale, self._beam, self._options = acoustic_scale, lattice_beam, options
        silent = np.isin(model.transitions.tid_to_phone, list(silence))
        self._weights = np.where(silent, options.silence_weight, 1.0).astype(np.float32)

    def __call__(
        self, utterances: list[Utterance], output: SplitOutput, si_output: SplitOutput
    ) -> Fmllr:
        """Decodes one speaker: the final lattices go to `output`, those of the speaker-independent
        pass to `si_output`.

        Returns:
            The transform; its fallback tells where one of the two could not be estimated.
        """
        first = self._first_pass(utterances, si_output)
        adapted = [(utt, apply_affine(feats, first.matrix)) for utt, feats in utterances]
        scratch = output.folder / "second.pack"
        reached_final, second = self._second_pass(adapted, scratch, output)
        transform = compose_transforms(second.matrix, first.matrix, True)
        lattices = LatticePack(scratch)
        for utt, feats in utterances:
            if utt in lattices:
                loglikes = self._second.loglikes(utt, apply_affine(feats, transform))
                self._rescore(utt, lattices[utt], loglikes, reached_final[utt], output)
        scratch.unlink()
        return Fmllr(transform, second.improvement, second.count, first.fallback or second.fallback)

    def _first_pass(self, utterances: list[Utterance], output: SplitOutput) -> Fmllr:
        stats = FmllrStats(self._model.gmms.dim)
        for found in self._first(utterances, output.tally.problems):
            output.write_found(found)
            self._accumulate(stats, found.feats, found.decoded.compact, self._alignment_model)
        return self._estimate(stats)

    def _second_pass(
        self, adapted: list[Utterance], scratch: Path, output: SplitOutput
    ) -> tuple[dict[str, bool], Fmllr]:
        stats, reached_final = FmllrStats(self._model.gmms.dim), {}
        with LatticePackWriter(scratch) as pack:
            for utt, feats, decoded in self._second(adapted, output.tally.problems):
                pack.write(utt, decoded.lattice.core)
                reached_final[utt] = decoded.reached_final
                near = decoded.lattice.determinize(
                    self._model.transitions, SECOND_BEAM, self._scale
                )
                self._accumulate(stats, feats, near, self._model)
        return reached_final, self._estimate(stats)

    def _accumulate(
        self, stats: FmllrStats, feats: np.ndarray, lattice: Lattice, posterior_model: AcousticModel
    ) -> None:
        (found,) = lattice_posteriors([lattice], acoustic_scale=self._scale)
        pdfs = self._model.transitions.tid_to_pdf[found.tids]
        posteriors = Posteriors(found.frames, pdfs, found.weights * self._weights[found.tids])
        stats.accumulate(feats, posteriors, self._model.gmms, posterior_gmms=posterior_model.gmms)

    def _estimate(self, stats: FmllrStats) -> Fmllr:
        return stats.estimate(self._options.update_type, self._options.min_count)

    def _rescore(
        self,
        utt: str,
        lattice: Lattice,
        loglikes: np.ndarray,
        reached_final: bool,
        output: SplitOutput,
    ) -> None:
        transitions = self._model.transitions
        raw = lattice.rescore_acoustic(loglikes, transitions)
        compact = raw.determinize(transitions, self._beam, self._scale)
        output.write(utt, raw, compact, reached_final)
