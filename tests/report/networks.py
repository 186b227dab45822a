"""An experiment with small untrained networks, whose decodings are written by hand."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "acoustic"))
from tiny import DIM, transitions

from kdspeech.acoustic import Network, NetworkConfig
from kdspeech.acoustic.identity import network_id
from kdspeech.decode.score import write_sweep
from kdspeech.decode.sweep import Setting, Sweep
from kdspeech.decode.wer import score_wer
from kdspeech.features.front_end import DeltaOptions, FrontEnd
from kdspeech.report.wer import add_row, make_row

# 4 speakers of 5 utterances of 5 words: an error is 1 %.
TEXT = {f"s{i % 4}-u{i:02}": "a b c d e" for i in range(20)}
SPEAKERS = {utt: utt[:2] for utt in TEXT}
MODELS = {
    "dnn4": "DNN-H4-L3",
    "dnn8": "DNN-H8-L3",
    "hdnn4": "HDNN-H4-L3",
    "hdnn8": "HDNN-H8-L3",
    "hdnn4_kd_q02_t1": "HDNN-H4-L3",
    "hdnn4_kd_q02_t1_seed1": "HDNN-H4-L3",
    "hdnn8_smbr": "HDNN-H8-L3",
}
# Wrong words of 100, on dev and on test; errors of a system are in the first utterances.
ERRORS = {
    "mono": (70, 60),
    "dnn4": (50, 44),
    "hdnn4": (48, 42),
    "dnn8": (46, 40),
    "hdnn8": (44, 38),
    "hdnn8_smbr": (40, 34),
    "hdnn4_kd_q02_t1": (42, 36),
    "hdnn4_kd_q02_t1_seed1": (44, 40),
    "hdnn4_kd_q02_t1.gates_ce": (38, 32),
    "hdnn4_kd_q02_t1_seed1.gates_ce": (40, 34),
    "hdnn4_kd_q02_t1.gates_hidden_softmax_kl": (42, 40),
    "hdnn4_kd_q02_t1.lhuc_ce": (41, 35),
}


def write_network(folder: Path, model: str) -> None:
    front_end = FrontEnd(deltas=DeltaOptions(delta_order=0))
    config = NetworkConfig(model=model, context=1)
    Network(config, DIM, transitions(), front_end, False).write(folder)


def heard(errors: int) -> dict[str, str]:
    """Every fifth word of the text wrong as often as there are errors, the first words first."""
    words = [(utt, word) for word in range(5) for utt in TEXT]
    wrong = set(words[:errors])
    return {
        utt: " ".join("x" if (utt, i) in wrong else w for i, w in enumerate(text.split()))
        for utt, text in TEXT.items()
    }


def add_score(exp: Path, system: str, split: str, hypotheses: dict[str, str]) -> None:
    """Leaves the decoding's scoring files and its row."""
    name, dot, suffix = system.partition(".")
    decode = exp / name / f"decode_{split}{dot}{suffix}"
    decode.mkdir(parents=True, exist_ok=True)
    setting = Setting(12.0, 0.0)
    tuned_on = "decode_dev" if split == "test" else None
    sweep = Sweep({setting: score_wer(TEXT, hypotheses)}, setting, SPEAKERS, tuned_on)
    write_sweep(sweep, decode)
    add_row(make_row(sweep, system, split, f"kds score {system}"), exp / "results.json")


def make_experiment(exp: Path) -> Path:
    """EXP with Gaussian and neural systems, seeds, adaptations, metrics and times."""
    for name, model in MODELS.items():
        write_network(exp / name, model)
        rows = [{"epoch": e, "dev_loss": 3 - e / 10, "dev_accuracy": 20.0 + e} for e in range(4)]
        if name.endswith("smbr"):
            rows = [{"epoch": e, "dev_criterion": e / 10 - 1, "dev_added": 0} for e in (1, 2)]
            (exp / name / "initial.json").write_text('{"criterion": -1, "added": 0}')
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (exp / name / "metrics.jsonl").write_text(lines)
    for name in ("hdnn4_kd_q02_t1", "hdnn4_kd_q02_t1_seed1"):
        teacher = network_id(exp / "hdnn8_smbr")
        distill = {"q": 0.2, "temperature": 1.0, "top_k": 5, "teacher": f"{teacher}, x on y"}
        (exp / name / "config.yaml").write_text(json.dumps({"identity": {"distill": distill}}))
    (exp / "hdnn4/config.yaml").write_text('{"identity": {}}')
    for system, errors in ERRORS.items():
        for split, count in zip(("dev", "test"), errors, strict=True):
            add_score(exp, system, split, heard(count))
    (exp / "times").mkdir()
    (exp / "times/train_hdnn8").write_text("1000 34 600\n")
    (exp / "times/decode_hdnn8_test").write_text("10 2 30\n")
    data = exp.parent / "data/test"
    data.mkdir(parents=True, exist_ok=True)
    (data / "utt2num_frames").write_text("".join(f"{utt} 500\n" for utt in TEXT))
    return exp
