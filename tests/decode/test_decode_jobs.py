"""Decoding of data directories: against Kaldi's lattices, two passes, bad input."""

import gzip
import json
import shutil

import numpy as np
import pytest
from golden_lattices import assert_same_paths, lattices
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.data import DataDir
from kdspeech.decode import LatticePack, read_lattices
from kdspeech.decode.jobs import DecodeOptions, decode
from kdspeech.decode.two_pass import FmllrOptions
from kdspeech.io.ark import read_ark, write_ark
from kdspeech.io.errors import InputError

pytestmark = pytest.mark.golden
GOLDEN_OPTIONS = DecodeOptions(acwt=0.1, max_active=2**31 - 1, first_max_active=2**31 - 1)


@pytest.fixture
def setup(golden, tmp_path):
    """Makes exp/, graph/ and data/ of a golden system; each utterance is a speaker."""

    def make(name: str, mfcc=None):
        exp, graph, data = tmp_path / "exp", tmp_path / "graph", tmp_path / "data"
        (graph / "phones").mkdir(parents=True)
        exp.mkdir()
        shutil.copy(golden / "gmm" / "models" / f"{name}.mdl", exp / "final.mdl")
        if name != "mono":
            shutil.copy(golden / "gmm" / "models" / f"{name}.final.mat", exp / "final.mat")
            (exp / "splice_opts").write_text("--left-context=3 --right-context=3\n")
        shutil.copy(golden / "lattice" / f"HCLG.{name}.fst", graph / "HCLG.fst")
        shutil.copy(golden / "lattice" / "words.txt", graph / "words.txt")
        (graph / "phones" / "silence.csl").write_text("1:2:3:4:5:6:7:8:9:10\n")
        write_data(data, golden, mfcc or {})
        return graph, data, exp / "decode"

    return make


def write_data(data, golden, changed: dict) -> None:
    arrays = np.load(golden / "lattice" / "lattice.npz")
    utts = sorted(key.removeprefix("mfcc/") for key in arrays.files if key.startswith("mfcc/"))
    data.mkdir()
    feats = [(utt, changed.get(utt, arrays[f"mfcc/{utt}"])) for utt in utts]
    write_ark(data / "feats.ark", feats, data / "feats.scp")
    stats = [(utt, arrays[f"cmvn_stats/{utt}"]) for utt in utts]
    write_ark(data / "cmvn.ark", stats, data / "cmvn.scp")
    (data / "utt2spk").write_text("".join(f"{utt} {utt}\n" for utt in utts))


@pytest.mark.parametrize("nj, num_threads", [(1, 2), (2, 1)])
def test_single_pass_gives_kaldis_lattices(golden, setup, nj, num_threads):
    graph, data, decode_dir = setup("mono")
    tally = decode(
        graph, data, decode_dir, options=GOLDEN_OPTIONS, nj=nj, num_threads=num_threads, raw=True
    )
    kaldi, found = lattices(golden, "det.mono"), {}
    for i in range(1, nj + 1):
        found |= dict(read_lattices(decode_dir / f"lat.{i}.gz"))
    assert sorted(found) == sorted(kaldi)
    for utt, lattice in found.items():
        assert_same_paths(lattice, kaldi[utt], atol=0.02)  # features of 6 digits
    assert (decode_dir / "num_jobs").read_text() == f"{nj}\n"
    assert {p.name for p in decode_dir.iterdir()} == {
        "log", "num_jobs", "decode.json", *(f"lat.{i}.gz" for i in range(1, nj + 1)),
        *(f"raw.{i}.pack" for i in range(1, nj + 1)),
    }  # fmt: skip
    summary = json.loads((decode_dir / "decode.json").read_text())
    assert summary["utterances"] == tally.utterances == len(kaldi) and summary["failed"] == 0
    raw = LatticePack(decode_dir / "raw.1.pack")
    assert raw["u0_george"].num_states == lattices(golden, "raw.mono")["u0_george"].num_states


def test_log_tells_words_and_likelihoods(golden, setup):
    graph, data, decode_dir = setup("mono")
    decode(graph, data, decode_dir, options=GOLDEN_OPTIONS)
    lines = (decode_dir / "log" / "decode.1.log").read_text().splitlines()
    assert lines[0] == "u0_george nine eight four"
    assert lines[1] == "u0_george: log-likelihood per frame -9.3142 over 147 frames"
    assert lines[-1].startswith("6 utterances, 0 failed, log-likelihood per frame -9.7")


def test_two_passes_fit_the_speakers_better(golden, setup):
    graph, data, decode_dir = setup("tri3b")
    options = DecodeOptions(acwt=0.1, fmllr=FmllrOptions(min_count=50, update_type="diag"))
    tally = decode(graph, data, decode_dir, options=options, fmllr=True, nj=2, raw=True)
    assert not tally.fallbacks
    si_dir = decode_dir.with_name("decode.si")
    adapted, independent = (
        {u: x for i in (1, 2) for u, x in read_lattices(folder / f"lat.{i}.gz")}
        for folder in (decode_dir, si_dir)
    )
    assert sorted(adapted) == sorted(independent) == utterances(data)
    for utt, lattice in adapted.items():
        better, before = (x.best_path(0.1).acoustic_cost for x in (lattice, independent[utt]))
        assert better < before
    transforms = dict(read_ark(decode_dir / "trans.1")) | dict(read_ark(decode_dir / "trans.2"))
    assert {x.shape for x in transforms.values()} == {(40, 41)}
    assert LatticePack(decode_dir / "raw.2.pack")


def utterances(data) -> list[str]:
    return sorted(DataDir(data).utt2spk)


def test_speakers_with_little_speech_are_named(golden, setup):
    graph, data, decode_dir = setup("mono")
    tally = decode(graph, data, decode_dir, options=GOLDEN_OPTIONS, fmllr=True)
    assert sorted(tally.fallbacks) == utterances(data)  # none has 500 frames
    assert "not above min_count 500" in tally.fallbacks["u0_george"]
    log = (decode_dir / "log" / "decode.1.log").read_text()
    assert "speaker u0_george: no transform: " in log
    # Without transforms the second pass is a plain decoding.
    kaldi = lattices(golden, "det.mono")
    for utt, lattice in read_lattices(decode_dir / "lat.1.gz"):
        assert_same_paths(lattice, kaldi[utt], atol=0.02)


def test_bad_utterances_are_listed(golden, setup):
    broken = np.zeros((20, 13), np.float32)
    broken[3, 2] = np.nan
    graph, data, decode_dir = setup("mono", {"u2_lucas": broken})
    with pytest.raises(InputError, match=r"1 of 6 utterances cannot be decoded.*u2_lucas"):
        decode(graph, data, decode_dir, options=GOLDEN_OPTIONS)
    assert not (decode_dir / "num_jobs").exists()
    assert (decode_dir / "decode.bad").read_text().startswith("u2_lucas ")
    feats = (data / "feats.scp").read_text().splitlines(keepends=True)
    (data / "feats.scp").write_text("".join(feats[1:]))
    tally = decode(graph, data, decode_dir, options=GOLDEN_OPTIONS, max_bad=0.5)
    assert tally.problems["u0_george"] == "has no features"
    assert len(dict(read_lattices(decode_dir / "lat.1.gz"))) == 4
    log = (decode_dir / "log" / "decode.1.log").read_text()
    assert "u0_george: no lattice: has no features" in log


def test_graph_of_another_model_is_refused(golden, setup):
    graph, data, decode_dir = setup("mono")
    shutil.copy(golden / "lattice" / "HCLG.tri3b.fst", graph / "HCLG.fst")
    with pytest.raises(InputError, match=r"HCLG.fst with .*the model ends at 660"):
        decode(graph, data, decode_dir)
    (graph / "num_pdfs").write_text("152\n")
    with pytest.raises(InputError, match="model of 152 pdfs, this one has 70"):
        decode(graph, data, decode_dir)
    (graph / "num_pdfs").write_text("70\n")
    whole = (graph / "HCLG.fst").read_bytes()
    (graph / "HCLG.fst").write_bytes(whole[:1000])
    with pytest.raises(InputError, match="HCLG.fst: graph: the file is cut short or damaged"):
        decode(graph, data, decode_dir)


def test_more_jobs_than_speakers(setup):
    graph, data, decode_dir = setup("tri3b")
    with pytest.raises(InputError, match="6 speakers cannot be split into 7 jobs"):
        decode(graph, data, decode_dir, fmllr=True, nj=7)


def test_command(golden, setup):
    graph, data, decode_dir = setup("mono")
    arguments = ["decode", str(graph), str(data), str(decode_dir), "--acwt", "0.1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "6 utterances, log-likelihood per frame -9.7" in result.output
    with gzip.open(decode_dir / "lat.1.gz") as file:
        assert file.read(12) == b"u0_george \0B"
    result = CliRunner().invoke(app, [*arguments, "--beam", "0"])
    assert result.exit_code == 1


def test_what_is_read_is_not_decoded_into(setup):
    graph, data, decode_dir = setup("mono")
    for place, options in (
        (decode_dir.parent, {"exp": decode_dir.parent}),
        (decode_dir, {"transform_dir": decode_dir}),
    ):
        with pytest.raises(InputError, match="cannot be made from itself"):
            decode(graph, data, place, **options)
