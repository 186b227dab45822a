import json

import numpy as np
import pytest
import torch
import torchaudio.functional

from kdspeech.features import (
    CmvnStats,
    add_deltas,
    apply_affine,
    compose_transforms,
    energy_vad,
    sliding_cmvn,
    speaker_cmvn,
    splice,
)
from kdspeech.io.errors import InputError

FUNCTIONS = [
    add_deltas,
    splice,
    sliding_cmvn,
    energy_vad,
    lambda features: CmvnStats.of(features).apply(features, norm_vars=True),
    lambda features: apply_affine(features, np.eye(3, 4)),
]


def random_features(frames, dim, seed=0):
    return np.random.default_rng(seed).normal(3, 10, (frames, dim)).astype(np.float32)


# Kaldi's outputs. Each tool below gives one array per output of a case.


def kaldi_options(case):
    values = {"true": True, "false": False}
    options = {name.replace("-", "_"): value for name, value in case["options"].items()}
    return {name: values.get(value, value) for name, value in options.items()}


def numbers(case):
    return {name: float(value) for name, value in kaldi_options(case).items()}


def speaker(case_input):
    return case_input.removeprefix("in/").split("-")[0]


def run_cmvn_stats(case, arrays):
    inputs = {name: arrays[name] for name in case["inputs"]}
    if case["id"] == "cmvn_stats_global":
        return [CmvnStats.of(*inputs.values()).matrix]
    names = {name: name.removeprefix("in/") for name in inputs}
    if case["id"] == "cmvn_stats_spk":
        names = {name: speaker(name) for name in inputs}
    stats = speaker_cmvn(inputs, names)
    return [stats[output.split("/", 1)[1]].matrix for output in case["outputs"]]


def run_apply_cmvn(case, arrays):
    options = kaldi_options(case)
    if "skip_dims" in options:
        options["skip_dims"] = [int(dim) for dim in options["skip_dims"].split(":")]
    results = []
    for name in case["inputs"]:
        key = case["stats"].replace("<speaker>", speaker(name))
        stats = arrays[key.replace("<utterance>", name.removeprefix("in/"))]
        results.append(CmvnStats.from_matrix(stats).apply(arrays[name], **options))
    return results


def run_transform(case, arrays):
    return [
        apply_affine(arrays[name], arrays[case["matrix"].replace("<speaker>", speaker(name))])
        for name in case["inputs"]
    ]


def run_compose(case, arrays):
    return [compose_transforms(*(arrays[name] for name in case["inputs"]), b_is_affine=True)]


def each(function, options):
    return lambda case, arrays: [function(arrays[name], **options(case)) for name in case["inputs"]]


TOOLS = {
    "add-deltas": each(add_deltas, kaldi_options),
    "splice-feats": each(splice, kaldi_options),
    "apply-cmvn-sliding": each(sliding_cmvn, kaldi_options),
    "compute-vad": each(energy_vad, numbers),
    "compute-cmvn-stats": run_cmvn_stats,
    "apply-cmvn": run_apply_cmvn,
    "transform-feats": run_transform,
    "compose-transforms": run_compose,
}


@pytest.mark.golden
def test_equals_kaldi(golden):
    cases = json.loads((golden / "cases.json").read_text())["post"]["cases"]
    arrays = dict(np.load(golden / "post" / "post.npz"))
    assert len(cases) == 34
    for case in cases:
        results = TOOLS[case["tool"]](case, arrays)
        for name, result in zip(case["outputs"], results, strict=True):
            expected = arrays[name]
            assert result.shape == expected.shape, case["id"]
            atol = 1e-5 if case["tool"] != "compute-cmvn-stats" else 0
            np.testing.assert_allclose(result, expected, rtol=1e-6, atol=atol, err_msg=name)


@pytest.mark.golden
def test_equals_kaldi_exactly_where_nothing_is_computed(golden):
    cases = json.loads((golden / "cases.json").read_text())["post"]["cases"]
    arrays = dict(np.load(golden / "post" / "post.npz"))
    for case in cases:
        if case["tool"] in ("splice-feats", "compute-vad"):
            for name, result in zip(
                case["outputs"], TOOLS[case["tool"]](case, arrays), strict=True
            ):
                np.testing.assert_array_equal(result, arrays[name])


# Other libraries and definitions.


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("frames", [1, 2, 3, 50])
def test_first_delta_equals_torchaudio(window, frames):
    features = random_features(frames, 5)
    ours = add_deltas(features, 1, window)
    theirs = torchaudio.functional.compute_deltas(
        torch.from_numpy(features.T.copy()), 2 * window + 1
    )
    np.testing.assert_array_equal(ours[:, :5], features)
    np.testing.assert_allclose(ours[:, 5:], theirs.numpy().T, rtol=0, atol=1e-5)


def test_second_delta_is_the_filter_applied_twice():
    features = np.zeros((11, 1), np.float32)
    features[5] = 1
    expected = np.convolve([0.2, 0.1, 0, -0.1, -0.2], [0.2, 0.1, 0, -0.1, -0.2])
    np.testing.assert_allclose(add_deltas(features)[1:10, 2], expected, atol=1e-7)
    np.testing.assert_array_equal(add_deltas(features, 0), features)


def test_truncate():
    features = random_features(7, 5)
    np.testing.assert_array_equal(add_deltas(features, truncate=2), add_deltas(features[:, :2]))


def test_splice_by_hand():
    features = np.array([[1, 10], [2, 20], [3, 30]], np.float32)
    expected = [[1, 10, 1, 10, 2, 20], [1, 10, 2, 20, 3, 30], [2, 20, 3, 30, 3, 30]]
    np.testing.assert_array_equal(splice(features, 1, 1), expected)
    np.testing.assert_array_equal(splice(features, 0, 0), features)
    assert splice(features).shape == (3, 18)


@pytest.mark.parametrize("norm_vars", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("frames", "window"), [(1, 5), (4, 5), (90, 20), (90, 31), (50, 600)])
def test_sliding_cmvn_equals_torchaudio(norm_vars, center, frames, window):
    features = random_features(frames, 4)
    shortest = min(window, 10)
    ours = sliding_cmvn(features, window, shortest, norm_vars, center)
    theirs = torchaudio.functional.sliding_window_cmn(
        torch.from_numpy(features).double(), window, shortest, center, norm_vars
    )
    np.testing.assert_allclose(ours, theirs.numpy().reshape(ours.shape), rtol=0, atol=2e-5)


def test_sliding_cmvn_of_a_constant_is_zero():
    features = np.full((40, 3), 7, np.float32)
    np.testing.assert_array_equal(sliding_cmvn(features, 10, 5, True), 0)


def test_cmvn_stats():
    features = random_features(200, 6)
    stats = CmvnStats.of(features)
    assert stats.matrix.dtype == np.float64 and stats.matrix.shape == (2, 7)
    assert (stats.dim, stats.count, stats.matrix[1, 6]) == (6, 200, 0)
    np.testing.assert_allclose(stats.matrix[0, :6], features.astype(float).sum(0), rtol=1e-12)
    np.testing.assert_allclose(stats.matrix[1, :6], (features.astype(float) ** 2).sum(0), rtol=1e-6)
    parts = CmvnStats.of(features[:90]) + CmvnStats.of(features[90:])
    np.testing.assert_allclose(parts.matrix, stats.matrix, rtol=1e-12)
    weights = np.zeros(200)
    weights[:90] = 1
    weighted = CmvnStats(6).accumulate(features, weights)
    np.testing.assert_array_equal(weighted.matrix, CmvnStats.of(features[:90]).matrix)


def test_cmvn_apply():
    features = random_features(200, 6)
    stats = CmvnStats.of(features)
    means = stats.apply(features)
    np.testing.assert_allclose(means, features - features.mean(0, dtype=float), atol=1e-5)
    both = stats.apply(features, norm_vars=True)
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(both.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(stats.apply(both, norm_vars=True, reverse=True), features, atol=1e-4)
    np.testing.assert_allclose(stats.apply(means, reverse=True), features, atol=1e-5)
    np.testing.assert_array_equal(stats.apply(features, norm_means=False), features)
    before = stats.matrix.copy()
    skipped = stats.apply(features, norm_vars=True, skip_dims=(0, 3))
    np.testing.assert_array_equal(skipped[:, [0, 3]], features[:, [0, 3]])
    np.testing.assert_array_equal(skipped[:, [1, 2, 4, 5]], both[:, [1, 2, 4, 5]])
    np.testing.assert_array_equal(stats.matrix, before)


def test_speaker_cmvn():
    features = {name: random_features(9, 3, seed) for seed, name in enumerate("abc")}
    stats = speaker_cmvn(features, {"a": "x", "b": "y", "c": "x"})
    assert list(stats) == ["x", "y"]
    np.testing.assert_array_equal(
        stats["x"].matrix, CmvnStats.of(features["a"], features["c"]).matrix
    )
    with pytest.raises(InputError, match="no speaker for utterance c"):
        speaker_cmvn(features, {"a": "x", "b": "y"})


@pytest.mark.parametrize("context", [0, 1, 5, 100])
def test_vad_by_definition(context):
    features = random_features(60, 2) + 4
    threshold = 5 + 0.5 * features[:, 0].mean(dtype=float)
    loud = features[:, 0] > threshold
    expected = [loud[max(0, t - context) : t + context + 1].mean() >= 0.6 - 1e-7 for t in range(60)]
    voiced = energy_vad(features, vad_frames_context=context)
    assert voiced.dtype == np.float32 and voiced.shape == (60,)
    np.testing.assert_array_equal(voiced, expected)


def test_affine_and_composition():
    features = random_features(30, 5)
    rng = np.random.default_rng(1)
    linear, affine = rng.normal(size=(4, 5)), rng.normal(size=(4, 6))
    wide, last = rng.normal(size=(3, 5)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(apply_affine(features, linear), features @ linear.T, atol=1e-4)
    moved = features @ affine[:, :5].T + affine[:, 5]
    np.testing.assert_allclose(apply_affine(features, affine), moved, atol=1e-4)
    for a, b, b_is_affine in [
        (last, linear, False),
        (last, affine, True),
        (wide, affine, True),
        (wide, linear, False),
    ]:
        one = apply_affine(features, compose_transforms(a, b, b_is_affine))
        two = apply_affine(apply_affine(features, b), a)
        np.testing.assert_allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_kind_of_result(function):
    features = random_features(20, 3)
    expected = function(features)
    assert isinstance(expected, np.ndarray) and expected.dtype == np.float32
    assert expected.flags.c_contiguous
    tensor = function(torch.from_numpy(features))
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), expected)
    for same in (features.astype(np.float64), np.asfortranarray(features), features.tolist()):
        np.testing.assert_array_equal(function(same), expected)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames(function, frames):
    result = function(random_features(frames, 3))
    assert len(result) == frames and np.isfinite(result).all()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((0, 3)), "no frames"),
        (np.zeros((3, 0)), "0 columns"),
        (np.zeros(3), "not \\(frames, dim\\)"),
        (np.array([[0, 1, 2], [0, np.inf, 1]]), "inf in frame 1, column 1"),
        (np.array([[1j, 2, 3]]), "not real numbers"),
    ],
)
def test_bad_features(function, features, message):
    with pytest.raises(InputError, match=message):
        function(features)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: add_deltas(x, -1), "delta_order = -1"),
        (lambda x: add_deltas(x, 2, 0), "delta_window = 0"),
        (lambda x: add_deltas(x, truncate=4), "truncate = 4"),
        (lambda x: splice(x, -1), "left_context = -1"),
        (lambda x: splice(x, 1.5), "left_context = 1.5"),
        (lambda x: splice(x, float("nan")), "left_context = nan"),
        (lambda x: splice(x, "3"), "left_context = 3: must be a whole"),
        (lambda x: sliding_cmvn(x, 0), "cmn_window = 0"),
        (lambda x: energy_vad(x, vad_proportion_threshold=1), "vad_proportion_threshold = 1"),
        (lambda x: energy_vad(x, vad_energy_mean_scale=-1), "must not be negative"),
        (lambda x: apply_affine(x, np.ones((2, 6))), "6 columns for features of 3"),
        (lambda x: compose_transforms(np.ones((2, 9)), np.ones((3, 3))), "do not compose"),
        (lambda x: CmvnStats(3).apply(x), "statistics of 0 frames"),
        (lambda x: CmvnStats(4).accumulate(x), "3 columns, must be 4"),
        (lambda x: CmvnStats(3).accumulate(x, [1.0]), "weights: shape"),
        (lambda x: CmvnStats.of(x).apply(x, norm_means=False, norm_vars=True), "norm_vars=True"),
        (lambda x: CmvnStats.of(x).apply(x, skip_dims=[3]), "skip_dims = 3"),
        (lambda x: CmvnStats.of(x) + CmvnStats(4), "of 3 and of 4 columns"),
        (lambda x: CmvnStats.from_matrix(np.zeros((3, 4))), "is not \\(2, dim \\+ 1\\)"),
        (lambda x: CmvnStats.of(), "no utterances"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(InputError, match=message):
        call(random_features(5, 3))
