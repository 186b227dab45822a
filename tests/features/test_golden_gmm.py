"""Log-likelihoods, fMLLR, LDA and MLLT of Kaldi itself."""

import json
from functools import lru_cache

import numpy as np
import pytest
from kaldi_model import read_gaussians

from kdspeech.features import (
    FmllrStats,
    MlltStats,
    Posteriors,
    apply_affine,
    compose_transforms,
    estimate_lda,
    log_likelihoods,
    splice,
)
from kdspeech.features.packed import symmetric

pytestmark = pytest.mark.golden

FMLLR = [
    "fmllr_full", "fmllr_diag", "fmllr_offset", "fmllr_iters5", "fmllr_soft", "fmllr_sil001",
    "fmllr_mincount", "fmllr_second",
]  # fmt: skip


@lru_cache
def load(golden, name="gmm.npz"):
    cases = json.loads((golden / "cases.json").read_text())["gmm"]
    with np.load(golden / "gmm" / name) as arrays:
        return {key: arrays[key] for key in arrays.files}, cases


@lru_cache
def model(golden, name):
    return read_gaussians(golden / "gmm" / "models" / f"{name}.mdl")


@pytest.mark.parametrize("system", ["mono", "tri2b", "tri3b"])
def test_log_likelihoods(golden, system):
    arrays, cases = load(golden)
    case = next(case for case in cases["cases"] if case["id"] == f"loglikes_{system}")
    for name in case["outputs"]:
        features = arrays[f"{case['features']}/{name.rsplit('/')[-1]}"]
        found = log_likelihoods(features, model(golden, system))
        np.testing.assert_allclose(found, arrays[name], rtol=2e-6, atol=1e-3)


def speaker_stats(golden, case, speaker):
    arrays, cases = load(golden)
    pdfs = np.append(-1, arrays["transitions/tri3b/pdf"]).astype(np.int32)
    utts, frames, tids, weights = (
        arrays[f"{case['posteriors']}/{name}"] for name in ("utt", "frame", "tid", "weight")
    )
    stats = FmllrStats(40)
    for index, utt in enumerate(sorted(cases["utterances"])):
        if cases["utterances"][utt]["speaker"] != speaker:
            continue
        features = arrays[f"tri3b_lda/{utt}"]
        if "transformed" in case["features"]:
            features = apply_affine(features, arrays[f"fmllr_full/{speaker}"])
        own = utts == index
        posteriors = Posteriors(frames[own], pdfs[tids[own]], weights[own])
        stats.accumulate(features, posteriors, model(golden, "tri3b"))
    return stats


@pytest.mark.parametrize("name", FMLLR)
def test_fmllr(golden, name):
    arrays, cases = load(golden)
    case = next(case for case in cases["cases"] if case["id"] == name)
    options = case["options"]
    for speaker, wanted in case["objf"].items():
        found = speaker_stats(golden, case, speaker).estimate(
            options["fmllr-update-type"],
            min_count=options.get("fmllr-min-count", 500),
            num_iters=options.get("fmllr-num-iters", 40),
        )
        assert np.abs(found.matrix - arrays[f"{name}/{speaker}"]).max() < 3e-6
        assert found.improvement == pytest.approx(wanted["auxf_impr_per_frame"], abs=1e-4)
        assert found.count == pytest.approx(wanted["frames"], rel=1e-5)
        assert bool(found.fallback) == (wanted["auxf_impr_per_frame"] == 0.0)


def test_adapted_features_and_composed_transforms(golden):
    arrays, cases = load(golden)
    for utt in cases["three"]:
        speaker = cases["utterances"][utt]["speaker"]
        found = apply_affine(arrays[f"tri3b_lda/{utt}"], arrays[f"fmllr_full/{speaker}"])
        np.testing.assert_allclose(found, arrays[f"tri3b_adapted/{utt}"], atol=2e-5)
        composed = compose_transforms(
            arrays[f"fmllr_second/{speaker}"], arrays[f"fmllr_full/{speaker}"], b_is_affine=True
        )
        np.testing.assert_allclose(composed, arrays[f"fmllr_composed/{speaker}"], atol=1e-6)


@lru_cache
def spliced(golden):
    arrays, cases = load(golden, "lda_mllt.npz")
    return np.concatenate(
        [splice(arrays[f"cmvn_mfcc/{utt}"], 3, 3) for utt in sorted(cases["lda_utterances"])]
    )


@pytest.mark.parametrize("name", ["lda_40", "lda_offset"])
def test_lda(golden, name):
    arrays, cases = load(golden, "lda_mllt.npz")
    case = next(case for case in cases["cases"] if case["id"] == name)
    wanted = arrays[f"{name}/full"]
    found = estimate_lda(
        spliced(golden),
        arrays["lda_pdf"],
        dim=len(arrays[f"{name}/mat"]),
        remove_offset="remove-offset" in case["how"],
    )
    signs = np.sign((found.full * wanted).sum(axis=1, keepdims=True))
    assert np.abs(signs * found.full - wanted).max() < 1e-4 * np.abs(wanted).max()
    rows = len(found.matrix)
    np.testing.assert_allclose(
        signs[:rows] * found.matrix, arrays[f"{name}/mat"], atol=1e-4 * np.abs(wanted).max()
    )
    np.testing.assert_allclose(found.ratios, case["singular_values"], rtol=1e-4)


def test_mllt(golden):
    arrays, cases = load(golden, "lda_mllt.npz")
    case = next(case for case in cases["cases"] if case["id"] == "mllt")
    # The transition table of tri2b: mllt_in has the same tree and topology.
    pdf_of_tid = load(golden)[0]["transitions/tri2b/pdf"]
    tids = arrays["mllt_tid"]
    alignment = np.where(tids > 0, pdf_of_tid[tids - 1], -1)
    features = apply_affine(spliced(golden), arrays["lda_40/mat"])
    stats = MlltStats(model(golden, "mllt_in")).accumulate(features, alignment)
    wanted = arrays["mllt/G_lower_triangles"]
    found = stats.estimate()
    np.testing.assert_allclose(
        symmetric(stats.g()), symmetric(wanted), rtol=1e-4, atol=1e-5 * np.abs(wanted).max()
    )
    assert np.abs(found.matrix - arrays["mllt/mat"]).max() < 1e-5
    assert found.count == pytest.approx(case["beta"])
    assert found.improvement == pytest.approx(case["objf_impr_per_frame"], rel=1e-5)
    progress = found.objective - found.objective[0]
    for iteration, value in case["iter_log"]:
        assert progress[int(iteration) + 1] == pytest.approx(float(value), rel=1e-5), iteration
    assert np.linalg.slogdet(found.matrix)[1] == pytest.approx(case["logdet"], rel=1e-5)
