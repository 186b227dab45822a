"""Kaldi's own output for every combination of options in the golden cases."""

import json
from functools import lru_cache

import numpy as np
import pytest
import soundfile as sf

from kdspeech.features import Fbank, Mfcc, Plp
from kdspeech.io.errors import InputError

pytestmark = [pytest.mark.golden, pytest.mark.corpora]

EXTRACTORS = {"compute-mfcc-feats": Mfcc, "compute-fbank-feats": Fbank, "compute-plp-feats": Plp}


@lru_cache
def cases(golden, tool):
    features = json.loads((golden / "cases.json").read_text())["features"]["cases"]
    return [case for case in features if case["tool"] == tool]


def extractor(case, tmp_path):
    """The case's options go through a conf file, as a Kaldi user has them."""
    conf = tmp_path / f"{case['id']}.conf"
    conf.write_text("".join(f"--{name}={value}\n" for name, value in case["options"].items()))
    return EXTRACTORS[case["tool"]].from_conf(conf)


def wave(case, corpora):
    samples, rate = sf.read(corpora / case["clip"], dtype="int16")
    cut = case.get("cut")
    if cut:
        samples = samples[cut["first_sample"] : cut["first_sample"] + cut["num_samples"]]
    return samples, rate


@pytest.mark.parametrize("tool", EXTRACTORS)
def test_equals_kaldi(golden, corpora, tmp_path, tool):
    arrays = np.load(golden / cases(golden, tool)[0]["file"])
    for case in cases(golden, tool):
        computer = extractor(case, tmp_path)
        samples, rate = wave(case, corpora)
        if case["result"] == "none":
            with pytest.raises(InputError, match="sample_frequency"):
                computer(samples, rate)
            continue
        found, wanted = computer(samples, rate), arrays[case["array"]]
        assert len(found) == len(wanted), case
        if len(wanted) == 0:
            continue
        scale = 1.0 if computer.options.get("use_log_fbank", True) else np.maximum(1, abs(wanted))
        error = np.max(np.abs(found - wanted) / scale)
        assert error < 1e-3, (error, case)
