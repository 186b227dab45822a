"""A model's front end against Kaldi's features, and its option files."""

import json

import numpy as np
import pytest

from kdspeech.features.front_end import CmvnOptions, DeltaOptions, FrontEnd, SpliceOptions
from kdspeech.features.post import CmvnStats
from kdspeech.io.errors import InputError


@pytest.mark.golden
def test_deltas_and_lda_are_kaldis(golden, tmp_path):
    arrays = np.load(golden / "gmm/gmm.npz")
    three = json.loads((golden / "cases.json").read_text())["gmm"]["three"]
    (tmp_path / "final.mat").write_bytes((golden / "gmm/models/tri3b.final.mat").read_bytes())
    (tmp_path / "splice_opts").write_text("--left-context=3 --right-context=3\n")
    (tmp_path / "cmvn_opts").write_text("\n")
    lda, delta = FrontEnd.read(tmp_path), FrontEnd()
    for utt in three:
        stats = CmvnStats.from_matrix(arrays[f"cmvn_stats/{utt.split('_')[0]}"])
        base = delta.normalize(arrays[f"mfcc/{utt}"], stats)
        assert np.allclose(delta.expand(base), arrays[f"delta/{utt}"], atol=1e-4)
        assert np.allclose(lda.expand(base), arrays[f"tri3b_lda/{utt}"], atol=1e-3)


def test_what_is_written_is_read_again(tmp_path):
    matrix = np.arange(24, dtype=np.float32).reshape(2, 12)
    before = FrontEnd(CmvnOptions(norm_vars=True), splicing=SpliceOptions(2, 3), matrix=matrix)
    before.write(tmp_path)
    assert (tmp_path / "cmvn_opts").read_text() == "--norm-vars=true\n"
    assert (tmp_path / "splice_opts").read_text() == "--left-context=2 --right-context=3\n"
    after = FrontEnd.read(tmp_path)
    assert np.array_equal(after.matrix, matrix)
    assert (after.cmvn, after.splicing) == (before.cmvn, before.splicing)


def test_defaults_are_written_as_kaldi_does(tmp_path):
    FrontEnd().write(tmp_path)
    assert (tmp_path / "cmvn_opts").read_text().strip() == ""
    assert FrontEnd.read(tmp_path) == FrontEnd(deltas=DeltaOptions(2, 2))


@pytest.mark.parametrize("text", ["--norm-vars=maybe", "--norm-varz=true", "norm-vars=true"])
def test_a_bad_option_names_the_file(tmp_path, text):
    (tmp_path / "cmvn_opts").write_text(text)
    with pytest.raises(InputError, match="cmvn_opts: "):
        FrontEnd.read(tmp_path)
