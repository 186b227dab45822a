"""What a network of a recipe costs, and budgets for it."""

import json
from pathlib import Path

import torch
from pydantic import Field
from torch import nn

from kdspeech.config import Config
from kdspeech.distill.config import ModelConfig, Recipe
from kdspeech.io.atomic import atomic_path
from kdspeech.models import Ensemble, latency_ms, num_macs, num_parameters


class Limits(Config):
    """A budget: all that are given must be met."""

    parameters: int | None = Field(None, gt=0)
    macs: int | None = Field(None, gt=0)
    latency_ms: float | None = Field(None, gt=0)
    size_kb: float | None = Field(None, gt=0)

    def given(self) -> dict[str, float]:
        return self.model_dump(exclude_none=True)

    def miss(self, cost: dict[str, float]) -> float:
        """By what part the worst of the limits is passed; 0 or below: all are met.

        A cost that is not there is not judged.
        """
        known = {key: limit for key, limit in self.given().items() if key in cost}
        return max((cost[key] / limit - 1 for key, limit in known.items()), default=0.0)

    def describe(self, cost: dict[str, float]) -> str:
        """`parameters 1,234 (at most 1,000)` of each limit."""
        return ", ".join(
            f"{key} {cost[key]:,.10g} (at most {limit:,.10g})"
            for key, limit in self.given().items()
            if key in cost
        )


def network(config: Recipe, model: ModelConfig, length: int, members: int = 1) -> nn.Module:
    """An untrained network, or an ensemble of them, for inputs of a length."""
    built = [config.build(model, length) for _ in range(members)]
    return Ensemble(built) if members > 1 else built[0]


class Costs:
    """Costs of networks; latencies are measured once and kept in a file.

    Args:
      config: the recipe.
      path: the JSON file of latencies.
    """

    def __init__(self, config: Recipe, path: Path):
        self.config, self.path = config, path
        self.latencies = json.loads(path.read_text()) if path.exists() else {}
        self.known: dict[str, dict] = {}

    def of(
        self, model: ModelConfig, ms: int, members: int = 1, timed: bool = False
    ) -> dict[str, float]:
        """parameters, macs (of one clip), size_kb (weights and buffers, in 1024 bytes) and, if
        timed, latency_ms (of one clip on one thread of this machine)."""
        key = json.dumps([model.model_dump(), ms, members], sort_keys=True)
        if key not in self.known:
            self.known[key] = self._measure(model, ms, members)
        if not timed:
            return self.known[key]
        return {**self.known[key], "latency_ms": self._latency(key, model, ms, members)}

    def _measure(self, model: ModelConfig, ms: int, members: int) -> dict[str, float]:
        with torch.device("meta"):  # shapes without values
            net = network(self.config, model, ms, members)
        bytes_ = sum(value.numel() * value.element_size() for value in net.state_dict().values())
        return {
            "parameters": num_parameters(net),
            "macs": num_macs(net, self.config.input_shape(ms)),
            "size_kb": round(bytes_ / 1024, 2),
        }

    def _latency(self, key: str, model: ModelConfig, ms: int, members: int) -> float:
        if key not in self.latencies:
            net = network(self.config, model, ms, members)
            self.latencies[key] = round(latency_ms(net, self.config.input_shape(ms)), 4)
            with atomic_path(self.path) as part:
                part.write_text(json.dumps(self.latencies, indent=1) + "\n", encoding="utf-8")
        return self.latencies[key]
