"""Speaker-adaptive training on fMLLR features, as Kaldi's steps/train_sat.sh."""

import os

from kdspeech.features.front_end import FrontEnd
from kdspeech.gmm import passes, triphones
from kdspeech.gmm.accumulate import gmm_stats
from kdspeech.gmm.options import Jobs, SatOptions
from kdspeech.gmm.session import Report, Session
from kdspeech.hmm import AcousticModel
from kdspeech.hmm.estimate import MleOptions, estimate


def train_sat(
    data_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    ali_dir: str | os.PathLike,
    exp: str | os.PathLike,
    options: SatOptions | None = None,
    jobs: Jobs | None = None,
) -> Report:
    """Trains triphones on features adapted to each speaker.

    The features are those of the alignments' model; transforms begin with trans.* of `ali_dir`,
    where it has some.

    Args:
        data_dir, lang_dir, ali_dir, exp, jobs: as train_deltas.
        options: SatOptions.
    Raises:
        InputError: the directories do not fit, or no utterance can be aligned.
    """
    options, front_end = options or SatOptions(), FrontEnd.read(ali_dir)
    settings = {"options": options}
    with Session(data_dir, lang_dir, exp, jobs, ali_dir, settings=settings) as session:
        session.prepare(front_end)
        session.load_alignments()
        session.run(passes.expand, front_end=front_end)

        def adapt(model: AcousticModel, more: bool) -> None:
            session.adapt(
                model,
                silence_weight=options.silence_weight,
                update_type=options.fmllr_update_type,
                min_count=options.fmllr_min_count,
                more=more,
            )

        if (session.source / "trans.1").exists():
            session.load_transforms(session.source)
        else:
            adapt(session.source_model, more=False)
        tree, model = triphones.start(session, options)

        def fmllr(x: int, model: AcousticModel) -> AcousticModel:
            if x in options.fmllr_iters:
                adapt(model, more=True)
            return model

        model = triphones.train(session, model, options, fmllr)
        _alignment_model(session, model).write(session.exp / "final.alimdl")
        session.save_transforms()
        session.copy_from_source("full.mat")
        return session.save(tree, model, front_end)


def _alignment_model(session: Session, model: AcousticModel) -> AcousticModel:
    """The model for features that are not adapted yet, Gaussian by Gaussian the same otherwise."""
    stats = session.sum(gmm_stats, model=model, feats=session.feats, summed="feats")
    return estimate(model, stats, MleOptions(remove_low_count_gaussians=False))[0]
