"""A pass that was killed, or whose result was lost, runs again and leaves the same."""

import numpy as np
import pytest
from spoken import make_data, make_lang

from kdspeech.features.front_end import FrontEnd
from kdspeech.gmm import MonoOptions, TriphoneOptions, passes, speakers, train_deltas, train_mono
from kdspeech.gmm.store import FrameStore
from kdspeech.hmm import AcousticModel, DecisionTree
from kdspeech.io.ark import read_ark


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    """Data, lang, monophones and triphones of them."""
    root = tmp_path_factory.mktemp("again")
    lang, data = make_lang(root), make_data(root / "data")
    train_mono(data, lang, root / "mono", MonoOptions(tot_gauss=30, num_iters=3))
    options = TriphoneOptions(20, 40, num_iters=2, realign_iters=())
    train_deltas(data, lang, root / "mono", root / "tri1", options)
    return root


@pytest.fixture
def split(systems, tmp_path):
    """The folder of a split with features and the monophones' alignments."""
    front_end, model = FrontEnd(), AcousticModel.read(systems / "mono/final.mdl")
    (tmp_path / "data").symlink_to(systems / "data")
    passes.prepare(tmp_path, front_end)
    passes.load_alignments(tmp_path, systems / "mono", model.transitions)
    passes.expand(tmp_path, front_end)
    return tmp_path, model


def adapted(folder, name):
    return np.array(FrameStore(folder).array(name)), dict(read_ark(folder / f"{name}.trans"))


def test_transforms_are_composed_once(split, monkeypatch):
    folder, model = split
    options = {"model": model, "silence": [1, 2], "min_count": 100, "num_iters": 2}
    speakers.estimate_transforms(folder, "adapted.0", **options)
    more = {**options, "before": "adapted.0"}
    with monkeypatch.context() as patch:  # it dies between the transforms and the features
        patch.setattr(FrameStore, "write_array", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            speakers.estimate_transforms(folder, "adapted.1", **more)
    for _ in range(2):  # the second time as if the result had got lost
        speakers.estimate_transforms(folder, "adapted.1", **more)
    again = adapted(folder, "adapted.1")
    speakers.estimate_transforms(folder, "once", **more)
    once = adapted(folder, "once")
    assert np.array_equal(again[0], once[0])
    assert all(np.array_equal(again[1][speaker], once[1][speaker]) for speaker in once[1])
    assert not np.allclose(once[0], adapted(folder, "adapted.0")[0])


def test_alignments_are_converted_once(systems, split):
    folder, mono = split
    triphones = AcousticModel.read(systems / "tri1/final.mdl").transitions
    tree = DecisionTree.read(systems / "tri1/tree")
    found = []
    for _ in range(2):
        passes.convert_alignments(folder, mono.transitions, triphones, tree)
        found.append(np.array(FrameStore(folder).alignment()))
    assert np.array_equal(*found)
    loaded = FrameStore(folder).alignment("loaded")
    assert np.array_equal(triphones.tid_to_phone[found[0]], mono.transitions.tid_to_phone[loaded])
