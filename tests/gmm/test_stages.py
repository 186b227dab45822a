"""All stages on a small corpus: they run, they learn, and they say what they leave out."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from spoken import WORDS, make_data, make_lang, write_data

from kdspeech.data.datadir import DataDir
from kdspeech.features.front_end import CmvnOptions, FrontEnd, SpliceOptions
from kdspeech.features.post import CmvnStats, apply_affine
from kdspeech.gmm import (
    AlignOptions,
    Jobs,
    LdaMlltOptions,
    MonoOptions,
    SatOptions,
    TriphoneOptions,
    align,
    align_fmllr,
    train_deltas,
    train_lda_mllt,
    train_mono,
    train_sat,
)
from kdspeech.hmm import AcousticModel, DecisionTree
from kdspeech.io.alignments import read_alignments
from kdspeech.io.ark import Scp, read_ark, write_ark
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import read_kaldi_matrix

MONO = MonoOptions(tot_gauss=30, num_iters=8, max_iter_inc=5, realign_iters=(1, 2, 3, 4, 5))
SHORT = {"num_iters": 6, "max_iter_inc": 4, "realign_iters": (3,)}
SPLICE = FrontEnd(splicing=SpliceOptions(1, 1))


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    """The folder of all stages, one after the other, and their reports."""
    root = tmp_path_factory.mktemp("systems")
    lang, data = make_lang(root), make_data(root / "data")
    reports = {"mono": train_mono(data, lang, root / "mono", MONO)}
    reports["tri1"] = train_deltas(
        data, lang, root / "mono", root / "tri1", TriphoneOptions(20, 40, **SHORT)
    )
    reports["tri1_ali"] = align(data, lang, root / "tri1", root / "tri1_ali")
    options = LdaMlltOptions(20, 40, mllt_iters=(2,), dim=6, **SHORT)
    reports["tri2"] = train_lda_mllt(data, lang, root / "tri1_ali", root / "tri2", options, SPLICE)
    options = SatOptions(20, 40, fmllr_iters=(2,), fmllr_min_count=300.0, **SHORT)
    reports["tri3"] = train_sat(data, lang, root / "tri2", root / "tri3", options)
    reports["tri3_ali"] = align_fmllr(
        data, lang, root / "tri3", root / "tri3_ali", fmllr_min_count=300.0
    )
    return root, reports


def spoken_phones(exp) -> dict[str, list[int]]:
    """The phones of each alignment, without silence."""
    transitions = AcousticModel.read(exp / "final.mdl").transitions
    return {
        utt: [phone for phone, _ in transitions.split_to_phones(tids) if phone > 2]
        for utt, tids in read_alignments(exp).items()
    }


@pytest.mark.parametrize("name", ["mono", "tri1", "tri1_ali", "tri2", "tri3", "tri3_ali"])
def test_alignments_say_the_transcripts(systems, name):
    root, reports = systems
    ids = {"A": 3, "B": 4, "D": 5}
    text = DataDir(root / "data").text
    wanted = {
        utt: [ids[phone] for word in words.split() for phone in WORDS[word].split()]
        for utt, words in text.items()
    }
    assert spoken_phones(root / name) == wanted
    assert reports[name].alignment.aligned == len(wanted)
    assert (root / name / "log/failed").read_text() == ""
    assert not (root / name / ".work").exists()


@pytest.mark.parametrize("name", ["mono", "tri1", "tri2", "tri3"])
def test_training_raises_the_likelihood(systems, name):
    root, reports = systems
    likes = reports[name].log_likes
    assert likes[-1] > likes[0]
    metrics = [json.loads(line) for line in (root / name / "metrics.jsonl").open()]
    assert [row["iteration"] for row in metrics] == list(range(1, len(likes) + 1))
    assert [row["log_likelihood"] for row in metrics] == pytest.approx(likes, abs=1e-4)
    assert metrics[-1]["gaussians"] == reports[name].num_gaussians
    assert {(row["aligned"], row["failed"]) for row in metrics} == {(32, 0)}
    assert all(row["seconds"] >= 0 for row in metrics)
    model, tree = (
        AcousticModel.read(root / name / "final.mdl"),
        DecisionTree.read(root / name / "tree"),
    )
    assert model.gmms.num_pdfs == tree.num_pdfs == reports[name].num_pdfs
    assert tree.context_width == (1 if name == "mono" else 3)
    assert model.gmms.num_gaussians == reports[name].num_gaussians > tree.num_pdfs


@pytest.mark.parametrize(
    "name, source, options",
    [
        ("mono", None, {"tot_gauss": 30, "power": 0.25}),
        ("tri1", "mono", {"num_leaves": 20, "realign_iters": [3]}),
        ("tri2", "tri1_ali", {"mllt_iters": [2], "dim": 6}),
        ("tri3", "tri2", {"power": 0.2, "fmllr_update_type": "full"}),
        ("tri3_ali", "tri3", {"beam": 10.0, "retry_beam": 40.0}),
    ],
)
def test_what_it_was_made_from_is_kept(systems, name, source, options):
    root, _ = systems
    config = yaml.safe_load((root / name / "config.yaml").read_text())
    assert config["data_dir"] == str(root / "data") and config["lang_dir"] == str(root / "lang")
    assert config.get("source") == (str(root / source) if source else None)
    assert config["jobs"] == {"nj": 1, "scheduler": None, "seed": 0}
    assert config["options"].items() >= options.items()
    assert {"git", "kdspeech"} <= config["versions"].keys()
    if name == "tri2":
        assert config["splicing"] == {"left_context": 1, "right_context": 1}


def test_the_whole_lda_matrix_goes_along(systems):
    root, _ = systems
    whole = read_kaldi_matrix(root / "tri2/full.mat")
    assert whole.shape == (12, 12)  # final.mat has 6 rows, which MLLT has changed
    for name in ("tri3", "tri3_ali"):
        assert np.array_equal(read_kaldi_matrix(root / name / "full.mat"), whole)


def test_adaptation_takes_speakers_together(systems):
    root, reports = systems
    assert FrontEnd.read(root / "tri3").matrix.shape == (6, 12)
    for name in ("tri3", "tri3_ali"):
        transforms = dict(read_ark(root / name / "trans.1"))
        assert sorted(transforms) == ["s0", "s1", "s2", "s3"]
        assert all(matrix.shape == (6, 7) for matrix in transforms.values())
        assert not reports[name].fallbacks
    assert adapted_gain(root / "tri3", root / "data") > 0.05


def adapted_gain(exp, data) -> float:
    """What the transforms add to the log-likelihood of a frame, the change of volume included."""
    model, front_end = AcousticModel.read(exp / "final.mdl"), FrontEnd.read(exp)
    transforms, gains = dict(read_ark(exp / "trans.1")), []
    feats, cmvn = Scp(data / "feats.scp"), Scp(data / "cmvn.scp")
    for utt, tids in read_alignments(exp).items():
        speaker = utt.split("-")[0]
        base = front_end.normalize(feats[utt], CmvnStats.from_matrix(cmvn[speaker]))
        plain, matrix = front_end.expand(base), transforms[speaker]
        columns = np.arange(len(tids)), model.transitions.tid_to_pdf[tids]
        plain_like, adapted_like = (
            model.gmms.log_likelihoods(x)[columns] for x in (plain, apply_affine(plain, matrix))
        )
        gains.append(np.mean(adapted_like - plain_like) + np.linalg.slogdet(matrix[:, :-1])[1])
    return float(np.mean(gains))


def test_speakers_with_little_speech_get_the_unit_transform(systems, tmp_path):
    root, _ = systems
    report = align_fmllr(
        root / "data", root / "lang", root / "tri3", tmp_path / "ali", fmllr_min_count=1e6
    )
    assert sorted(report.fallbacks) == ["s0", "s1", "s2", "s3"]
    assert "min_count" in report.fallbacks["s0"]
    for matrix in dict(read_ark(tmp_path / "ali/trans.1")).values():
        assert np.array_equal(matrix, np.eye(6, 7))
    assert "unit transform: s0" in (tmp_path / "ali/log/train.log").read_text()


def test_splits_do_not_matter(systems, tmp_path):
    root, reports = systems
    other = train_mono(root / "data", root / "lang", tmp_path / "mono", MONO, jobs=Jobs(nj=2))
    assert (tmp_path / "mono/num_jobs").read_text() == "2\n"
    assert np.allclose(other.log_likes, reports["mono"].log_likes, rtol=1e-5)
    one, two = (read_alignments(exp / "mono") for exp in (root, tmp_path))
    assert one.keys() == two.keys()
    assert np.mean([np.mean(one[utt] == two[utt]) for utt in one]) > 0.99


def test_the_same_seed_gives_the_same_files(systems, tmp_path):
    root, _ = systems
    train_mono(root / "data", root / "lang", tmp_path / "mono", MONO)
    for name in ("final.mdl", "ali.1.gz", "tree"):
        assert (tmp_path / "mono" / name).read_bytes() == (root / "mono" / name).read_bytes()


def test_what_cannot_be_used_is_named(systems, tmp_path):
    root, _ = systems
    data = DataDir(root / "data")
    feats = dict(Scp(root / "data/feats.scp"))
    feats["s0-u0"] = np.full_like(feats["s0-u0"], np.nan)
    feats["s0-u1"] = feats["s0-u1"][:7]
    del feats["s0-u2"]
    text = {**data.text, "s0-u3": ""}
    tables = {"text": text, "utt2spk": data.utt2spk}
    good = {utt: x for utt, x in feats.items() if utt != "s0-u0"}
    bad = write_data(tmp_path / "bad", tables, good)
    rewrite(bad, feats)  # the statistics know nothing of the NaN

    report = train_mono(bad, root / "lang", tmp_path / "mono", MONO)
    failed = report.alignment.failed
    assert sorted(failed) == ["s0-u0", "s0-u1", "s0-u2", "s0-u3"]
    assert "nan in frame 0" in failed["s0-u0"]
    assert "7 frames, its transcript takes" in failed["s0-u1"]
    assert failed["s0-u2"] == "has no features"
    assert failed["s0-u3"] == "has no transcript"
    assert read_alignments(tmp_path / "mono").keys() == data.text.keys() - failed.keys()
    listed = (tmp_path / "mono/log/failed").read_text().splitlines()
    assert [line.split()[0] for line in listed] == sorted(failed)


def test_words_that_the_lexicon_lacks(systems, tmp_path):
    root, _ = systems
    data = DataDir(root / "data")
    text = {**data.text, "s0-u0": "ba zz da add", "s0-u1": "zz ab ab yy"}
    folder = write_data(
        tmp_path / "data",
        {"text": text, "utt2spk": data.utt2spk},
        dict(Scp(root / "data/feats.scp")),
    )
    align(folder, root / "lang", root / "mono", tmp_path / "ali")
    log = (tmp_path / "ali/log/train.log").read_text()
    assert "3 words of the transcripts are not in the lexicon and count as <UNK>: zz, yy" in log
    lang = shutil.copytree(root / "lang", tmp_path / "lang")
    with open(lang / "words.txt", "a") as words:  # but L.fst does not know it
        words.write("zz 99\n")
    with pytest.raises(InputError, match=r"s0-u0: .*L\.fst: has no pronunciation of the word zz"):
        align(folder, lang, root / "mono", tmp_path / "ali")


def rewrite(folder, feats) -> None:
    """Replaces the features, whatever they are."""
    write_ark(folder / "feats.ark", sorted(feats.items()), folder / "feats.scp")


def test_careful_alignment_and_silence_boost_change_little_on_good_data(systems, tmp_path):
    root, _ = systems
    options = AlignOptions(careful=True, boost_silence=1.25)
    align(root / "data", root / "lang", root / "mono", tmp_path / "ali", options)
    assert spoken_phones(tmp_path / "ali") == spoken_phones(root / "mono")


def test_a_narrow_beam_is_retried_and_failures_are_listed(systems, tmp_path):
    root, _ = systems
    long = make_data(tmp_path / "data", speakers=1, utterances=6, words=30)
    # Hardly enough frames for 60 phones: the path that looks best is late in the end.
    rewrite(long, {utt: feats[:190] for utt, feats in Scp(long / "feats.scp").items()})
    narrow = AlignOptions(beam=0.01, retry_beam=5000.0)
    report = align(long, root / "lang", root / "mono", tmp_path / "a", narrow)
    assert len(report.alignment.retried) > 0
    assert (tmp_path / "a/log/retried").read_text().split() == sorted(report.alignment.retried)
    narrow = replace(narrow, retry_beam=0.0)
    with pytest.raises(InputError, match="no utterance could be aligned; the first: s0-u0"):
        align(long, root / "lang", root / "mono", tmp_path / "b", narrow)
    assert not (tmp_path / "b/final.mdl").exists()


def test_directories_that_do_not_fit_are_refused(systems, tmp_path):
    root, _ = systems
    data, lang = root / "data", root / "lang"
    with pytest.raises(InputError, match="fewer|cannot be split into 9 jobs"):
        train_mono(data, lang, tmp_path / "x", MONO, jobs=Jobs(nj=9))
    (tmp_path / "ali").mkdir()
    with pytest.raises(InputError, match=r"final\.mdl"):
        train_deltas(data, lang, tmp_path / "ali", tmp_path / "x")
    for name in ("final.mdl", "tree", "ali.1.gz", "num_jobs"):
        (tmp_path / "ali" / name).write_bytes((root / "mono" / name).read_bytes())
    (tmp_path / "ali/phones.txt").write_text("<eps> 0\nSIL 1\nX 2\n")
    with pytest.raises(InputError, match=r"ali/phones\.txt: has other phones"):
        train_deltas(data, lang, tmp_path / "ali", tmp_path / "x")
    with pytest.raises(InputError, match="from itself"):
        align(data, lang, root / "mono", root / "mono")
    assert (root / "mono/final.mdl").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        train_mono(tmp_path / "empty", lang, tmp_path / "x", MONO)


def test_a_new_run_removes_the_results_of_the_old_one(systems, tmp_path):
    root, _ = systems
    exp = tmp_path / "mono"
    train_mono(root / "data", root / "lang", exp, MONO)
    bad = FrontEnd(CmvnOptions(norm_means=False, norm_vars=True))
    with pytest.raises(InputError):
        train_mono(root / "data", root / "lang", exp, MONO, bad)
    assert not (exp / "final.mdl").exists() and not list(exp.glob("ali.*"))


def test_what_is_read_and_what_is_not_ours_stays(systems, tmp_path):
    root, _ = systems
    data, lang = root / "data", root / "lang"
    for place in (data, lang):
        with pytest.raises(InputError, match="cannot be made from itself"):
            train_mono(data, lang, place, MONO)
    assert (lang / "phones.txt").exists()
    for name in ("final.pdf", "notes.jsonl", "work"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="fewer|cannot be split into 9 jobs"):
        train_mono(data, lang, tmp_path, MONO, jobs=Jobs(nj=9))
    assert all((tmp_path / name).exists() for name in ("final.pdf", "notes.jsonl", "work"))


@pytest.mark.parametrize("train", [train_deltas, train_lda_mllt, train_sat])
def test_alignments_of_other_data(systems, tmp_path, train):
    root, _ = systems
    text, feats = DataDir(root / "data").text, Scp(root / "data/feats.scp")
    tables = {"text": {}, "utt2spk": {}}
    for utt in list(text)[:2]:
        tables["text"][f"t-{utt}"], tables["utt2spk"][f"t-{utt}"] = text[utt], f"t-{utt[:2]}"
    other = write_data(tmp_path / "other", tables, {f"t-{u}": feats[u] for u in list(text)[:2]})
    message = "other: no utterance has an alignment in .*tri3 that fits; the first: t-s0-u0: has no"
    with pytest.raises(InputError, match=message):
        train(other, root / "lang", root / "tri3", tmp_path / "x")
