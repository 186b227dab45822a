"""What did the student learn? Measures on plain arrays, and the page of `kds analyse`."""

from kdspeech.report.analysis.agreement import (
    Agreement,
    Changes,
    Outcomes,
    agreement,
    changes,
    outcomes,
)
from kdspeech.report.analysis.calibration import (
    Calibration,
    Reliability,
    best_temperature,
    brier_score,
    calibration,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability,
)
from kdspeech.report.analysis.embedding import linear_cka, neighbour_accuracy, tsne
from kdspeech.report.analysis.exhibits import audio_exhibit, picture_exhibit
from kdspeech.report.analysis.findings import Findings, analyse, save_json
from kdspeech.report.analysis.page import save_analysis
from kdspeech.report.analysis.soft_targets import (
    SoftTargets,
    log_softmax,
    off_target_correlation,
    soft_target_stats,
)
from kdspeech.report.analysis.study import Network, Study

__all__ = [
    "Agreement",
    "Calibration",
    "Changes",
    "Findings",
    "Network",
    "Outcomes",
    "Reliability",
    "SoftTargets",
    "Study",
    "agreement",
    "analyse",
    "audio_exhibit",
    "best_temperature",
    "brier_score",
    "calibration",
    "changes",
    "expected_calibration_error",
    "linear_cka",
    "log_softmax",
    "maximum_calibration_error",
    "negative_log_likelihood",
    "neighbour_accuracy",
    "off_target_correlation",
    "outcomes",
    "picture_exhibit",
    "reliability",
    "save_analysis",
    "save_json",
    "soft_target_stats",
    "tsne",
]
