import math

import pytest
import tiny_run
import torch

from kdspeech.io.errors import InputError
from kdspeech.train import TrainConfig, fit
from kdspeech.train.schedules import check_schedule, lr_factor, newbob_drop


def factors(times, **settings):
    config = TrainConfig(**{"epochs": 10, **settings})
    return [lr_factor(config, time) for time in times]


def test_constant_with_warm_up():
    values = factors([0.5, 1, 2, 9.9], schedule="constant", warmup_epochs=2)
    assert values == pytest.approx([0.25, 0.5, 1, 1])


def test_step():
    values = factors([0, 2.99, 3, 6, 9], schedule="step", step_epochs=[3, 6], step_factor=0.1)
    assert values == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_cosine():
    values = factors([0, 5, 10], final_factor=0.2)
    assert values == pytest.approx([1, 0.6, 0.2])
    values = factors([1, 2, 6, 8], warmup_epochs=2)
    assert values == pytest.approx([0.5, 1, 0.5, (1 + math.cos(0.75 * math.pi)) / 2])


def test_one_cycle():
    values = factors([0, 2, 4, 7, 10], schedule="one_cycle", one_cycle_rise=0.4)
    assert values == pytest.approx([0.04, 0.52, 1, 0.5, 0])


def test_newbob_drop():
    config = TrainConfig(schedule="newbob", newbob_threshold=0.01)
    assert not newbob_drop(config, 10.0, None)
    assert not newbob_drop(config, 51.0, 50.0)
    assert newbob_drop(config, 50.4, 50.0) and newbob_drop(config, 49.0, 50.0)
    lower = TrainConfig(schedule="newbob", keep_best_mode="min", newbob_threshold=0.01)
    assert not newbob_drop(lower, 1.9, 2.0)
    assert newbob_drop(lower, 1.99, 2.0) and newbob_drop(lower, 2.5, 2.0)


def run_newbob(directory, dev_values, **settings):
    values = iter(dev_values)
    config = TrainConfig(**tiny_run.DEFAULTS | {"schedule": "newbob", "epochs": 9} | settings)
    model, seen = tiny_run.make_model(), []

    def dev_fn(model):
        seen.append(model.output.weight.clone())
        return {"accuracy": next(values)}

    arguments = (model, tiny_run.Batches, tiny_run.loss_fn, dev_fn, config, directory)
    return fit(*arguments), seen


def test_newbob_halves_goes_back_and_stops(tmp_path):
    result, _ = run_newbob(tmp_path, [50, 60, 55, 61, 61, 60], newbob_drops=2)
    rates = [row["lr"] for row in result["history"]]
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.025, 0.025, 0.0125])
    assert (result["epochs"], result["best"], result["best_epoch"]) == (6, 61, 4)
    state = torch.load(tmp_path / "last.pt", weights_only=True)["state"]
    assert state["stopped"] and state["drops"] == 3


def test_newbob_starts_again_from_the_best_weights(tmp_path):
    _, seen = run_newbob(tmp_path / "a", [50, 60], epochs=2)
    best = torch.load(tmp_path / "a" / "best.pt", weights_only=True)["model"]["output.weight"]
    run_newbob(tmp_path / "b", [50, 60, 55], epochs=3)
    last = torch.load(tmp_path / "b" / "last.pt", weights_only=True)
    assert torch.equal(last["model"]["output.weight"], best) and torch.equal(seen[1], best)
    assert not last["optimizer"]["state"]


@pytest.mark.parametrize(
    "settings, steps, message",
    [
        ({"schedule": "one_cycle", "warmup_epochs": 1}, 5, "set warmup_epochs to 0"),
        ({"schedule": "step"}, 5, "needs step_epochs"),
        ({"epochs": 3, "warmup_epochs": 3}, 5, "warmup_epochs 3.0 leaves nothing"),
        ({"schedule": "cosine"}, None, "pass steps_per_epoch"),
        ({"schedule": "constant", "warmup_epochs": 1}, None, "pass steps_per_epoch"),
    ],
)
def test_contradictions_are_refused(settings, steps, message):
    with pytest.raises(InputError, match=message):
        check_schedule(TrainConfig(**settings), steps)


def test_schedules_by_epoch_need_no_length():
    check_schedule(TrainConfig(schedule="step", step_epochs=[2]), None)
    check_schedule(TrainConfig(schedule="newbob"), None)
