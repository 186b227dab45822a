"""A directory of Kaldi's is checked and adopted."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.hmm import AcousticModel
from kdspeech.hmm.import_kaldi import check_kaldi, import_kaldi
from kdspeech.io.alignments import read_alignments, write_alignments
from kdspeech.io.ark import write_ark
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import write_kaldi_matrix
from kdspeech.io.tables import write_table

pytestmark = pytest.mark.golden


@pytest.fixture
def exp(golden, tmp_path):
    """exp/tri3b_ali as Kaldi leaves it: its models, alignments and transforms in two jobs."""
    models, arrays = golden / "gmm" / "models", np.load(golden / "gmm" / "gmm.npz")
    exp = tmp_path / "tri3b_ali"
    exp.mkdir()
    for source, name in (
        ("tri3b.mdl", "35.mdl"), ("tri3b.tree", "tree"), ("tri3b.final.mat", "final.mat"),
        ("phones.txt", "phones.txt"),
    ):  # fmt: skip
        shutil.copy(models / source, exp / name)
    (exp / "final.mdl").symlink_to("35.mdl")
    (exp / "num_jobs").write_text("2\n")
    (exp / "cmvn_opts").write_text("\n")
    (exp / "splice_opts").write_text("--left-context=3 --right-context=3\n")
    alignments = {
        key.split("/")[-1]: arrays[key] for key in arrays.files if key.startswith("ali_tid/tri3b/")
    }
    for job, keep in (("1", "george"), ("2", "")):
        part = {u: a for u, a in alignments.items() if (u.startswith("george")) == bool(keep)}
        write_alignments(exp / f"ali.{job}.gz", part, binary=job == "1")
    transforms = {s: arrays[f"fmllr_full/{s}"] for s in ("george", "jackson", "theo")}
    write_ark(exp / "trans.1", [("george", transforms["george"])])
    write_ark(exp / "trans.2", [(s, transforms[s]) for s in ("jackson", "theo")])
    return exp


@pytest.fixture
def lang(golden, tmp_path):
    lang = tmp_path / "lang"
    lang.mkdir()
    for name in ("topo", "phones.txt"):
        shutil.copy(golden / "gmm" / "models" / name, lang / name)
    return lang


def test_adopted(exp, lang, tmp_path):
    out = tmp_path / "out"
    found = import_kaldi(exp, out, lang)
    assert found.facts["final.mdl"].startswith("90 phones, 1364 transition ids, 152 pdfs, 2004 G")
    assert found.facts["ali"].startswith("2 files, 60 utterances, ")
    assert found.facts["trans"] == "2 files, 3 speakers"
    assert found.facts["features"] == "7 frames spliced, final.mat 40 x 91"
    assert AcousticModel.read(out / "final.mdl").gmms.num_gaussians == 2004
    assert not (out / "final.mdl").is_symlink() and not (out / "35.mdl").exists()
    before, after = read_alignments(exp), read_alignments(out)
    assert before.keys() == after.keys()
    for name in ("tree", "final.mat", "splice_opts", "trans.2", "phones.txt", "num_jobs"):
        assert (out / name).read_bytes() == (exp / name).read_bytes()


def test_command(exp, tmp_path):
    result = CliRunner().invoke(app, ["import-kaldi", str(exp), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "2 files, 3 speakers" in result.output and (tmp_path / "out" / "tree").exists()
    (exp / "tree").unlink()
    result = CliRunner().invoke(app, ["import-kaldi", str(exp), str(tmp_path / "bad")])
    assert result.exit_code == 1 and not (tmp_path / "bad").exists()


def break_tree(exp, golden):
    shutil.copy(golden / "gmm" / "models" / "tri2b.tree", exp / "tree")


def break_pdfs(exp, golden):
    shutil.copy(golden / "gmm" / "models" / "mono.tree", exp / "tree")


def break_matrix(exp, golden):
    write_kaldi_matrix(exp / "final.mat", np.ones((39, 91)))


def break_splicing(exp, golden):
    (exp / "splice_opts").write_text("--left-context=4 --right-context=3\n")


def break_options(exp, golden):
    (exp / "cmvn_opts").write_text("--norm-meens=true\n")


def break_alignment(exp, golden):
    write_alignments(exp / "ali.2.gz", {"x": np.array([1, 5000])})


def break_jobs(exp, golden):
    (exp / "ali.1.gz").unlink()


def break_archive(exp, golden):
    (exp / "ali.1.gz").write_bytes((exp / "ali.1.gz").read_bytes()[:-20])


def break_transforms(exp, golden):
    write_ark(exp / "trans.1", [("george", np.eye(39, 40, dtype=np.float32))])


def break_transform_values(exp, golden):
    write_ark(exp / "trans.1", [("george", np.full((40, 41), np.nan, np.float32))])


def break_speakers(exp, golden):
    shutil.copy(exp / "trans.2", exp / "trans.1")


def break_phones(exp, golden):
    (exp / "phones.txt").write_text("<eps> 0\nSIL 1\n")


def break_second_model(exp, golden):
    shutil.copy(golden / "gmm" / "models" / "tri2b.mdl", exp / "final.alimdl")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_tree, "final.mdl was not made with this tree"),
        (break_pdfs, "the tree has 70 pdfs, final.mdl 152"),
        (break_matrix, "39 rows, final.mdl has dimension 40"),
        (break_splicing, "91 columns are not 8 spliced frames"),
        (break_options, "cmvn_opts: .*norm_meens"),
        (break_alignment, "x: transition id 5000 is not in 1..1364"),
        (break_jobs, "num_jobs says 2, there are 1"),
        (break_archive, "ali.1.gz: truncated"),
        (break_transforms, r"george: shape \(39, 40\), 40 x 41 expected"),
        (break_transform_values, "george: holds NaN"),
        (break_speakers, "jackson: comes twice"),
        (break_phones, "has no phone 2 of final.mdl"),
        (break_second_model, "its transition states are not those"),
    ],
)
def test_problems_are_found(exp, golden, tmp_path, damage, message):
    damage(exp, golden)
    with pytest.raises(InputError, match=message):
        import_kaldi(exp, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_problems_are_listed(exp, golden):
    break_alignment(exp, golden)
    break_matrix(exp, golden)
    break_phones(exp, golden)
    assert len(check_kaldi(exp).problems) == 3


def test_other_lang(exp, lang, tmp_path):
    (lang / "topo").write_text(
        (lang / "topo").read_text().replace("0.75", "0.5").replace("0.25 <", "0.5 <")
    )
    with pytest.raises(InputError, match="topo: "):
        import_kaldi(exp, lang=lang)
    assert check_kaldi(tmp_path / "none").problems == [f"{tmp_path / 'none'}: no such directory"]


@pytest.fixture
def data(golden, tmp_path):
    """The data directory of the alignments: MFCC of 13 coefficients."""
    arrays, data = np.load(golden / "gmm" / "gmm.npz"), tmp_path / "train"
    names = sorted(key.split("/")[1] for key in arrays.files if key.startswith("mfcc/"))
    write_ark(
        data / "feats.ark", [(name, arrays[f"mfcc/{name}"]) for name in names], data / "feats.scp"
    )
    write_table(data / "utt2spk", {name: name.split("_")[0] for name in names})
    write_table(data / "utt2num_frames", {name: str(len(arrays[f"mfcc/{name}"])) for name in names})
    return data


def test_data_of_the_alignments(exp, data):
    assert import_kaldi(exp, data=data).facts["data"] == "60 of 60 utterances are aligned"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("utt2num_frames", "george_0_11 44", "george_0_11 45", "george_0_11 has 45 frames, .* 44"),
        ("utt2spk", "george_0_11 george\n", "", "has no utterance george_0_11"),
        ("utt2spk", "theo_9_32 theo", "theo_9_32 tim", "no transform for speaker tim"),
    ],
)
def test_other_data(exp, data, name, old, new, message):
    (data / name).write_text((data / name).read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        import_kaldi(exp, data=data)


def test_data_of_another_dimension(exp, data):
    write_ark(
        data / "feats.ark", [("george_0_11", np.ones((44, 12), np.float32))], data / "feats.scp"
    )
    with pytest.raises(InputError, match="features of dimension 12; .* was made with 13"):
        import_kaldi(exp, data=data)


def test_only_imports_are_replaced(exp, tmp_path):
    for _ in range(2):
        import_kaldi(exp, tmp_path / "out")
    with pytest.raises(InputError, match="tri3b_ali: cannot be made from itself"):
        import_kaldi(exp, exp)
    (tmp_path / "out/graph").mkdir()
    with pytest.raises(InputError, match="out: holds something else .*, graph; choose"):
        import_kaldi(exp, tmp_path / "out")
    assert (tmp_path / "out/graph").exists()
