"""Statistics of a split: neither they nor what it takes to collect them grow with the corpus."""

import pickle
import shutil
import tracemalloc

import pytest
from spoken import make_data, make_lang

from kdspeech.features.front_end import FrontEnd, SpliceOptions
from kdspeech.gmm import MonoOptions, accumulate, passes, store, train_mono
from kdspeech.hmm import AcousticModel
from kdspeech.hmm import tree_stats as hmm_tree_stats

SILENCE = [1, 2]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """A small split, one eight times as large, and the model of their alignments."""
    root, folders = tmp_path_factory.mktemp("memory"), []
    lang = make_lang(root)
    for name, utterances in (("small", 4), ("large", 32)):
        data, exp = make_data(root / name, utterances=utterances, words=12), root / f"{name}.mono"
        train_mono(data, lang, exp, MonoOptions(tot_gauss=30, num_iters=2))
        folder = root / f"{name}.split"
        folder.mkdir()
        (folder / "data").symlink_to(data)
        model = AcousticModel.read(exp / "final.mdl")
        passes.prepare(folder, FrontEnd())
        passes.load_alignments(folder, exp, model.transitions)
        passes.expand(folder, FrontEnd())
        folders.append(folder)
    return folders, model


def collect(name: str, folder, model):
    transitions = model.transitions
    front_end = FrontEnd(splicing=SpliceOptions(3, 3))
    return {
        "gmm": lambda: accumulate.gmm_stats(folder, model),
        "tree": lambda: accumulate.tree_stats(folder, transitions, SILENCE),
        "lda": lambda: accumulate.lda_stats(folder, front_end, transitions, SILENCE),
        "mllt": lambda: accumulate.mllt_stats(folder, model, SILENCE),
    }[name]()


@pytest.mark.parametrize("name", ["gmm", "tree", "lda", "mllt"])
def test_statistics_do_not_grow_with_the_corpus(splits, name, monkeypatch):
    monkeypatch.setattr(store.FrameStore.blocks, "__defaults__", (500,))
    monkeypatch.setattr(accumulate, "_SPLICED_FRAMES", 500)
    monkeypatch.setattr(hmm_tree_stats, "_MERGE_FRAMES", 500)
    folders, model = splits
    frames = [store.FrameStore(folder).num_frames for folder in folders]
    assert frames[1] > 6 * frames[0] > 6 * 2000
    sizes, peaks = [], []
    collect(name, folders[0], model)  # what imports take
    for folder in folders:
        tracemalloc.start()
        stats = collect(name, folder, model)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(len(pickle.dumps(stats)))
    assert sizes[1] < 1.1 * sizes[0]  # of a tree, by the triphones that were seen
    assert peaks[1] < 1.2 * peaks[0] + 30_000  # the index of utterances


@pytest.mark.parametrize(
    "name, count",
    [
        ("gmm", lambda stats: stats.frames),
        ("tree", lambda stats: 0 if stats is None else 1),
        ("lda", lambda stats: stats.counts.sum()),
        ("mllt", lambda stats: stats.count),
    ],
)
def test_a_split_without_alignments_adds_nothing(splits, tmp_path, name, count):
    folders, model = splits
    shutil.copytree(folders[0], tmp_path / "split", symlinks=True)
    with store.FrameStore(tmp_path / "split").new_alignment():
        pass
    assert count(collect(name, folders[0], model)) > 0
    assert count(collect(name, tmp_path / "split", model)) == 0
