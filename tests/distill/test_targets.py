import numpy as np
import pytest

from kdspeech.distill import SoftLabelStore, write_soft_labels
from kdspeech.io.errors import InputError

MADE_FROM = {"teacher": "t1", "corpus": "c1", "crop_law": "random 500 ms"}


def random_log_probs(rng, frames, classes):
    logits = rng.normal(size=(frames, classes)) * 3
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def labels(rng):
    """Two blocks; utterance b has crops of three and one frames."""
    return [
        (["a", "b"], [0, 0], [random_log_probs(rng, 1, 6), random_log_probs(rng, 3, 6)]),
        (["b", "c"], [1, 2], [random_log_probs(rng, 1, 6), random_log_probs(rng, 2, 6)]),
    ]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_full_labels_come_back_in_the_order_asked_for(tmp_path, labels):
    write_soft_labels(tmp_path / "l.arrow", labels, 6, 6, MADE_FROM)
    store = SoftLabelStore(tmp_path / "l.arrow", MADE_FROM)
    assert len(store) == 4
    got = store.log_probs(["c", "a", "b"], [2, 0, 0])
    want = np.concatenate([labels[1][2][1], labels[0][2][0], labels[0][2][1]])
    np.testing.assert_allclose(got, want, rtol=1e-3)
    assert got.dtype == np.float32


def test_top_k_keeps_the_best_and_the_mass_of_the_rest(tmp_path, labels):
    write_soft_labels(tmp_path / "l.arrow", labels, 6, 2, MADE_FROM)
    got = SoftLabelStore(tmp_path / "l.arrow").log_probs(["b"], [0])
    want = labels[0][2][1]
    np.testing.assert_allclose(np.exp(got).sum(1), 1, atol=2e-3)
    best = np.argsort(-want, axis=1)[:, :2]
    for row, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_allclose(g[best[row]], w[best[row]], rtol=1e-3)
        others = np.delete(g, best[row])
        np.testing.assert_allclose(others, others[0])
        mass = np.exp(np.delete(w, best[row])).sum()
        np.testing.assert_allclose(np.exp(others).sum(), mass, rtol=5e-3)


@pytest.mark.parametrize("key", MADE_FROM)
def test_a_store_made_from_something_else_is_refused_by_name(tmp_path, labels, key):
    write_soft_labels(tmp_path / "l.arrow", labels, 6, 6, MADE_FROM)
    with pytest.raises(InputError, match=f"another {key.replace('_', ' ')}"):
        SoftLabelStore(tmp_path / "l.arrow", {**MADE_FROM, key: "other"})


@pytest.mark.parametrize("utterance,crop", [("d", 0), ("a", 1), ("a", -1), ("c", 99)])
def test_missing_label_names_utterance_and_crop(tmp_path, labels, utterance, crop):
    write_soft_labels(tmp_path / "l.arrow", labels, 6, 6, MADE_FROM)
    with pytest.raises(InputError, match=f"crop {crop} of utterance {utterance}"):
        SoftLabelStore(tmp_path / "l.arrow").log_probs(["a", utterance], [0, crop])


def test_failed_write_leaves_nothing(tmp_path, labels):
    def blocks():
        yield labels[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_soft_labels(tmp_path / "l.arrow", blocks(), 6, 6, MADE_FROM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"text, not Arrow", b"ARROW1\0\0" + b"x" * 40])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "l.arrow").write_bytes(content)
    with pytest.raises(InputError, match="soft-label store"):
        SoftLabelStore(tmp_path / "l.arrow")


def test_truncated_store_is_refused(tmp_path, labels):
    path = tmp_path / "l.arrow"
    write_soft_labels(path, labels, 6, 6, MADE_FROM)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut short"):
        SoftLabelStore(path)


def test_no_such_store(tmp_path):
    with pytest.raises(InputError, match="no such soft-label store"):
        SoftLabelStore(tmp_path / "l.arrow")


@pytest.mark.parametrize("top_k", [0, 7])
def test_top_k_out_of_range(tmp_path, labels, top_k):
    with pytest.raises(InputError, match="top_k"):
        write_soft_labels(tmp_path / "l.arrow", labels, 6, top_k, MADE_FROM)


def test_labels_of_another_width_name_the_utterance(tmp_path, rng):
    blocks = [(["a"], [0], [random_log_probs(rng, 1, 5)])]
    with pytest.raises(InputError, match=r"a: labels \(1, 5\)"):
        write_soft_labels(tmp_path / "l.arrow", blocks, 6, 3, MADE_FROM)
