"""Frame-level distillation: losses, teachers on line and stored, refusals."""

import numpy as np
import pytest
import tiny
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from kdspeech.acoustic import DistillConfig, Network, make_soft_labels, open_teachers
from kdspeech.acoustic.losses import kd_frame_loss
from kdspeech.acoustic.teachers import Windows
from kdspeech.cli.main import app
from kdspeech.data.frames import FrameBlock, FramePack
from kdspeech.distill import SoftLabelStore
from kdspeech.io.alignments import write_alignments
from kdspeech.io.errors import InputError
from kdspeech.losses import soft_cross_entropy, top_k_cross_entropy

OTHER = {"model": "DNN-H8-L2", "context": 2}  # a teacher that sees more


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Frames, alignments and two teachers."""
    root = tmp_path_factory.mktemp("kd")
    tiny.make(root)
    tiny.train(root, root / "a")
    tiny.train(root, root / "b", network=OTHER, train={"epochs": 2})
    return root


def settings(folder, **changes) -> DistillConfig:
    return DistillConfig(**{"teachers": (str(folder / "a"),), **changes})


def student(folder, name, distill: DistillConfig, **options) -> dict:
    options = {"train": {"epochs": 2}, **options}
    return tiny.train(folder, folder / name, distill=distill.model_dump(), **options)


def weights(exp) -> dict:
    return torch.load(exp / "final.pt", weights_only=True)["model"]


def same(one, two) -> bool:
    return all(torch.equal(value, weights(two)[key]) for key, value in weights(one).items())


def posteriors(exp, pack, temperature=1.0) -> np.ndarray:
    logits = np.concatenate([Network.read(exp).log_posteriors(pack[u]) for u in pack.utts])
    scaled = np.exp(logits / temperature)
    return scaled / scaled.sum(1, keepdims=True)


class Given:
    """A teacher with posteriors made up."""

    def __init__(self, probs):
        self.probs = torch.tensor(probs)

    def cross_entropy(self, logits, gathered):
        return soft_cross_entropy(logits, self.probs)


def loss_of(logits, pdfs, probs, **config) -> tuple[float, dict]:
    distill = DistillConfig(teachers=("t",), **config)
    batch = torch.tensor(logits), torch.tensor(pdfs), []
    loss, metrics = kd_frame_loss(lambda z: z, batch, Given(probs), distill)
    return loss.item(), {key: value.item() for key, value in metrics.items()}


def test_the_loss_by_hand():
    """y of the first frame is (1/4, 3/4), of the second (1/2, 1/2); the second has no pdf."""
    log = np.log
    logits, pdfs = [[0.0, log(3.0)], [1.0, 1.0]], [0, -1]
    probs = [[0.5, 0.5], [0.25, 0.75]]
    kd = -(0.5 * log(1 / 4) + 0.5 * log(3 / 4) + log(1 / 2)) / 2
    ce = -log(1 / 4) / 2  # by all frames
    for q in (0.0, 0.2):
        loss, metrics = loss_of(logits, pdfs, probs, q=q, temperature=3.0, soften_student=False)
        assert loss == pytest.approx(kd + q * ce, abs=1e-6)
        assert metrics == pytest.approx({"accuracy": 0.0, "kd": kd, "ce": ce}, abs=1e-6)
    half = np.exp([[0.0, log(3.0) / 2], [0.5, 0.5]])
    half /= half.sum(1, keepdims=True)
    softened = 4 * -(np.array(probs) * log(half)).sum(1).mean()
    loss, _ = loss_of(logits, pdfs, probs, temperature=2.0)
    assert loss == pytest.approx(softened, abs=1e-6)


def test_a_frame_without_pdf_has_the_teacher_alone():
    loss, metrics = loss_of([[0.0, 0.0]], [-1], [[0.5, 0.5]], q=7.0)
    assert loss == pytest.approx(np.log(2)) and metrics["ce"] == 0 and metrics["accuracy"] == 0


def test_targets_are_the_weighted_posteriors(folder):
    pack = FramePack(folder / "frames")
    both = {"teachers": (str(folder / "a"), str(folder / "b"))}
    positions = torch.randperm(len(pack.feats))[:50]
    for temperature in (1.0, 2.0):
        config = settings(folder, **both, weights=(3, 1), temperature=temperature)
        teachers = open_teachers(config, pack, folder / "ali")
        expected = sum(w * posteriors(folder / name, pack, temperature)
                       for w, name in ((0.75, "a"), (0.25, "b")))  # fmt: skip
        found = teachers.targets(teachers.gather(positions))
        np.testing.assert_allclose(found, expected[positions], atol=1e-6)
    low = open_teachers(config, pack, folder / "ali", bf16=True)
    found = low.targets(low.gather(positions))
    assert 0 < abs(found - expected[positions]).max() < 0.02
    flat = open_teachers(settings(folder, temperature=1e6), pack, folder / "ali")
    found = flat.targets(flat.gather(positions))
    np.testing.assert_allclose(found, 1 / found.shape[1], atol=1e-4)
    sharp = open_teachers(settings(folder, temperature=1e-4), pack, folder / "ali")
    found = sharp.targets(sharp.gather(positions))
    assert (found.amax(1) > 0.999).all()


def test_the_student_that_is_its_teacher_stays(folder):
    start = {"init": folder / "a", "train": {"epochs": 1, "batch_size": 64, "lr": 0.5}}
    result = student(folder, "stay", settings(folder), **start)
    for key, value in weights(folder / "a").items():
        torch.testing.assert_close(weights(folder / "stay")[key], value, atol=1e-5, rtol=0)
    student(folder, "moves", settings(folder, q=0.5), **start)
    moved = weights(folder / "moves")["output.bias"] - weights(folder / "a")["output.bias"]
    assert abs(moved).max() > 1e-2
    row = result["history"][0]
    assert row["dev_loss"] == row["dev_kd"] and row["dev_ce"] > 0


def test_bfloat16_trains_as_float32(folder):
    config = settings(folder, q=0.2)
    rows = [
        student(folder, f"p{precision}", config, train={"epochs": 2, "precision": precision})
        for precision in (32, "bf16")
    ]
    one, two = (row["history"][-1] for row in rows)
    assert one["dev_loss"] == pytest.approx(two["dev_loss"], rel=0.01)
    assert one["dev_accuracy"] == pytest.approx(two["dev_accuracy"], abs=2)
    assert one["dev_loss"] != two["dev_loss"]


def test_alignments_do_not_matter_without_q(folder, tmp_path):
    tids = tiny.make(tmp_path)
    write_alignments(tmp_path / "ali/ali.1.gz", {utt: t[::-1] for utt, t in tids.items()})
    student(folder, "q0", settings(folder))
    student(tmp_path, "q0", settings(folder))
    assert same(folder / "q0", tmp_path / "q0")
    student(folder, "q1", settings(folder, q=0.2))
    assert not same(folder / "q0", folder / "q1")


@pytest.mark.parametrize("top_k", [99, 4])
def test_stored_labels_train_as_those_on_line(folder, tmp_path, top_k):
    config = settings(folder, temperature=2.0, q=0.1)
    make_soft_labels(folder / "frames", config, tmp_path / "labels", top_k)
    stored = config.model_copy(update={"store": str(tmp_path / "labels")})
    pack = FramePack(folder / "frames")
    positions = torch.randperm(len(pack.feats))
    teachers = open_teachers(stored, pack, folder / "ali")
    gathered = teachers.gather(positions)
    expected = posteriors(folder / "a", pack, 2.0)[positions]
    logits = torch.randn(len(positions), teachers.num_pdfs)
    loss = teachers.cross_entropy(logits, gathered)
    if top_k == 99:
        online = soft_cross_entropy(logits, torch.tensor(expected))
        torch.testing.assert_close(loss, online, atol=2e-3, rtol=0)
        one = student(folder, "online", config)["history"]
        two = student(folder, "stored", stored)["history"]
        for key in ("train_loss", "dev_loss", "dev_ce", "dev_accuracy"):
            assert [r[key] for r in one] == pytest.approx([r[key] for r in two], abs=5e-3), key
        return
    best = np.argsort(-expected, axis=1)[:, :4]
    kept = np.take_along_axis(expected, best, axis=1)
    np.testing.assert_allclose(gathered[1].sum(1) + gathered[2], 1, atol=2e-3)
    np.testing.assert_allclose(gathered[2], 1 - kept.sum(1), atol=2e-3)
    given = torch.tensor(best), torch.tensor(kept), torch.tensor(1 - kept.sum(1))
    torch.testing.assert_close(loss, top_k_cross_entropy(logits, *given), atol=2e-3, rtol=0)


def test_a_store_serves_any_smaller_k(folder, tmp_path):
    pack, positions = FramePack(folder / "frames"), torch.arange(300)
    logits = torch.randn(len(positions), Network.read(folder / "a").num_pdfs)

    def loss(stored: int, top_k: int | None) -> float:
        path = tmp_path / f"of_{stored}"
        make_soft_labels(folder / "frames", settings(folder), path, stored)
        config = settings(folder, store=str(path), top_k=top_k)
        teachers = open_teachers(config, pack, folder / "ali")
        assert teachers.top_k == min(top_k or stored, teachers.num_pdfs)
        return teachers.cross_entropy(logits, teachers.gather(positions)).item()

    expected = loss(2, None)
    assert [loss(4, 2), loss(99, 2)] == pytest.approx([expected] * 2, abs=1e-3)
    assert abs(loss(4, None) - expected) > 1e-2
    assert loss(99, 99) == loss(99, None)
    with pytest.raises(InputError, match="of_4: has 4 of a frame, top_k is 5"):
        loss(4, 5)


def test_a_store_is_read_by_position_over_many_record_batches(folder, tmp_path, monkeypatch):
    pack = FramePack(folder / "frames")
    whole = make_soft_labels(folder / "frames", settings(folder), tmp_path / "one", 3)
    monkeypatch.setattr("kdspeech.acoustic.soft_labels._FRAMES", 100)
    parts = make_soft_labels(folder / "frames", settings(folder), tmp_path / "many", 3)
    assert len(parts._blocks) > 3 and parts.num_frames == len(pack.feats)
    numbers = np.random.default_rng(0).permutation(parts.num_frames)
    for one, two in zip(whole.frames(numbers), parts.frames(numbers), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (tmp_path / "one").stat().st_size < parts.num_frames * (4 * 3 + 2) + 5000


def test_a_training_with_a_store_that_was_killed_ends_the_same(folder, tmp_path, monkeypatch):
    make_soft_labels(folder / "frames", settings(folder), tmp_path / "labels", 4)
    config = settings(folder, store=str(tmp_path / "labels"), q=0.2, unlabelled=True)
    student(folder, "whole", config)
    calls = []

    def killed(*args, **options):
        calls.append(1)
        if len(calls) > 14:
            raise KeyboardInterrupt
        return kd_frame_loss(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("kdspeech.acoustic.train.kd_frame_loss", killed)
        student(folder, "killed", config)
    assert not (folder / "killed/final.pt").exists()
    student(folder, "killed", config)
    assert same(folder / "whole", folder / "killed")
    with pytest.raises(InputError, match="distill.q was 0.2, is 0.3"):
        student(folder, "killed", config.model_copy(update={"q": 0.3}))
    with pytest.raises(InputError, match="rest was one class, is not set; .*top_k was 4, is None"):
        student(folder, "killed", config.model_copy(update={"store": None}))


def test_utterances_without_alignment_are_learnt_on_request(folder, tmp_path):
    tids = tiny.make(tmp_path)
    unlabelled = [utt for utt in sorted(tids) if int(utt.split("u")[1]) > 5]
    kept = {utt: t for utt, t in tids.items() if utt not in unlabelled}
    write_alignments(tmp_path / "ali/ali.1.gz", {**kept, "none": tids["s1-u1"]})
    config, options = settings(folder, q=0.5), {"train": {"epochs": 1, "batch_size": 16}}
    less = student(tmp_path, "less", config, **options)
    more = student(tmp_path, "more", config.model_copy(update={"unlabelled": True}), **options)
    assert set(less["left_out"]) == {*unlabelled, "none"} and set(more["left_out"]) == {"none"}
    assert more["steps"] > 1.5 * less["steps"]
    pack = FramePack(tmp_path / "frames")  # one whole speaker is held out
    steps = [sum(len(pack[u]) for u in pack.utts if u[:2] != s) // 16 for s in set(pack.speakers)]
    assert more["steps"] in steps
    priors = Network.read(tmp_path / "more").priors
    np.testing.assert_array_equal(priors, Network.read(tmp_path / "less").priors)


def test_a_teacher_with_features_of_its_own(folder, tmp_path):
    pack = FramePack(folder / "frames")
    wide = {utt: np.hstack([pack[utt], -pack[utt]]) for utt in reversed(pack.utts)}
    wide["more"] = wide[pack.utts[0]]
    tiny.write_pack(tmp_path / "frames", wide)
    tiny.train(tmp_path, tmp_path / "wide", ali=folder / "ali", train={"epochs": 1})
    theirs = FramePack(tmp_path / "frames")
    expected = np.concatenate(
        [Network.read(tmp_path / "wide").log_posteriors(theirs[utt]) for utt in pack.utts]
    )
    config = DistillConfig(
        teachers=(str(folder / "a"), str(tmp_path / "wide")),
        frames=(None, str(tmp_path / "frames")),
        weights=(1e-9, 1),
    )
    teachers = open_teachers(config, pack, folder / "ali")
    found = teachers.targets(teachers.gather(torch.arange(len(pack.feats))))
    np.testing.assert_allclose(found, np.exp(expected), atol=1e-6)
    with pytest.raises(InputError, match=r"wide: takes frames of 6 values, .* of 3 values"):
        open_teachers(settings(folder, teachers=(str(tmp_path / "wide"),)), pack, folder / "ali")
    del wide[pack.utts[3]]
    tiny.write_pack(tmp_path / "frames", wide)
    with pytest.raises(InputError, match=f"has no {pack.utts[3]}, which is in"):
        open_teachers(config, pack, folder / "ali")
    wide[pack.utts[3]] = wide["more"][:-1]
    tiny.write_pack(tmp_path / "frames", wide)
    with pytest.raises(InputError, match=rf"{pack.utts[3]} has \d+ frames, \d+ in"):
        open_teachers(config, pack, folder / "ali")


@pytest.mark.parametrize("context", [0, 3])
def test_windows_are_those_of_a_block(folder, context):
    pack = FramePack(folder / "frames")
    block = FrameBlock(pack, np.array([5, 0, 3]), context)
    found = Windows(pack, pack, context).at(block.positions)
    np.testing.assert_array_equal(found, block.spliced(slice(None)))


def other_tree(folder, path):
    """The teacher as if of another tree."""
    (path / "t").mkdir()
    for file in (folder / "a").iterdir():
        (path / "t" / file.name).write_bytes(file.read_bytes())
    (path / "t/tree").write_bytes(b"other")
    return path / "t"


def test_a_teacher_of_another_tree(folder, tmp_path):
    other, pack = other_tree(folder, tmp_path), FramePack(folder / "frames")
    with pytest.raises(InputError, match="t: has another tree than .*ali, with as many pdfs"):
        open_teachers(settings(folder, teachers=(str(other),)), pack, folder / "ali")
    two = settings(folder, teachers=(str(folder / "a"), str(other)))
    with pytest.raises(InputError, match="t: has another tree than .*/a, with as many pdfs"):
        make_soft_labels(folder / "frames", two, tmp_path / "labels")
    with pytest.raises(InputError, match="t: has another tree"):
        tiny.train(folder, tmp_path / "exp", init=other)
    with pytest.raises(InputError, match="none/final.mdl"):
        open_teachers(settings(folder, teachers=("none",)), pack, folder / "ali")


def test_a_store_of_something_else_is_refused_by_name(folder, tmp_path):
    pack = FramePack(folder / "frames")
    path = tmp_path / "labels"
    make_soft_labels(folder / "frames", settings(folder), path, 4)

    def refused(name, pack=pack, reference=folder / "ali", **changes):
        with pytest.raises(InputError, match=f"labels: made with another {name} "):
            open_teachers(settings(folder, store=str(path), **changes), pack, reference)

    refused("teacher", teachers=(str(folder / "b"),))
    refused("temperature", temperature=2.0)
    refused("teacher", teachers=(str(folder / "a"), str(folder / "b")))
    other = other_tree(folder, tmp_path)
    refused("tree", reference=other, teachers=(str(other),))
    changed = {utt: pack[utt] + np.float32(1e-3) for utt in pack.utts}
    tiny.write_pack(tmp_path / "frames", changed)
    refused("pack", pack=FramePack(tmp_path / "frames"))
    two = {"teachers": (str(folder / "a"), str(folder / "b"))}
    make_soft_labels(folder / "frames", settings(folder, **two), path, 4)
    refused("weighting", **two, weights=(1, 2))


def test_the_first_network_is_of_the_same_kind(folder):
    with pytest.raises(InputError, match="b: cannot .*model is DNN-H8-L2 there, HDNN-H8-L3 here; "
                       "context is 2 there, 1 here"):  # fmt: skip
        tiny.train(folder, folder / "from_b", init=folder / "b")


def test_settings_that_do_not_fit():
    with pytest.raises(ValidationError, match="2 weights for 1 teachers"):
        DistillConfig(teachers=("a",), weights=(1, 1))
    with pytest.raises(ValidationError, match="need teachers"):
        DistillConfig(unlabelled=True)
    with pytest.raises(ValidationError, match="top_k needs a store"):
        DistillConfig(teachers=("a",), top_k=5)
    for wrong in ({"q": -1}, {"temperature": 0}, {"weights": (0,)}):
        with pytest.raises(ValidationError):
            DistillConfig(teachers=("a",), **wrong)


def test_the_commands(folder, tmp_path):
    def kds(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    command = ["make-soft-labels", folder / "frames", folder / "a", folder / "b"]
    result = kds(*command, tmp_path / "labels", "--top-k", 3, "--weights", "0.75,0.25")
    assert result.exit_code == 0, result.output
    assert "546 frames, 3 of 11 pdfs each" in result.output
    store = SoftLabelStore(tmp_path / "labels")
    assert store.made_from["weighting"] == "0.75, 0.25"
    (tmp_path / "dnn.yaml").write_text(
        "network: {model: HDNN-H8-L3, context: 1}\n"
        "train: {epochs: 1, batch_size: 32, tensorboard: false}\ncv_fraction: 0.25\n"
    )
    train = ["train-dnn", folder / "frames", folder / "ali", tmp_path / "exp"]
    options = ["--config", tmp_path / "dnn.yaml", "--init", folder / "a"]
    for value in (f"teachers=[{folder / 'a'},{folder / 'b'}]", "weights=[3,1]",
                  f"store={tmp_path / 'labels'}"):  # fmt: skip
        options += ["--set", f"distill.{value}"]
    result = kds(*train, *options)
    assert result.exit_code == 0, result.output
    assert "best epoch 1 of 1" in result.output
    result = kds(*command, tmp_path / "labels", "--weights", "1")
    assert result.exit_code == 1 and "1 weights for 2 teachers" in result.output
