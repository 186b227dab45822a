import json

import pytest
import tiny_run
import torch
import yaml
from pydantic import ValidationError
from tiny_run import STEPS
from torch import nn

from kdspeech.io.errors import InputError
from kdspeech.train import DivergedError, TrainConfig, fit, load_weights, read_metrics, shard
from kdspeech.train.loop import make_optimizer, update_average


def fit_tiny(directory, model=None, batches=tiny_run.Batches, loss=None, dev=None, **options):
    train = options.pop("train", {})
    return fit(
        model or tiny_run.make_model("mlp"),
        batches,
        loss or tiny_run.loss_fn,
        dev or tiny_run.dev_fn,
        TrainConfig(**{**tiny_run.DEFAULTS, **train}),
        directory,
        **options,
    )


def test_it_learns_and_leaves_the_best_weights(tmp_path):
    model = tiny_run.make_model()
    result = fit_tiny(tmp_path, model, train={"epochs": 16})
    assert result["best"] > 80
    assert not model.training
    assert float(tiny_run.dev_fn(model)["accuracy"]) == result["best"]
    values = [row["dev_accuracy"] for row in result["history"]]
    assert result["best_epoch"] == 1 + values.index(max(values))
    assert result["steps"] == 16 * STEPS and result["epochs"] == 16


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_plain_steps_equal_a_bare_torch_loop(optimizer, fused, tmp_path):
    expected = tiny_run.make_model("mlp")
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    options = {"momentum": 0.9} if optimizer == "sgd" else {}
    bare = kinds[optimizer](expected.parameters(), lr=0.01, weight_decay=0.0, **options)
    for features, labels in tiny_run.Batches(0):
        tiny_run.loss_fn(expected, (features, labels))[0].backward()
        nn.utils.clip_grad_norm_(expected.parameters(), 0.7)
        bare.step()
        bare.zero_grad()
    train = {"epochs": 1, "lr": 0.01, "weight_decay": 0.0, "schedule": "constant"}
    model = tiny_run.make_model("mlp")
    train |= {"optimizer": optimizer, "grad_clip": 0.7, "fused": fused}
    fit_tiny(tmp_path, model, train=train)
    for key, value in expected.state_dict().items():
        assert torch.allclose(model.state_dict()[key], value, atol=1e-6), key


def test_records(tmp_path):
    result = fit_tiny(tmp_path, train={"tensorboard": True}, identity={"pack": "abc"})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows == result["history"] and [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [STEPS, 2 * STEPS, 3 * STEPS, 4 * STEPS]
    keys = "epoch step lr seconds train_loss train_accuracy dev_accuracy dev_loss"
    assert list(rows[0]) == keys.split()
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["train"]["lr"] == 0.05 and config["train"]["seed"] == 0
    assert config["identity"] == {"pack": "abc"} and config["versions"]["git"]
    assert "epoch 4 step 20" in (tmp_path / "train.log").read_text()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    names = {p.name for p in tmp_path.iterdir() if "tfevents" not in p.name}
    assert names == {"best.pt", "last.pt", "metrics.jsonl", "config.yaml", "train.log"}


def test_epoch_means_by_hand(tmp_path):
    def loss(model, batch):
        value, _ = tiny_run.loss_fn(model, batch)
        seen.append(value.item())
        return value, {"double": 2 * value.detach()}

    seen = []
    row = fit_tiny(tmp_path, loss=loss, train={"epochs": 1})["history"][0]
    assert row["train_loss"] == pytest.approx(sum(seen) / STEPS)
    assert row["train_double"] == pytest.approx(2 * sum(seen) / STEPS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(value, tmp_path):
    def loss(model, batch):
        nonlocal calls
        calls += 1
        number, metrics = tiny_run.loss_fn(model, batch)
        return (number * value if calls == STEPS + 3 else number), metrics

    calls, model = 0, tiny_run.make_model("mlp")
    with pytest.raises(InputError, match=rf"loss is {value} in epoch 2, step 3 \(rate"):
        fit_tiny(tmp_path, model, loss=loss)
    assert all(p.isfinite().all() for p in model.parameters())
    assert finite_state(tmp_path)["epoch"] == 1
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def finite_state(directory) -> dict:
    """The state in last.pt, whose tensors are finite."""
    content = torch.load(directory / "last.pt", weights_only=True)
    optimizer = [v for values in content["optimizer"]["state"].values() for v in values.values()]
    tensors = [*content["model"].values(), *(content["average"] or {}).values(), *optimizer]
    assert all(value.isfinite().all() for value in tensors if torch.is_tensor(value))
    return content["state"]


def spoiling(at, calls, loss_fn=tiny_run.loss_fn):
    """A loss that stays finite and whose gradient is nan in a call."""

    def loss(model, batch):
        calls.append(None)
        number, metrics = loss_fn(model, batch)
        if len(calls) == at:  # 0, and its slope is 0 / 0
            number = number + (0 * next(model.parameters())).square().sum().sqrt()
        return number, metrics

    return loss


@pytest.mark.parametrize(
    "step, every, found, kept",
    [
        (3, 1, "the weights are not finite in epoch 2, step 3", 2),
        (3, 2, "the weights are not finite in epoch 2, step 3", 1),  # the 8th of the run
        (2, 2, "the loss is nan in epoch 2, step 3", 1),
        (3, None, "the loss is nan in epoch 2, step 4", 0),
        (STEPS, None, f"the weights are not finite in epoch 2, step {STEPS}", 0),
    ],
)
def test_weights_that_are_not_finite_are_never_kept(step, every, found, kept, tmp_path):
    train = {"checkpoint_steps": every, "ema": 0.9}
    with pytest.raises(DivergedError, match=found):
        fit_tiny(tmp_path, loss=spoiling(STEPS + step, []), train=train)
    state = finite_state(tmp_path)
    assert (state["epoch"], state["epoch_step"], state["step"]) == (1, kept, STEPS + kept)
    best = torch.load(tmp_path / "best.pt", weights_only=True)["model"]
    assert all(value.isfinite().all() for value in best.values())
    with pytest.raises(DivergedError, match="So it ended before"):
        fit_tiny(tmp_path, train=train)
    # What may change, with a loss that is right now: it ends as if nothing had been.
    (tmp_path / "diverged.json").unlink()
    fit_tiny(tmp_path, train=train | {"checkpoint_steps": 3})
    fit_tiny(tmp_path / "whole", train=train)
    last, whole = (torch.load(d / "last.pt") for d in (tmp_path, tmp_path / "whole"))
    for key, value in whole["model"].items():
        assert torch.equal(value, last["model"][key])


def test_weights_from_which_the_next_loss_is_not_finite_take_no_good_ones_place(tmp_path):
    # Finite still after the first step of 1e30, and of no use: nothing is kept of them, and
    # the directory is free for a smaller rate.
    train = {"checkpoint_steps": 1, "lr": 1e30, "schedule": "constant"}
    with pytest.raises(DivergedError, match="the loss is (nan|inf) in epoch 1, step 2"):
        fit_tiny(tmp_path, train=train)
    assert not (tmp_path / "last.pt").exists()
    result = fit_tiny(tmp_path, train=train | {"lr": 0.05})
    assert result["epochs"] == 4 and finite_state(tmp_path)["epoch"] == 4
    # After an epoch that was good a smaller rate needs a directory of its own.
    first = tmp_path / "first"
    with pytest.raises(DivergedError, match=f"step {STEPS - 1} "):
        loss = diverging(2 * STEPS - 1, [])
        fit_tiny(first, loss=loss, train=train | {"lr": 0.05})
    assert finite_state(first)["step"] == 2 * STEPS - 3
    load_weights(model := tiny_run.make_model("mlp"), first / "last.pt")
    assert fit_tiny(tmp_path / "second", model, train={"lr": 0.01})["epochs"] == 4


def diverging(at, calls):
    """A loss that is nan in a call; `calls` gets one item more in each."""

    def loss(model, batch):
        calls.append(None)
        number, metrics = tiny_run.loss_fn(model, batch)
        return (number * float("nan") if len(calls) == at else number), metrics

    return loss


def test_a_run_that_diverged_is_not_trained_again(tmp_path):
    calls, path = [], tmp_path / "diverged.json"
    with pytest.raises(DivergedError, match=r"epoch 2, step 3 \(rate"):
        fit_tiny(tmp_path, loss=diverging(STEPS + 3, calls))
    for train in ({}, {"tensorboard": True}):
        with pytest.raises(
            DivergedError, match=r"epoch 2, step 3 \(rate.*diverged.json to try again"
        ):
            fit_tiny(tmp_path, loss=diverging(0, calls), train=train)
    assert len(calls) == STEPS + 3 and "epoch 2, step 3" in path.read_text()
    with pytest.raises(InputError, match="last.pt is of .*train.lr was 0.05, is 0.01"):
        fit_tiny(tmp_path, train={"lr": 0.01})
    path.unlink()  # it goes on from the end of epoch 1
    result = fit_tiny(tmp_path, loss=diverging(0, calls := []))
    assert len(calls) == 3 * STEPS and result["epochs"] == 4 and not path.exists()


def test_with_other_settings_a_run_that_diverged_begins_anew(tmp_path):
    with pytest.raises(DivergedError, match="epoch 1, step 2"):
        fit_tiny(tmp_path, loss=diverging(2, []), identity={"pack": "a"})
    fit_tiny(tmp_path, train={"epochs": 1}, identity={"pack": "b"})
    assert not (tmp_path / "diverged.json").exists()
    (tmp_path / "diverged.json").write_text("{}")
    with pytest.raises(InputError, match="diverged.json: damaged .*; remove it"):
        fit_tiny(tmp_path)


def test_weight_averaging_is_what_is_evaluated_and_kept(tmp_path):
    result = fit_tiny(tmp_path, model := tiny_run.make_model(), train={"ema": 0.9, "epochs": 2})
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert not torch.equal(last["model"]["output.weight"], last["average"]["output.weight"])
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    if result["best_epoch"] == 2:
        assert torch.equal(best["model"]["output.weight"], last["average"]["output.weight"])
    assert float(tiny_run.dev_fn(model)["accuracy"]) == result["best"]


def test_update_average_by_hand():
    mean, model = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.constant_(model.weight, 3.0)
    model.running_mean.fill_(5.0)
    model.num_batches_tracked.fill_(7)
    update_average(mean, model, decay=0.75, step=1000)
    assert mean.weight.item() == 0.75 * 1 + 0.25 * 3
    assert mean.running_mean.item() == 0.25 * 5 and mean.num_batches_tracked == 7
    update_average(mean, model, decay=0.999, step=0)  # 1/10 early on
    assert mean.weight.item() == pytest.approx(0.1 * 1.5 + 0.9 * 3)


def test_bfloat16_trains_and_weights_stay_float32(tmp_path):
    model = tiny_run.make_model()
    result = fit_tiny(tmp_path, model, train={"precision": "bf16", "epochs": 16})
    assert result["best"] > 80
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("fast", [False, True])
def test_precision_auto_is_what_the_machine_is_fast_in(tmp_path, monkeypatch, fast):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    config = TrainConfig(precision="auto", accelerator="cpu")
    assert config.bf16 == fast
    assert TrainConfig(precision="bf16").bf16 and not TrainConfig(precision=32).bf16
    fit_tiny(tmp_path, train={"precision": "auto", "accelerator": "cpu", "epochs": 1})
    used = "bfloat16" if fast else "float32"
    assert f"products in {used}" in (tmp_path / "train.log").read_text()


def test_emulated_bfloat16_draws_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("kdspeech.train.loop.multiplies_bf16", lambda _device: False)
    fit_tiny(tmp_path, train={"precision": "bf16", "epochs": 1})
    assert "precision: auto" in (tmp_path / "train.log").read_text()


def test_only_weights_decay_unless_asked():
    model = tiny_run.make_model("bc_resnet")
    groups = make_optimizer(model, TrainConfig(weight_decay=0.1)).param_groups
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert all(p.dim() > 1 for p in groups[0]["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    config = TrainConfig(weight_decay=0.1, decay_bias_and_norm=True)
    assert len(make_optimizer(model, config).param_groups) == 1


def test_batches_without_a_length(tmp_path):
    def batches(epoch):
        return iter(tiny_run.Batches(epoch))

    with pytest.raises(InputError, match="pass steps_per_epoch"):
        fit_tiny(tmp_path / "a", batches=batches)
    first = fit_tiny(tmp_path / "b", batches=batches, steps_per_epoch=STEPS)["history"]
    second = fit_tiny(tmp_path / "c")["history"]
    assert [row["dev_loss"] for row in first] == [row["dev_loss"] for row in second]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batches": lambda epoch: []}, "epoch 1 has no training batch"),
        ({"dev": lambda model: {"wer": 3.0}}, "keep_best is 'accuracy', .* are wer"),
        ({"dev": lambda model: {"accuracy": float("nan")}}, "dev accuracy is not finite"),
    ],
)
def test_bad_input(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        fit_tiny(tmp_path, **options)


def test_unknown_and_impossible_settings_are_refused():
    for settings in ({"learning_rate": 1}, {"lr": 0}, {"schedule": "linear"}, {"epochs": 0}):
        with pytest.raises(ValidationError, match=next(iter(settings))):
            TrainConfig(**settings)


def test_lowest_can_be_best(tmp_path):
    train = {"keep_best": "loss", "keep_best_mode": "min"}
    result = fit_tiny(tmp_path, train=train)
    assert result["best"] == min(row["dev_loss"] for row in result["history"])


def test_a_bar_in_a_pipe_is_harmless(tmp_path, capsys):
    fit_tiny(tmp_path, train={"epochs": 1}, progress=True)
    assert "\x1b" not in capsys.readouterr().out


def test_metrics_are_plain_json(tmp_path):
    fit_tiny(tmp_path, train={"epochs": 2})
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert all(isinstance(v, int | float) for v in json.loads(line).values())


@pytest.mark.parametrize("size, world", [(8, 2), (7, 3), (5, 5)])
def test_shards_are_the_batch(size, world):
    batch = list(range(size))
    parts = [shard(batch, rank, world) for rank in range(world)]
    assert sum(parts, []) == batch
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shard_alone_and_too_small():
    assert shard([1, 2, 3]) == [1, 2, 3]
    with pytest.raises(InputError, match="a batch of 2 cannot be shared by 3"):
        shard([1, 2], 0, 3)
