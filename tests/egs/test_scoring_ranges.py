"""egs/speechocean762/local/scoring_ranges.py: a speaker's setting is chosen on the others alone."""

import importlib.util
from pathlib import Path

from kdspeech.decode.wer import score_wer

SCRIPT = Path(__file__).resolve().parents[2] / "egs/speechocean762/local/scoring_ranges.py"
spec = importlib.util.spec_from_file_location("scoring_ranges", SCRIPT)
scoring_ranges = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scoring_ranges)


def test_a_speaker_has_no_part_in_the_choice_of_its_setting():
    """Setting 7 is right on b alone, 8 on a and c; each speaker gets what is wrong for it."""
    reference = {"a1": "one two", "b1": "one two", "c1": "one two three four"}
    utt2spk = {utterance: utterance[0] for utterance in reference}
    wrong = {"a1": "two two", "b1": "two one", "c1": "one two three"}
    scores = {
        7: score_wer(reference, {**wrong, "b1": reference["b1"]}),
        8: score_wer(reference, {**reference, "b1": wrong["b1"]}),
    }
    errors = {7: (1, 0, 1), 8: (0, 2, 0)}
    assert {k: tuple(score.counts.sum(1)) for k, score in scores.items()} == errors
    # For a: b and c have 1 error at 7, 2 at 8, so 7 and 1 error; for b: 2 against 0, so 8 and 2;
    # for c: 1 against 2, so 7 and 1. Of 8 words:
    assert scoring_ranges.left_out(scores, [7, 8], utt2spk) == 100 * (1 + 2 + 1) / 8
    assert scoring_ranges.left_out(scores, [8], utt2spk) == 100 * 2 / 8
