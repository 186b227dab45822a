"""Which architectures a plan can come to, and whether any of them meets a budget."""

import json

from kdspeech.distill.config import ModelConfig, Recipe
from kdspeech.distill.costs import Costs, Limits
from kdspeech.distill.family import form_of
from kdspeech.distill.plans import Step
from kdspeech.io.errors import InputError

MAX_FORMS = 5000
MAX_TIMED = 20  # latencies that are measured before a search gives up

Form = tuple[ModelConfig, int]


def reachable_forms(config: Recipe, root: Step) -> list[Form]:
    """All networks with their inputs in ms that the plan can come to, the root's first."""
    start = (config.model_of(root), root.length)
    found, front = {_key(start): start}, [start]
    for generation in config.iterate.plan:
        for _ in range(generation.times):
            born = [
                form_of(config, *form, child) for form in front for child in generation.children
            ]
            front = list({_key(form): form for form in born if form}.values()) or front
            found |= {_key(form): form for form in front}
            if len(found) > MAX_FORMS:
                return list(found.values())
    return list(found.values())


def check_budget(config: Recipe, root: Step, costs: Costs, limits: Limits) -> None:
    """Refuses, before anything is trained, a budget that no network of a plan can meet.

    Raises:
      InputError: names the network that comes nearest, and what to change.
    """
    forms = reachable_forms(config, root)
    if config.members_of(root) > 1 and len(forms) > 1:
        del forms[0]  # an ensemble, whose children are single networks; the search looks at it
    order = sorted(forms, key=lambda form: costs.of(*form)["macs"])
    misses, timed = [], 0
    for form in order:
        cost = costs.of(*form)
        if limits.latency_ms and limits.miss(cost) <= 0:
            if timed == MAX_TIMED:
                break
            cost, timed = costs.of(*form, timed=True), timed + 1
        if limits.miss(cost) <= 0:
            return
        misses.append((limits.miss(cost), form, cost))
    miss, (model, ms), cost = min(misses, key=lambda found: found[0])
    options = " ".join(f"{key}={value}" for key, value in model.options.items())
    raise InputError(
        f"none of the {len(forms)} networks that iterate.plan can come to meets the budget. "
        f"Nearest is {model.name} {options} for {ms} {config.unit}: {limits.describe(cost)}, "
        f"{100 * miss:.1f} % too much. Raise the budget, give the plan more generations (times) "
        "or smaller factors, or begin with another network"
    )


def _key(form: Form) -> str:
    return json.dumps([form[0].model_dump(), form[1]], sort_keys=True)
