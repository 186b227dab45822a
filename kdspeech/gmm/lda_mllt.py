"""Triphones on LDA+MLLT features, as Kaldi's steps/train_lda_mllt.sh."""

import logging
import os
from dataclasses import replace

import numpy as np

from kdspeech.features.front_end import FrontEnd
from kdspeech.features.post import compose_transforms
from kdspeech.gmm import passes, triphones
from kdspeech.gmm.accumulate import lda_stats, mllt_stats
from kdspeech.gmm.options import Jobs, LdaMlltOptions
from kdspeech.gmm.session import Report, Session
from kdspeech.hmm import AcousticModel, DiagGmms
from kdspeech.io.kaldi import write_kaldi_matrix

log = logging.getLogger(__name__)


def train_lda_mllt(
    data_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    ali_dir: str | os.PathLike,
    exp: str | os.PathLike,
    options: LdaMlltOptions | None = None,
    front_end: FrontEnd | None = None,
    jobs: Jobs | None = None,
) -> Report:
    """Trains triphones on spliced frames after LDA and MLLT.

    Args:
        data_dir, lang_dir, ali_dir, exp, jobs: as train_deltas.
        options: LdaMlltOptions.
        front_end: options of CMVN and splicing.
    Raises:
        InputError: the directories do not fit, or no utterance can be aligned.
    """
    options, front_end = options or LdaMlltOptions(), front_end or FrontEnd()
    settings = {"options": options, "cmvn": front_end.cmvn, "splicing": front_end.splicing}
    with Session(data_dir, lang_dir, exp, jobs, ali_dir, settings=settings) as session:
        session.prepare(front_end)
        session.load_alignments()
        silence = session.lang.silence_phones
        arguments = {"front_end": front_end, "transitions": session.source_model.transitions}
        lda = session.sum(lda_stats, silence=silence, **arguments).estimate(options.dim)
        log.info("LDA: the largest ratio of variances is %.3f", lda.ratios[0])
        write_kaldi_matrix(session.exp / "full.mat", lda.full)
        front_end = replace(front_end, matrix=lda.matrix)
        session.run(passes.expand, front_end=front_end)
        tree, model = triphones.start(session, options)

        def mllt(x: int, model: AcousticModel) -> AcousticModel:
            nonlocal front_end
            if x not in options.mllt_iters:
                return model
            found = session.sum(mllt_stats, model=model, silence=silence).estimate()
            log.info("MLLT: %.4f a frame better over %d frames", found.improvement, found.count)
            matrix = compose_transforms(found.matrix, front_end.matrix)
            front_end = replace(front_end, matrix=matrix)
            session.run(passes.expand, front_end=front_end)
            return AcousticModel(model.transitions, transform_means(model.gmms, found.matrix))

        model = triphones.train(session, model, options, mllt)
        return session.save(tree, model, front_end)


def transform_means(gmms: DiagGmms, matrix: np.ndarray) -> DiagGmms:
    """The mixtures with transformed means (gmm-transform-means); variances stay.

    Args:
        matrix: (dim, dim).
    """
    means = gmms.means @ np.asarray(matrix, np.float64).T
    return DiagGmms(gmms.offsets, gmms.weights, means * gmms.inv_vars, gmms.inv_vars)
