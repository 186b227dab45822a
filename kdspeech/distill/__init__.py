"""Distillation: teachers label views of the data, students learn from the labels."""

from kdspeech.distill.config import KeywordConfig
from kdspeech.distill.costs import Limits
from kdspeech.distill.examples import write_examples
from kdspeech.distill.family import Node
from kdspeech.distill.image_config import ImageConfig, System, SystemConfig
from kdspeech.distill.images import ImageJob, ImageRun
from kdspeech.distill.iterate import iterative, run_search
from kdspeech.distill.keyword import KeywordData, KeywordRun
from kdspeech.distill.plans import PAPER_CHAINS, PAPER_DIRECT, Plan, Step, sweep_steps
from kdspeech.distill.sweep import Job, finish_step, progressive, run_steps, run_truncated
from kdspeech.distill.targets import SoftLabelStore, write_soft_labels

__all__ = [
    "ImageConfig",
    "ImageJob",
    "ImageRun",
    "Job",
    "KeywordConfig",
    "KeywordData",
    "KeywordRun",
    "Limits",
    "Node",
    "PAPER_CHAINS",
    "PAPER_DIRECT",
    "Plan",
    "SoftLabelStore",
    "Step",
    "System",
    "SystemConfig",
    "finish_step",
    "iterative",
    "progressive",
    "run_search",
    "run_steps",
    "run_truncated",
    "sweep_steps",
    "write_examples",
    "write_soft_labels",
]
