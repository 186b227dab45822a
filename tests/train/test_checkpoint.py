import random
import resource

import numpy as np
import pytest
import torch

from kdspeech.train import checkpoint


def test_random_state_round_trip_through_a_file(tmp_path):
    checkpoint.seed_all(5)
    np.random.standard_normal()  # leaves a second normal number in numpy's state
    checkpoint.save(tmp_path / "state.pt", checkpoint.rng_state())
    draws = [random.random(), np.random.standard_normal(3).tolist(), torch.rand(3).tolist()]
    checkpoint.seed_all(6)
    checkpoint.set_rng_state(checkpoint.load(tmp_path / "state.pt"))
    again = [random.random(), np.random.standard_normal(3).tolist(), torch.rand(3).tolist()]
    assert draws == again


def test_a_write_that_fails_keeps_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"value": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="last.pt"):
            checkpoint.save(path, {"value": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.load(path) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Bad:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"model": Bad()}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="bad.pt: not a checkpoint of kdspeech"):
        checkpoint.load(tmp_path / "bad.pt")
