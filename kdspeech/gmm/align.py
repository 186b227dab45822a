"""Alignments of data with a trained model, as Kaldi's steps/align_si.sh and align_fmllr.sh."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdspeech.features.front_end import FrontEnd
from kdspeech.gmm import passes
from kdspeech.gmm.options import AlignOptions, Jobs
from kdspeech.gmm.session import Report, Session
from kdspeech.hmm import (
    AcousticModel,
    DecisionTree,
    ReadModel,
    ScoringModel,
    check_adapted,
    read_gmm,
)
from kdspeech.io.atomic import check_apart


def align(
    data_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    src_dir: str | os.PathLike,
    ali_dir: str | os.PathLike,
    options: AlignOptions | None = None,
    jobs: Jobs | None = None,
    transform_dir: str | os.PathLike | None = None,
    read_model: ReadModel = read_gmm,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Aligns data with a model of deltas or LDA+MLLT features, or of features that are adapted by
    transforms which are there.

    Args:
        data_dir: with feats.scp, cmvn.scp, text and utt2spk.
        lang_dir: the one of the model.
        src_dir: the model's directory.
        ali_dir: the directory to make: ali.*.gz beside copies of the model's files.
        options: AlignOptions.
        jobs: Jobs.
        transform_dir: with the speakers' transforms, trans.*; they are copied. None: there are
            none.
        read_model: kdspeech.acoustic.read_model where the model may be a network. A SpeakerModel
            is given each speaker's name before the utterances.
        settings: more of what config.yaml is to say.
    Raises:
        InputError: the directories do not fit, or no utterance can be aligned.
    """
    options = options or AlignOptions()
    own = {"options": options, "transform_dir": str(transform_dir or "")}
    settings = own | dict(settings or {})
    session = Session(data_dir, lang_dir, ali_dir, jobs, src_dir, read_model, settings)
    check_adapted(src_dir, session.source_model, transform_dir is not None)
    if transform_dir:
        check_apart(ali_dir, [transform_dir])
    with session:
        model = _begin(session)
        if transform_dir:
            session.load_transforms(Path(transform_dir))
            session.save_transforms()
        session.align(model, options)
        return _finish(session)


def align_fmllr(
    data_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    src_dir: str | os.PathLike,
    ali_dir: str | os.PathLike,
    options: AlignOptions | None = None,
    fmllr_update_type: str = "full",
    fmllr_min_count: float = 500.0,
    jobs: Jobs | None = None,
) -> Report:
    """Aligns data with a model of adapted features: first without transforms, then with those
    estimated from that.

    Args:
        data_dir, lang_dir, src_dir, options, jobs: as align.
        ali_dir: the directory to make, with trans.* as well.
        fmllr_update_type, fmllr_min_count: as in SatOptions.
    Raises:
        InputError: the directories do not fit, or no utterance can be aligned.
    """
    options = options or AlignOptions()
    fmllr = {"update_type": fmllr_update_type, "min_count": fmllr_min_count}
    settings = {"options": options, "fmllr": fmllr}
    with Session(data_dir, lang_dir, ali_dir, jobs, src_dir, settings=settings) as session:
        model = _begin(session)
        path = session.source / "final.alimdl"
        first = AcousticModel.read(path) if path.exists() else model
        session.align(first, options)
        session.adapt(
            model,
            posterior_model=first,
            **fmllr,
        )
        session.align(model, options)
        session.save_transforms()
        return _finish(session)


def _begin(session: Session) -> ScoringModel:
    """Features and training graphs for the source's model."""
    front_end, model = FrontEnd.read(session.source), session.source_model
    session.prepare(front_end)
    session.run(passes.expand, front_end=front_end)
    session.compile_graphs(DecisionTree.read(session.source / "tree"), model)
    return model


def _finish(session: Session) -> Report:
    """Writes the alignments and copies the model's files; final.mdl comes last."""
    session.save_alignments()
    FrontEnd.read(session.source).write(session.exp)
    session.copy_from_source("tree", "full.mat", "final.occs", "final.alimdl", "final.mdl")
    return session.report
