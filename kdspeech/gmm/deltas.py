"""Triphones on deltas, as Kaldi's steps/train_deltas.sh."""

import os

from kdspeech.features.front_end import FrontEnd
from kdspeech.gmm import passes, triphones
from kdspeech.gmm.options import Jobs, TriphoneOptions
from kdspeech.gmm.session import Report, Session
from kdspeech.hmm import AcousticModel
from kdspeech.hmm.mixtures import split_by_count


def train_deltas(
    data_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    ali_dir: str | os.PathLike,
    exp: str | os.PathLike,
    options: TriphoneOptions | None = None,
    front_end: FrontEnd | None = None,
    jobs: Jobs | None = None,
) -> Report:
    """Trains triphones on deltas of the features after CMVN.

    Args:
        data_dir: with feats.scp, cmvn.scp, text and utt2spk.
        lang_dir: as prepare_lang makes it.
        ali_dir: alignments and their model, as of train_mono or align.
        exp: the directory to make.
        options: TriphoneOptions.
        front_end: options of CMVN and deltas.
        jobs: Jobs.
    Raises:
        InputError: the directories do not fit, or no utterance can be aligned.
    """
    options, front_end = options or TriphoneOptions(), front_end or FrontEnd()
    settings = {"options": options, "cmvn": front_end.cmvn, "deltas": front_end.deltas}
    with Session(data_dir, lang_dir, exp, jobs, ali_dir, settings=settings) as session:
        session.prepare(front_end)
        session.load_alignments()
        session.run(passes.expand, front_end=front_end)
        tree, model = triphones.start(session, options)
        gmms = split_by_count(model.gmms, session.occupancies, options.num_leaves, session.rng)
        model = triphones.train(session, AcousticModel(model.transitions, gmms), options)
        return session.save(tree, model, front_end)
