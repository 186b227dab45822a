import gzip
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from lattices_by_hand import parallel

from kdspeech.decode import read_lattices, score_decode_dir, write_lattices
from kdspeech.decode.score import read_score, read_setting
from kdspeech.decode.sweep import GIVEN, Setting, best_paths
from kdspeech.decode.wer import drop_words
from kdspeech.io.errors import InputError

WORDS = {1: "a", 2: "b", 3: "c", 4: "<UNK>"}
# The first path is shorter and acoustically worse: best at large scales and penalties.
LATTICES = {
    "s1-1": parallel(([1], 1.0, 20.0), ([1, 2], 2.05, 10.0)),
    "s1-2": parallel(([3], 1.0, 5.0)),
    "s2-1": parallel(([2, 4], 1.0, 5.0)),
}
TEXT = "s1-1 a\ns1-2 a\ns2-1 b c\n"


@pytest.fixture
def folders(tmp_path):
    """data, graph and decode."""
    data, graph, decode = (tmp_path / name for name in ("data", "graph", "exp/tri/decode"))
    for folder in (data, graph, decode):
        folder.mkdir(parents=True)
    (data / "text").write_text(TEXT)
    (data / "utt2spk").write_text("s1-1 s1\ns1-2 s1\ns2-1 s2\n")
    (graph / "words.txt").write_text("<eps> 0\na 1\nb 2\nc 3\n<UNK> 4\n")
    pairs = list(LATTICES.items())
    write_lattices(decode / "lat.1.gz", pairs[:2])
    write_lattices(decode / "lat.2.gz", pairs[2:])
    return data, graph, decode


def test_scale_and_penalty_choose_the_path():
    """lm_scale s: graph + acoustic / s + penalty per word: equal at s = 9.5 without a penalty."""
    settings = [Setting(9, 0.0), Setting(11, 0.0), Setting(9, 0.5)]
    found = best_paths(LATTICES.items(), WORDS, settings)
    assert [found[setting]["s1-1"] for setting in settings] == [["a", "b"], ["a"], ["a"]]


def test_files_in_kaldis_places(folders):
    decode = folders[2]
    sweep = score_decode_dir(*folders)
    assert sweep.chosen == sweep.best == Setting(10, 0.0)
    lines = (decode / "wer_9_0.0").read_text().splitlines()
    assert lines == [
        "%WER 75.00 [ 3 / 4, 1 ins, 0 del, 2 sub ]",
        "%SER 100.00 [ 3 / 3 ]",
        "Scored 3 sentences, 0 not present in hyp.",
    ]
    assert len(list(decode.glob("wer_*"))) == 57
    kaldi = decode / "scoring_kaldi"
    best = (kaldi / "best_wer").read_text()
    assert best == f"%WER 50.00 [ 2 / 4, 0 ins, 0 del, 2 sub ] {decode / 'wer_10_0.0'}\n"
    assert (kaldi / "test_filt.txt").read_text() == TEXT
    assert (kaldi / "penalty_0.0/9.txt").read_text() == "s1-1 a b\ns1-2 c\ns2-1 b <UNK>\n"
    assert (kaldi / "wer_details/per_utt").read_text() == (
        "s1-1 ref  a\ns1-1 hyp  a\ns1-1 op   C\ns1-1 #csid 1 0 0 0\n"
        "s1-2 ref  a\ns1-2 hyp  c\ns1-2 op   S\ns1-2 #csid 0 1 0 0\n"
        "s2-1 ref  b  c\ns2-1 hyp  b  <UNK>\ns2-1 op   C  S\ns2-1 #csid 1 1 0 0\n"
    )
    rows = [line.split() for line in (kaldi / "wer_details/per_spk").read_text().splitlines()]
    assert rows[1] == ["s1", "raw", "2", "2", "1", "1", "0", "0", "1", "1"]
    assert rows[2] == ["s1", "sys", "2", "2", "50.00", "50.00", "0.00", "0.00", "50.00", "50.00"]
    assert rows[-1] == ["SUM", "sys", "3", "4", "50.00", "50.00", "0.00", "0.00", "50.00", "66.67"]
    operations = [line.split() for line in (kaldi / "wer_details/ops").read_text().splitlines()]
    assert ["substitution", "a", "c", "1"] in operations and [
        "correct",
        "b",
        "b",
        "1",
    ] in operations


def test_an_older_sweeps_files_are_removed(folders):
    decode = folders[2]
    score_decode_dir(*folders, scales=[9, 10], penalties=[-0.5, 0.0])
    assert len(list(decode.glob("wer_*"))) == 4
    score_decode_dir(*folders, scales=[9], penalties=[0.0])
    assert [path.name for path in decode.glob("wer_*")] == ["wer_9_0.0"]


def test_the_setting_of_dev_is_applied_to_test(folders, tmp_path):
    data, graph, decode = folders
    (data / "text").write_text(TEXT.replace("s1-1 a", "s1-1 a b"))
    assert score_decode_dir(*folders).chosen == Setting(7, 0.0)
    test = tmp_path / "exp/tri/decode_test"
    test.mkdir()
    (test / "lat.1.gz").write_bytes((decode / "lat.1.gz").read_bytes())
    (data / "text").write_text("s1-1 a\ns1-2 a\n")
    sweep = score_decode_dir(data, graph, test, tuned_on=decode, scales=[10, 11])
    assert sweep.chosen == Setting(7, 0.0) and sweep.best == Setting(10, 0.0)
    assert sweep.score.wer == 100 and sweep.scores[sweep.best].wer == 50
    assert read_setting(test) == Setting(7, 0.0)
    assert "hyp  a  b\n" in (test / "scoring_kaldi/wer_details/per_utt").read_text()


def test_a_setting_may_be_given_where_there_is_no_dev(folders):
    (folders[0] / "text").write_text("s1-1 a\ns1-2 a\n")
    sweep = score_decode_dir(*folders, tuned_on=Setting(7, 0.0), scales=[10, 11])
    assert sweep.chosen == Setting(7, 0.0) and sweep.tuned_on == GIVEN
    assert sweep.best == Setting(10, 0.0) and read_setting(folders[2]) == Setting(7, 0.0)


def test_scores_are_read_back_and_older_files_go(folders):
    first = score_decode_dir(*folders)
    (folders[2] / "wer_note").write_text("mine")
    second = score_decode_dir(*folders, scales=[12.5], penalties=[0.25])
    names = sorted(path.name for path in folders[2].glob("wer_*"))
    assert names == ["wer_12.5_0.25", "wer_note"]
    assert read_setting(folders[2]) == second.chosen == Setting(12.5, 0.25)
    back = read_score(folders[2])
    assert back.total == second.score.total and back.refs == first.score.refs


def test_missing_and_empty_lattices(folders):
    data, graph, decode = folders
    (data / "text").write_text("s1-1 a\ns1-2 a\ns1-3 a b\ns2-1\n")
    (data / "utt2spk").write_text("s1-1 s1\ns1-2 s1\ns1-3 s1\ns2-1 s2\n")
    sweep = score_decode_dir(*folders, normalise=drop_words(["<UNK>"]))
    assert sweep.score.missing == ["s1-3"] and sweep.score.total.deleted == 2
    assert sweep.score.hyps[-1] == ["b"]
    hypotheses = (decode / "scoring_kaldi/penalty_0.0/12.txt").read_text()
    assert hypotheses == "s1-1 a\ns1-2 c\ns2-1 b\n"
    assert read_score(decode).missing == ["s1-3"]
    details = (decode / "scoring_kaldi/wer_details/per_utt").read_text()
    assert "s1-3 hyp  ***  ***\ns1-3 op   D    D\n" in details
    assert "s2-1 ref  ***\ns2-1 hyp  b\ns2-1 op   I\n" in details


def test_an_utterance_without_any_word(folders):
    (folders[0] / "text").write_text("s1-1 a\ns1-2 a\ns2-1\n")
    score_decode_dir(*folders, normalise=drop_words(["<UNK>", "b"]))
    details = (folders[2] / "scoring_kaldi/wer_details/per_utt").read_text()
    assert details.endswith("s2-1 ref\ns2-1 hyp\ns2-1 op\ns2-1 #csid 0 0 0 0\n")


def test_without_speakers_every_utterance_is_one(folders):
    (folders[0] / "utt2spk").unlink()
    assert len(score_decode_dir(*folders).utt2spk) == 3


@pytest.mark.parametrize(
    "spoil,message",
    [
        (lambda data, *_: (data / "text").unlink(), "data: has no text"),
        (lambda data, *_: (data / "text").write_text("other a\n"), "no utterance in common"),
        (lambda _, graph, __: (graph / "words.txt").unlink(), "words.txt: cannot be read"),
        (
            lambda _, graph, __: (graph / "words.txt").write_text("<eps> 0\na 1\nb 2\nc 3\n"),
            "s2-1: its lattice has the word 4, which words.txt lacks",
        ),
        (lambda *args: [p.unlink() for p in args[2].glob("lat.*")], "decode: no lattices"),
        (lambda *args: (args[2] / "lat.2.gz").write_bytes(b"junk"), "lat.2.gz: cannot be read"),
    ],
)
def test_what_is_missing_is_named(folders, spoil, message):
    spoil(*folders)
    with pytest.raises(InputError, match=message):
        score_decode_dir(*folders)
    assert not (folders[2] / "scoring_kaldi").exists()


def test_a_dev_set_that_was_not_scored(folders, tmp_path):
    with pytest.raises(InputError, match="lmwt: no such file .score .* first"):
        score_decode_dir(*folders, tuned_on=tmp_path)
    details = tmp_path / "scoring_kaldi/wer_details"
    details.mkdir(parents=True)
    (details / "lmwt").write_text("many")
    with pytest.raises(InputError, match="lmwt or wip is damaged"):
        score_decode_dir(*folders, tuned_on=tmp_path)


@pytest.mark.parametrize("scales,penalties", [([0], [0.0]), ([], [0.0]), ([7], [])])
def test_settings_that_are_none(folders, scales, penalties):
    with pytest.raises(InputError, match="LM scales"):
        score_decode_dir(*folders, scales=scales, penalties=penalties)


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
def test_kaldis_lattices_at_kaldis_scales(golden, tmp_path, system):
    """LM scales 10 and 12 are the acoustic scales 0.1 and 0.0833 of Kaldi's lattice-1best."""
    folder = golden / "lattice"
    results = json.loads((folder / "results.json").read_text())
    cases = json.loads((golden / "cases.json").read_text())["lattice"]["utterances"]
    (tmp_path / "lat.1").write_bytes(
        gzip.decompress((folder / f"det.{system}.lat.txt.gz").read_bytes())
    )
    text = {utt: " ".join(case["reference"]) for utt, case in cases.items()}
    (tmp_path / "text").write_text("".join(f"{utt} {text[utt]}\n" for utt in sorted(text)))
    sweep = score_decode_dir(tmp_path, folder, tmp_path)
    for scale, name in ((10, "0.1000"), (12, "0.0833")):
        want = results[f"{system}_1best_a{name}"]
        found = sweep.scores[Setting(scale, 0.0)].hypotheses
        assert found == {utterance: path["text"] for utterance, path in want.items()}
    utterances = {utterance for utterance, _ in read_lattices(tmp_path / "lat.1")}
    assert set(sweep.score.hypotheses) == utterances
