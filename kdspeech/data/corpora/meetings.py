"""Embedded meetings: espeak-ng speaks short meetings in AMI's own layout.

Four people, each on a headset channel, talk about a remote control that they design. They take
turns with pauses or overlaps, others throw in "mm-hmm" and "okay", and each headset also hears the
others faintly. Audio and annotations are laid out as in the AMI corpus, so that its recipe runs
on them as they are; the meetings carry names of AMI's, and the folder's README says what they are.
The same seed gives the same bytes, whatever the number of jobs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from kdspeech.data.corpora.ami import ANNOTATIONS, SAMPLE_RATE
from kdspeech.data.corpora.espeak import Espeak
from kdspeech.data.corpora.generated import README, check_place, run_jobs, write_readme, write_wav
from kdspeech.data.corpora.voices import Speaker, draw_speaker, speak
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

# Of AMI's full-corpus-asr split; a group of four people holds several meetings.
GROUPS = {
    "train": ["ES2002", "ES2005", "ES2006", "ES2007", "ES2008", "ES2009"],
    "dev": ["ES2011"],
    "test": ["ES2004"],
}
MEETINGS_OF_A_GROUP = "abcd"
AGENTS = "ABCD"
FEMALE = {"f1", "f4", "Andrea", "Annie", "anika", "aunty", "belinda", "grandma", "linda", "shelby",
          "steph", "steph2"}  # fmt: skip

# fmt: off
PARTS = ["remote", "remote control", "buttons", "battery", "L_C_D_ screen", "case", "menu", "logo",
         "scroll wheel", "speaker", "joystick", "colour", "T_V_", "prototype", "volume button",
         "docking station", "voltiva chip"]
QUALITIES = ["cheap", "small", "yellow", "fancy", "wooden", "soft", "round", "user-friendly",
             "easy to use", "too big", "too expensive", "modern", "green", "simple"]
PEOPLE = ["I", "we", "the users", "young people", "the marketing people", "they"]
NUMBERS = ["two", "five", "ten", "twelve", "fifteen", "twenty five", "forty"]
FILLERS = ["um", "uh", "well", "so", "you know", "I mean", "and", "but"]
BACKCHANNELS = ["mm-hmm", "yeah", "okay", "uh-huh", "right", "no", "sure"]
SENTENCES = [
    "the {part} should be {quality}.", "{people} want a {quality} {part}.",
    "I think we need a {part}.", "what about the {part}?", "how much does the {part} cost?",
    "it costs {number} euros.", "we have {number} minutes left.", "let's talk about the {part}.",
    "I don't like the {part}.", "maybe the {part} is {quality}.", "could you show us the {part}?",
    "that's a good idea.", "we can't change the {part} now.", "I'll draw the {part} on the board.",
    "{people} never use the {part}.", "is it {quality}?", "thank you very much.",
    "the {part} and the {part2} are {quality}.", "we'll do the {part} in the next meeting.",
    "do {people} like it {quality}?", "okay, the {part} is done, what is next?",
]
# fmt: on
# What espeak-ng would spell is written here as it sounds.
SPOKEN = {"mm-hmm": "mhumm", "uh-huh": "uh huh", "hmm": "hum"}

GAP, OVERLAP = (0.35, 0.45), 0.9  # seconds between turns, mean and deviation; most of an overlap
CROSS_TALK, CROSS_DELAY = (22.0, 34.0), 0.006  # dB below one's own voice; seconds
NOISE = (45.0, 60.0)  # dB below full scale
LEVEL = (6.0, 16.0)  # peak of one's own voice, dB below full scale
PAUSE = (0.05, 0.25)  # seconds after a comma or a full stop within a turn


@dataclass(frozen=True)
class Clause:
    """Words up to a comma or the end of a sentence, and where they were said, in seconds."""

    words: list[str]
    mark: str
    start: float
    end: float


@dataclass(frozen=True)
class Turn:
    """What one person says in one go."""

    agent: int
    clauses: list[Clause]

    @property
    def start(self) -> float:
        return self.clauses[0].start

    @property
    def end(self) -> float:
        return self.clauses[-1].end


def make_meetings(
    out: str | os.PathLike,
    meetings: tuple[int, int, int] = (8, 2, 2),
    turns: int = 30,
    seed: int = 0,
    nj: int = 1,
) -> int:
    """Writes an embedded corpus in the layout of the AMI meetings.

    `amicorpus/<meeting>/audio/<meeting>.Headset-<n>.wav` (16 kHz, int16, one per person) and
    `ami_public_manual_1.6.2/{corpusResources,words,segments}` with times of every word. A clause's
    times are exact; within it each word gets a share by its letters.

    Args:
        out: folder to make; an older embedded corpus there is replaced.
        meetings: how many for training, development and testing, in AMI's full-corpus-asr split.
        turns: of a meeting, without the backchannels; about 1.9 seconds each.
        seed: of everything random.
        nj: number of processes.
    Returns:
        The number of meetings.
    Raises:
        InputError: espeak-ng is missing, a number is out of its range, or `out` holds other files.
    """
    names = _meeting_names(meetings)
    if turns < len(AGENTS):
        raise InputError(f"turns: {turns} asked for, at least {len(AGENTS)} needed")
    check_place(Path(out))
    with atomic_dir(out, ours=["amicorpus", ANNOTATIONS, README]) as folder:
        for name in ("corpusResources", "words", "segments"):
            (folder / ANNOTATIONS / name).mkdir(parents=True)
        run_jobs(_hold_meeting, [(folder, seed, name, turns) for name in names], nj)
        _write_xml(folder / ANNOTATIONS / "corpusResources/meetings.xml", _resources(seed, names))
        write_readme(folder, "the AMI meetings", f"{meetings=} {turns=} {seed=}")
    return len(names)


def _meeting_names(meetings: tuple[int, int, int]) -> list[str]:
    """ES2002a, ES2005a ... ES2002b ...: as many groups, so voices, as there are."""
    names = []
    for (split, groups), count in zip(GROUPS.items(), meetings, strict=True):
        known = [group + letter for letter in MEETINGS_OF_A_GROUP for group in groups]
        if not 1 <= count <= len(known):
            raise InputError(f"{split}: {count} meetings asked for, give 1 to {len(known)}")
        names += known[:count]
    return names


def people(seed: int, meeting: str) -> list[tuple[str, Speaker]]:
    """AMI's global name (sex, accent, number) and voice of the four; a group's are the same."""
    group = [g for names in GROUPS.values() for g in names].index(meeting[:6])
    found = []
    for i in range(len(AGENTS)):
        number = len(AGENTS) * group + i
        speaker = draw_speaker(seed, 1000 + number)
        sex = "F" if speaker.voice.split("+")[1] in FEMALE else "M"
        found.append((f"{sex}EE{number + 1:03d}", speaker))
    return found


def _hold_meeting(folder: Path, seed: int, meeting: str, num_turns: int) -> list[str]:
    """Speaks and writes one meeting; the name of its folder."""
    rng = np.random.default_rng([seed, 4, *meeting.encode()])
    voices = [voice for _, voice in people(seed, meeting)]
    script = list(_script(rng, num_turns))
    spoken = _speak_all(script, voices, rng)
    turns, pieces = _time_line(script, spoken, rng)
    length = int((max(turn.end for turn in turns) + 1) * SAMPLE_RATE)
    tracks = np.zeros((len(AGENTS), length), np.float32)
    for agent, start, samples in pieces:
        first = int(start * SAMPLE_RATE)
        tracks[agent, first : first + len(samples)] += samples
    for n, samples in enumerate(_headsets(tracks, rng)):
        path = folder / "amicorpus" / meeting / "audio" / f"{meeting}.Headset-{n}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, samples, SAMPLE_RATE)
    _annotate(folder / ANNOTATIONS, meeting, turns)
    return [meeting]


def _script(rng: np.random.Generator, turns: int) -> Iterator[tuple[int, list[str], bool]]:
    """Who says which clauses (`words` and a mark at the end), and whether it is a backchannel."""
    agent = 0
    for i in range(turns):
        agent = i if i < len(AGENTS) else int((agent + rng.integers(1, len(AGENTS))) % len(AGENTS))
        sentences = [_sentence(rng) for _ in range(1 + int(rng.random() < 0.25))]
        yield agent, [clause for sentence in sentences for clause in _clauses(sentence)], False
        if rng.random() < 0.3:
            other = int((agent + rng.integers(1, len(AGENTS))) % len(AGENTS))
            yield other, [f"{rng.choice(BACKCHANNELS)}."], True


def _sentence(rng: np.random.Generator) -> str:
    parts = rng.choice(PARTS, 2, replace=False)
    sentence = str(rng.choice(SENTENCES)).format(
        part=parts[0],
        part2=parts[1],
        quality=rng.choice(QUALITIES),
        people=rng.choice(PEOPLE),
        number=rng.choice(NUMBERS),
    )
    return f"{rng.choice(FILLERS)}, {sentence}" if rng.random() < 0.35 else sentence


def _clauses(sentence: str) -> list[str]:
    """ "so, is it small?" -> ["so,", "is it small?"]."""
    return sentence.replace(", ", ",\n").split("\n")


def _speak_all(script, voices: list[Speaker], rng) -> list[list[np.ndarray]]:
    """The samples of every clause, turn by turn; each voice in a synthesizer of its own."""
    synthesizers = [Espeak() for _ in voices]
    try:
        return [
            [
                speak(synthesizers[agent], voices[agent], _spoken(clause), rng, SAMPLE_RATE)
                for clause in clauses
            ]
            for agent, clauses, _ in script
        ]
    finally:
        for synthesizer in synthesizers:
            synthesizer.close()


def _spoken(clause: str) -> str:
    words = clause[:-1].replace("_", " ").split()
    return " ".join(SPOKEN.get(word, word) for word in words)


def _time_line(script, spoken, rng) -> tuple[list[Turn], list[tuple[int, float, np.ndarray]]]:
    """When each turn is held, and its pieces of sound (person, start in seconds, samples)."""
    turns, pieces = [], []
    free, floor, previous = [0.0] * len(AGENTS), 0.5, 0.5
    for (agent, clauses, is_backchannel), sounds in zip(script, spoken, strict=True):
        if is_backchannel:
            start = rng.uniform(previous, floor)
        else:
            start = previous = floor + max(rng.normal(*GAP), -OVERLAP)
        start = max(start, free[agent] + 0.2, 0.1)
        said = []
        for clause, samples in zip(clauses, sounds, strict=True):
            end = start + len(samples) / SAMPLE_RATE
            pieces.append((agent, start, samples))
            said.append(Clause(clause[:-1].split(), clause[-1], start, end))
            start = end + rng.uniform(*PAUSE)
        turns.append(Turn(agent, said))
        free[agent] = said[-1].end
        floor = floor if is_backchannel else said[-1].end
    return turns, pieces


def _headsets(tracks: np.ndarray, rng) -> Iterator[np.ndarray]:
    """What each headset records of the voices, (people, samples) with peak 1: int16 samples."""
    for own in range(len(tracks)):
        mixture = tracks[own] * _decibel(-rng.uniform(*LEVEL))
        for other in range(len(tracks)):
            if other != own:
                delay = int(rng.uniform(0, CROSS_DELAY) * SAMPLE_RATE)
                heard = tracks[other] * _decibel(-rng.uniform(*CROSS_TALK) - np.mean(LEVEL))
                mixture[delay:] += heard[: len(heard) - delay]
        noise = rng.standard_normal(tracks.shape[1], dtype=np.float32)
        mixture += noise * _decibel(-rng.uniform(*NOISE) - 10)
        yield np.clip(32767 * mixture, -32768, 32767).astype(np.int16)


def _decibel(value: float) -> np.float32:
    return np.float32(10 ** (value / 20))


def _annotate(folder: Path, meeting: str, turns: list[Turn]) -> None:
    """Writes words and segments of each person, with ids and references as in AMI."""
    for n, agent in enumerate(AGENTS):
        words, segments = [], []
        for turn in (turn for turn in sorted(turns, key=lambda t: t.start) if turn.agent == n):
            first = len(words)
            words += [word for clause in turn.clauses for word in _timed_words(clause)]
            segments.append((turn.start, turn.end, first, len(words) - 1))
        stem = f"{meeting}.{agent}"
        lines = [_word(f"{stem}.words{i}", *word) for i, word in enumerate(words)]
        _write_xml(folder / "words" / f"{stem}.words.xml", _root(f"{stem}.words", lines))
        lines = [_segment(stem, n, i, *segment) for i, segment in enumerate(segments)]
        _write_xml(folder / "segments" / f"{stem}.segments.xml", _root(f"{stem}.segs", lines))


def _timed_words(clause: Clause) -> list[tuple[str, float, float]]:
    """The words with start and end, and the mark, which takes no time."""
    ends = np.cumsum([len(word) + 1 for word in clause.words], dtype=float)
    times = clause.start + (clause.end - clause.start) * np.append(0.0, ends / ends[-1])
    words = list(zip(clause.words, times, times[1:], strict=False))
    return [*words, (clause.mark, clause.end, clause.end)]


def _word(name: str, word: str, start: float, end: float) -> str:
    mark = ' punc="true"' if word in ".,?" else ""
    times = f'starttime="{start:.2f}" endtime="{end:.2f}"'
    return f'<w nite:id="{name}" {times}{mark}>{escape(word)}</w>'


def _segment(stem: str, channel: int, i: int, start: float, end: float, *words: int) -> str:
    name, (first, last) = f"{stem}.sync.{i}", words
    begin, stop = np.floor(100 * start) / 100, np.ceil(100 * end) / 100
    times = f'transcriber_start="{begin:.3f}" transcriber_end="{stop:.3f}"'
    target = f"{stem}.words.xml#id({stem}.words{first})..id({stem}.words{last})"
    return (
        f'<segment nite:id="{name}" channel="{channel}" {times}>'
        f'<nite:child href="{target}"/></segment>'
    )


def _resources(seed: int, names: list[str]) -> list[str]:
    """corpusResources/meetings.xml: who sits on which channel."""
    lines = ["<meetings>"]
    for meeting in names:
        lines.append(f'<meeting observation="{meeting}">')
        for channel, (name, _) in enumerate(people(seed, meeting)):
            who = f'nxt_agent="{AGENTS[channel]}" global_name="{name}" channel="{channel}"'
            lines.append(f"<speaker {who}/>")
        lines.append("</meeting>")
    return [*lines, "</meetings>"]


def _root(name: str, lines: list[str]) -> list[str]:
    space = 'xmlns:nite="http://nite.sourceforge.net/"'
    return [f'<nite:root nite:id="{name}" {space}>', *lines, "</nite:root>"]


def _write_xml(path: Path, lines: list[str]) -> None:
    header = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>'
    path.write_text("\n".join([header, *lines]) + "\n", encoding="latin-1")
