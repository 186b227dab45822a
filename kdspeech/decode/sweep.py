"""Word error rates of lattices over LM scales and word insertion penalties."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kdspeech.decode.lattice import Lattice
from kdspeech.decode.wer import WerScore
from kdspeech.io.errors import InputError

SCALES = tuple(range(7, 26))
"""Kaldi's end at 17, where adapted triphones may still gain."""
PENALTIES = (0.0, 0.5, 1.0)
GIVEN = "the options"
"""Where a setting is from that was not chosen by its scores."""


class Setting(NamedTuple):
    """An LM scale, which divides acoustic costs as in Kaldi's scoring, and a cost per word."""

    scale: float
    penalty: float

    @property
    def name(self) -> str:
        """What the setting's files are called by: 12_0.5."""
        return f"{self.scale:g}_{self.penalty}"


def settings_of(scales: Sequence[float], penalties: Sequence[float]) -> list[Setting]:
    """All pairs. Raises InputError for a scale that is not above 0, or if there is none."""
    wrong = [scale for scale in scales if not scale > 0]
    if wrong or not scales or not penalties:
        raise InputError(f"LM scales are above 0, not {wrong[0] if wrong else 'none'}")
    return [Setting(scale, float(penalty)) for penalty in penalties for scale in scales]


@dataclass(frozen=True)
class Sweep:
    """Scores at every setting.

    Attributes:
        scores: the score at each setting.
        chosen: the setting to report: the best one here, or that of another set.
        utt2spk: utterance -> speaker.
        tuned_on: the decoding directory whose setting was taken, GIVEN for one that was said, None
            for this one's.
    """

    scores: dict[Setting, WerScore]
    chosen: Setting
    utt2spk: dict[str, str]
    tuned_on: str | None = None

    @property
    def score(self) -> WerScore:
        """The score at the chosen setting."""
        return self.scores[self.chosen]

    @property
    def best(self) -> Setting:
        """The setting that is best here, whatever was chosen."""
        return best_setting(self.scores)


def best_setting(scores: Mapping[Setting, WerScore]) -> Setting:
    """The setting with the fewest errors; of equals the first."""
    return min(scores, key=lambda setting: scores[setting].total.errors)


def best_paths(
    lattices: Iterable[tuple[str, Lattice]],
    words: Mapping[int, str],
    settings: Sequence[Setting],
) -> dict[Setting, dict[str, list[str]]]:
    """The words of every utterance's best path at every setting.

    An empty lattice has no path; its utterance is left out.

    Raises:
        InputError: a word that `words` (id -> word) lacks; names the utterance.
    """
    found: dict[Setting, dict[str, list[str]]] = {setting: {} for setting in settings}
    for utterance, lattice in lattices:
        if lattice.num_states == 0:
            continue
        for setting in settings:
            path = lattice.best_path(1 / setting.scale, 1.0, setting.penalty)
            found[setting][utterance] = spell(path.words.tolist(), words, utterance)
    return found


def spell(ids: list[int], words: Mapping[int, str], utterance: str) -> list[str]:
    """Words by their ids. Raises InputError, naming the utterance, for one that is not there."""
    try:
        return [words[i] for i in ids]
    except KeyError as error:
        raise InputError(
            f"{utterance}: its lattice has the word {error}, which words.txt lacks (is it the "
            "words.txt of the graph?)"
        ) from None
