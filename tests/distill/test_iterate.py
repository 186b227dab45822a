"""The search for a smaller network, on clips of pure tones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tones import job, write_recipe
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.config import load_config
from kdspeech.distill import KeywordConfig, Limits, Node, Plan, Step, iterative, sweep
from kdspeech.distill.compare import paired_gap
from kdspeech.distill.config import GenerationConfig
from kdspeech.distill.family import ancestors, children_of
from kdspeech.distill.iterate import Search, pareto_front
from kdspeech.distill.labels import mean_log_probs
from kdspeech.distill.reach import reachable_forms
from kdspeech.io.errors import InputError
from kdspeech.models import num_parameters

HALVES = "iterate.plan=[{children: [{by: width, factor: 0.5}], times: TIMES}]"
SMALL = ["model={name: mlp, options: {hidden: [16, 16]}}", "train.epochs=2", "train.lr=0.003"]


def halving(recipe, exp, times=2, *more):
    return job(recipe, exp, *SMALL, HALVES.replace("TIMES", str(times)), *more)


def iterate(this, limits=None, **options):
    """The search of a job."""
    config, data, exp = this.config, this.data, this.exp
    return iterative(config, data, exp, limits, command="test", progress=False, **options)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def searched(recipe, tmp_path_factory):
    """A search of two generations that loses nothing it may not lose."""
    exp = tmp_path_factory.mktemp("exp")
    return exp, iterate(halving(recipe, exp), max_drop=100)


def finished(exp, seed=0):
    """Networks with the time of their weights."""
    folders = (exp / f"seed{seed}").iterdir()
    return {f.name: (f / "best.pt").stat().st_mtime_ns for f in folders if (f / "best.pt").exists()}


def test_a_line_of_parents_and_children(searched):
    exp, family = searched
    assert json.loads((exp / "family.json").read_text()) == family
    nodes = {node["name"]: node for node in family["nodes"]}
    assert list(nodes) == ["400", "400.w50", "400.w50.w50"]
    assert nodes["400.w50.w50"]["teachers"] == ["400.w50"]
    assert [n["model"]["options"]["hidden"] for n in nodes.values()] == [[16, 16], [8, 8], [4, 4]]
    assert family["best"] == "400.w50.w50"  # the smallest: 100 points may be lost
    assert [row["what"] for row in family["baselines"]] == ["from scratch", "one step"]
    assert (exp / "seed0" / "400.w50.w50.scratch" / "score.json").exists()
    for axis in ("parameters", "macs", "latency_ms"):
        assert set(family["pareto"][axis]) <= set(nodes)


def test_a_longer_plan_keeps_what_is_finished(recipe, searched):
    exp, _ = searched
    before = finished(exp)
    family = iterate(halving(recipe, exp, 3), max_drop=100)
    after = finished(exp)
    assert {name: after[name] for name in before} == before
    assert family["best"] == "400.w50.w50.w50"


def test_the_command_line_leaves_tables_and_pictures(recipe, searched):
    exp, _ = searched
    sets = [f"--set={text}" for text in [*SMALL, HALVES.replace("TIMES", "2")]]
    arguments = ["distill", "iterate", f"--config={recipe / 'kws.yaml'}", f"--exp={exp}"]
    arguments += [f"--data={recipe / 'packs'}", "--max-params=20000", *sets]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "400.w50: parameters" in done.output.replace("\n", " ")
    for name in ("family.json", "family.md", "family.svg", "pareto.svg"):
        assert (exp / name).stat().st_size > 0
    assert "| 400.w50" in (exp / "family.md").read_text()


def test_a_killed_search_goes_on(recipe, tmp_path, monkeypatch):
    score = sweep.score_step

    def killed(run, step, command):
        if step.name == "400.w50":
            raise KeyboardInterrupt
        score(run, step, command)

    this = halving(recipe, tmp_path, 1, "iterate.baselines=false")
    monkeypatch.setattr(sweep, "score_step", killed)
    with pytest.raises(KeyboardInterrupt):
        iterate(this, max_drop=100)
    monkeypatch.undo()
    before = finished(tmp_path)
    family = iterate(this, max_drop=100)
    assert finished(tmp_path) == before and before.keys() == {"400", "400.w50"}
    assert family["finished"] and family["best"] == "400.w50"


def test_seeds_siblings_and_all_ancestors(recipe, tmp_path):
    plan = "iterate.plan=[{children: [{by: width, factor: 0.5}], siblings: 2, times: 1}, "
    plan += "{children: [{by: same}, {by: length, factor: 0.5}], teachers: ancestors}]"
    this = job(recipe, tmp_path, *SMALL, plan, "iterate.baselines=false", "distill.view=pad")
    family = iterate(this, max_drop=100, seeds=[0, 1])
    names = [node["name"] for node in family["nodes"]]
    assert names[:3] == ["400", "400.w50", "400.w50_1"]
    kept = next(n["name"] for n in family["nodes"][1:3] if n["status"] == "alive")
    assert names[3:] == [f"{kept}.same+all", f"{kept}.l50+all"]
    last = family["nodes"][-1]
    assert last["teachers"] == ["400", kept] and last["weights"] == [0.5, 0.5]
    assert last["length_ms"] == 200 and last["macs"] < family["nodes"][1]["macs"]
    a, b = (
        torch.load(tmp_path / "seed0" / n / "best.pt", weights_only=True)["model"]
        for n in names[1:3]
    )
    assert torch.equal(a["norm.mean"], b["norm.mean"])  # the same crops,
    assert not torch.equal(a["output.weight"], b["output.weight"])  # other weights


@pytest.mark.parametrize("limits", [{"parameters": 100}, {"size_kb": 1}, {"latency_ms": 1e-6}])
def test_a_budget_that_none_can_meet(recipe, tmp_path, limits):
    nearest = r"\[.*\]" if "latency_ms" in limits else r"\[4, 4\]"
    with pytest.raises(InputError, match=rf"none of the 3 .* Nearest is mlp hidden={nearest}"):
        iterate(halving(recipe, tmp_path), Limits(**limits))
    assert not (tmp_path / "seed0").exists()  # nothing was trained


class Told(Search):
    """A search whose networks are not trained: their answers are told."""

    rates = {"400": 0.95, "400.w50": 0.94, "400.w50.w50": 0.90}

    def train(self, nodes):
        clips = np.arange(1000)
        for node in nodes:
            right = np.stack([clips < 1000 * self.rates.get(node.name, 0.5)])
            self.answers[node.name, "dev"] = self.answers[node.name, "test"] = right

    def save(self, finished=False):
        return {}


def told(recipe, exp, limits=None, max_drop=None, times=4):
    search = Told(halving(recipe, exp, times), limits or Limits(), max_drop, (0,))
    search.grow()
    return search


def test_the_search_ends_where_accuracy_breaks(recipe, tmp_path):
    search = told(recipe, tmp_path, max_drop=2.0)
    assert list(search.status.values()) == ["root", "alive", "broken"]
    assert search.best().name == "400.w50"
    assert told(recipe, tmp_path, max_drop=4.9).best().name == "400.w50.w50"


def test_one_noisy_number_does_not_end_it(recipe, tmp_path):
    # A drop of 5.0 points is more than 4.9, but not surely so with 1000 clips.
    search = told(recipe, tmp_path, max_drop=4.9)
    assert search.status[next(n for n in search.status if n.name == "400.w50.w50")] == "alive"


def test_the_best_within_a_budget_and_no_further(recipe, tmp_path):
    search = told(recipe, tmp_path, Limits(parameters=20_000))
    assert [node.name for node in search.status] == ["400", "400.w50"]
    assert search.best().name == "400.w50"


def test_a_budget_that_the_search_did_not_reach(recipe, tmp_path):
    search = told(recipe, tmp_path, Limits(parameters=8_000), max_drop=2.0)
    assert search.best() is None
    assert "within the budget is more than 2 points below" in search.outcome()
    assert "nearest is 400.w50.w50: parameters 6,449 (at most 8,000); 90.00 %" in search.outcome()
    search = told(recipe, tmp_path, Limits(parameters=8_000), times=1)
    assert "no trained network is within the budget" in search.outcome()
    assert "nearest is 400.w50: parameters 12,925" in search.outcome()


def test_the_recipe_of_speech_commands_has_something_to_search():
    path = Path(__file__).parents[2] / "egs" / "speech_commands" / "conf" / "iterate.yaml"
    config = load_config(KeywordConfig, path)
    forms = reachable_forms(config, Plan.parse(config.plan).steps()[0])
    root, *found = [(model.options["channels"], length) for model, length in forms]
    assert root == ([16, 32, 64], 1000)
    assert ([11, 22, 45], 1000) in found and ([16, 32, 64], 750) in found  # narrower, shorter
    assert ([16, 64], 1000) in found  # with a block less
    assert ([11, 22, 45], 750) in found  # both


# Who teaches whom.


def family_of(recipe, exp, **generation):
    config = halving(recipe, exp).config
    root = Step((400,), "clip")
    first = children_of(root, config.iterate.plan[0], config, {})[0]
    dev = {"400": 91.0, first.name: 90.0}
    return first, children_of(first, GenerationConfig(**generation), config, dev)


@pytest.mark.parametrize(
    "generation, name, teachers, weights",
    [
        ({}, "400.w50.w70", ["400.w50"], (1.0,)),
        ({"teachers": "root"}, "400.w50.w70+g0", ["400"], (1.0,)),
        ({"teachers": "best"}, "400.w50.w70+g0", ["400"], (1.0,)),
        ({"teachers": "ancestors"}, "400.w50.w70+all", ["400", "400.w50"], (0.5, 0.5)),
        (
            {"teachers": "ancestors", "weights": [3, 1, 1]},
            "400.w50.w70+all-3-1",
            ["400", "400.w50"],
            (0.25, 0.75),
        ),
        (
            {"children": [{"model": {"name": "mlp", "options": {"hidden": [5]}}}]},
            "400.w50.mlp-hidden-5",
            ["400.w50"],
            (1.0,),
        ),
        ({"children": [{"by": "same"}]}, "400.w50.same", ["400.w50"], (1.0,)),
    ],
)
def test_teachers_and_names(recipe, tmp_path, generation, name, teachers, weights):
    first, (child,) = family_of(recipe, tmp_path, **generation)
    assert child.name == name and child.weights == weights
    assert [teacher.name for teacher in child.teachers] == teachers
    assert ancestors(child) == [Step((400,), "clip"), first] and child.lengths == (400, 400, 400)


def test_children_that_cannot_be_made_smaller_are_not_born(recipe, tmp_path):
    generation = {"children": [{"by": "depth", "factor": 0.1}, {"by": "length", "factor": 0.1}]}
    _, born = family_of(recipe, tmp_path, **generation)
    assert [node.name for node in born] == ["400.w50.d10"]
    assert born[0].model.options == {"hidden": [8]}


@pytest.mark.parametrize(
    "plan, message",
    [
        ("[{children: [{by: width, model: {name: mlp}}]}]", "either `by` or `model`"),
        ("[{weights: [1, 2]}]", "weights are of teachers: ancestors"),
        ("[{children: [{by: height}]}]", "iterate.plan.0.children.0.by"),
    ],
)
def test_a_plan_that_says_nothing_sensible(recipe, tmp_path, plan, message):
    with pytest.raises(InputError, match=message):
        job(recipe, tmp_path, f"iterate.plan={plan}")


# The parts.


def test_mean_of_teachers_by_hand():
    a, b = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    mean = mean_log_probs([a, b], (0.25, 0.75)).exp()
    torch.testing.assert_close(mean, torch.tensor([[0.8, 0.2]]))


def test_gap_of_two_systems():
    a = np.array([[True] * 90 + [False] * 10])
    b = np.array([[True] * 80 + [False] * 20])
    gap = paired_gap(a, b)
    assert gap.value == pytest.approx(10) and gap.above == pytest.approx(1, abs=1e-3)
    # 100 draws of probability 0.1: a standard deviation of 3 points.
    assert gap.low == pytest.approx(10 - 5.9, abs=1.1) and gap.high == pytest.approx(15.9, abs=1.1)
    same = paired_gap(a, a)
    assert same == (0, 0, 0, 0.5)
    assert paired_gap(a, b, margin=20).above < 0.05


def test_seeds_are_averaged_clip_by_clip():
    a = np.array([[True, True], [True, False]])
    b = np.array([[True, False], [False, False]])
    assert paired_gap(a, b).value == pytest.approx(50)


def test_pareto_front_by_hand():
    rows = [
        {"name": "a", "macs": 1, "dev": 80.0},
        {"name": "b", "macs": 2, "dev": 79.0},
        {"name": "c", "macs": 2, "dev": 85.0},
        {"name": "d", "macs": 3, "dev": 85.0},
    ]
    assert pareto_front(rows, "macs") == ["a", "c"]


# Losses of a recipe.

TERMS = (
    "distill.losses=[{name: kd, options: {alpha: 0.5}}, {name: decoupled_kd, warmup_epochs: 1},"
    " {name: label_smoothing}, {name: attention, student: pool, teacher: pool},"
    " {name: hint, weight: 100, student: convs.-1, teacher: convs.-1}]"
)


def test_losses_of_a_recipe_train_and_leave_no_regressor(recipe, tmp_path):
    this = job(recipe, tmp_path, TERMS, "train.epochs=1", "model.options={maps: 8}")
    run, root = this.run(0), Step((400,), "clip")
    run.train(root)
    model = this.config.model.model_copy(update={"options": {"maps": 4}})
    child = Node("child", model, 400, root, (root,), (1.0,))
    run.train(child)
    kept = torch.load(tmp_path / "seed0" / "child" / "best.pt", weights_only=True)["model"]
    assert kept["regressors.4.weight"].shape == (8, 4, 1, 1)
    assert num_parameters(run.trained_model(child)) == num_parameters(run.new_model(child))
    row = json.loads((tmp_path / "seed0" / "child" / "metrics.jsonl").read_text())
    terms = [row[f"train_{name}"] for name in ("kd", "label_smoothing", "attention", "hint")]
    # The first steps of the warm-up count for less: half on average of the one epoch, less 1/2n.
    rest = row["train_loss"] - (terms[0] + terms[1] + terms[2] + 100 * terms[3])
    assert 0 < rest < row["train_decoupled_kd"]


@pytest.mark.parametrize(
    "losses, message",
    [
        ("[{name: hints}]", "no loss 'hints'; there are kd, decoupled_kd"),
        ("[{name: hint, student: convs.0}]", "hint needs `student` and `teacher`"),
        ("[{name: kd, student: convs.0}]", "kd has no `student` and `teacher`"),
        ("[{name: decoupled_kd, options: {gamma: 1}}]", "no option 'gamma'; it has alpha, beta"),
    ],
)
def test_losses_that_are_not_there(recipe, tmp_path, losses, message):
    with pytest.raises(InputError, match=message):
        job(recipe, tmp_path, f"distill.losses={losses}")


def test_layers_that_do_not_fit_are_named_before_training(recipe, tmp_path):
    losses = "distill.losses=[{name: attention, student: first, teacher: pool}]"
    this = job(recipe, tmp_path, losses, "train.epochs=1")
    run, root = this.run(0), Step((400,), "clip")
    run.train(root)
    with pytest.raises(InputError, match=r"distill.losses: .*pool: true"):
        run.train(Node("child", this.config.model, 400, root, (root,), (1.0,)))
    stored = job(recipe, tmp_path, losses, "train.epochs=1", "distill.store=true").run(0)
    with pytest.raises(InputError, match="store: false"):
        stored.train(Node("child", this.config.model, 400, root, (root,), (1.0,)))
