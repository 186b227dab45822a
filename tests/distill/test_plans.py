import pytest

from kdspeech.distill import PAPER_CHAINS, PAPER_DIRECT, Plan, Step, sweep_steps
from kdspeech.io.errors import InputError


def names(steps):
    return [step.name for step in steps]


def test_steps_of_a_plan():
    steps = Plan.parse("1000,800,500").steps()
    assert names(steps) == ["1000", "1000-800", "1000-800-500"]
    assert [step.labels for step in steps] == ["clip", "soft", "soft"]
    assert steps[2].teacher == steps[1] and steps[1].teacher == steps[0]
    assert steps[0].teacher is None
    assert steps[2].length == 500


def test_hard_plan_has_hard_teachers_below_the_same_root():
    steps = Plan.parse("1000,800,500").steps("hard")
    assert names(steps) == ["1000", "1000-800.hard", "1000-800-500.hard"]
    assert steps[2].teacher == steps[1]
    assert steps[0] == Plan.parse("1000,500").steps()[0]


def test_sweep_shares_steps_and_orders_teachers_first():
    steps = sweep_steps("1000,500", PAPER_CHAINS, PAPER_DIRECT, hard=True)
    assert len(steps) == len(set(steps))
    for i, step in enumerate(steps):
        assert step.teacher is None or step.teacher in steps[:i]
    # Table 2's chains that end at 500 ms beside the direct one, Table 1 hard, and own labels.
    assert sum(step.length == 500 and step.labels == "soft" for step in steps) == 11
    assert sum(step.labels == "hard" for step in steps) == 5
    assert Step((500,), "clip") in steps


@pytest.mark.parametrize("text", ["1000,1000", "500,800", "1000;800", "", "1000,0", "1000,-5"])
def test_bad_plans_are_refused_by_their_text(text):
    with pytest.raises(InputError, match="plan"):
        Plan.parse(text)


@pytest.mark.parametrize("text", ["500,800", "1000,0"])
def test_a_plan_that_does_not_fall_is_told_so(text):
    with pytest.raises(InputError, match="must fall"):
        Plan.parse(text)


def test_chain_with_another_root_is_refused():
    with pytest.raises(InputError, match="900,500.*another length"):
        sweep_steps("1000,500", ["900,500"], [], hard=False)
