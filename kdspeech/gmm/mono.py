"""Monophones from a flat start, as Kaldi's steps/train_mono.sh."""

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from kdspeech.features.front_end import FrontEnd
from kdspeech.gmm import passes, realign
from kdspeech.gmm.options import AlignOptions, Jobs, MonoOptions
from kdspeech.gmm.session import Report, Session
from kdspeech.gmm.store import FrameStore
from kdspeech.hmm.initial import init_mono

_FIRST_BEAM = 6.0  # of the first alignment, whose model knows hardly anything
_FIRST_OCCUPANCY = 3.0  # keeps rare phones in the first update: else they never align
_INIT_UTTERANCES = 10  # for the global mean and variance


def train_mono(
    data_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    exp: str | os.PathLike,
    options: MonoOptions | None = None,
    front_end: FrontEnd | None = None,
    jobs: Jobs | None = None,
) -> Report:
    """Trains monophones on deltas of the features after CMVN.

    Args:
        data_dir: with feats.scp, cmvn.scp, text and utt2spk.
        lang_dir: as prepare_lang makes it.
        exp: the directory to make.
        options: MonoOptions.
        front_end: options of CMVN and deltas.
        jobs: Jobs.
    Raises:
        InputError: the directories do not fit, or no utterance can be aligned.
    """
    options, front_end = options or MonoOptions(), front_end or FrontEnd()
    settings = {"options": options, "cmvn": front_end.cmvn, "deltas": front_end.deltas}
    with Session(data_dir, lang_dir, exp, jobs, settings=settings) as session:
        session.prepare(front_end)
        session.run(passes.expand, front_end=front_end)
        first = sorted((pair for part in session.run(_first_feats) for pair in part), key=_name)
        feats = [feats for _, feats in first[:_INIT_UTTERANCES]]
        model, tree = init_mono(session.lang.topo, feats, session.lang.int_rows("sets"))
        session.compile_graphs(tree, model)
        session.take_alignment(session.sum(realign.align_equal, seed=session.options.seed))
        num_gauss = model.gmms.num_gaussians
        step = int((options.tot_gauss - num_gauss) / options.max_iter_inc)
        growth = {"mix_up": num_gauss, "power": options.power}
        model = session.update(model, min_gaussian_occupancy=_FIRST_OCCUPANCY, **growth)
        for x in range(1, options.num_iters):
            if x in options.realign_iters:
                session.align(model, _first_beam(options.align) if x == 1 else options.align)
            model = session.update(model, **growth)
            if x <= options.max_iter_inc:
                growth["mix_up"] += step
        return session.save(tree, model, front_end)


def _first_feats(folder: Path) -> list[tuple[str, np.ndarray]]:
    """The first utterances of a split and their features."""
    store = FrameStore(folder)
    feats = store.array("feats")
    utterances = islice(enumerate(store.utterances), _INIT_UTTERANCES)
    return [(utt, np.array(feats[store.frames(i)])) for i, utt in utterances]


def _name(pair: tuple[str, np.ndarray]) -> str:
    return pair[0]


def _first_beam(options: AlignOptions) -> AlignOptions:
    """Narrower beams for the first alignment (Kaldi: 6, then 24)."""
    factor = _FIRST_BEAM / AlignOptions.beam
    return replace(options, beam=options.beam * factor, retry_beam=4 * options.beam * factor)
