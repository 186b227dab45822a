"""A small spoken corpus without audio: each phone is a pattern of features, with noise."""

from pathlib import Path

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.features.jobs import compute_cmvn
from kdspeech.graph import prepare_lang
from kdspeech.io.ark import write_ark

DIM = 4
WORDS = {"ba": "B A", "ab": "A B", "da": "D A", "add": "A D"}
_SECOND = 100  # frames


def make_lang(folder: Path) -> Path:
    """A lang directory of the WORDS."""
    dict_dir = folder / "dict"
    dict_dir.mkdir(parents=True)
    lexicon = {"<UNK>": "SPN", **WORDS}
    lines = "".join(f"{word} {phones}\n" for word, phones in lexicon.items())
    (dict_dir / "lexicon.txt").write_text(lines)
    (dict_dir / "silence_phones.txt").write_text("SIL\nSPN\n")
    (dict_dir / "nonsilence_phones.txt").write_text("A\nB\nD\n")
    (dict_dir / "optional_silence.txt").write_text("SIL\n")
    (dict_dir / "extra_questions.txt").write_text("SIL SPN\nA\nB D\n")
    return prepare_lang(dict_dir, folder / "lang", num_sil_states=3)


def make_data(
    folder: Path, speakers: int = 4, utterances: int = 8, words: int = 4, seed: int = 0
) -> Path:
    """A data directory with features, CMVN statistics and text; speakers are shifted apart."""
    rng = np.random.default_rng(seed)
    patterns = {phone: 4 * np.random.default_rng(7).standard_normal((6, 3, DIM))[i] for i, phone
                in enumerate(("SIL", "SPN", "A", "B", "D"))}  # fmt: skip
    tables, feats = {"text": {}, "utt2spk": {}}, {}
    for s in range(speakers):
        shift, scale = rng.standard_normal(DIM), 1 + 0.2 * rng.standard_normal(DIM)
        for u in range(utterances):
            utt = f"s{s}-u{u}"
            said = rng.choice(sorted(WORDS), words).tolist()
            phones = ["SIL", *" SIL ".join(WORDS[w] for w in said).split(), "SIL"]
            states = np.concatenate([patterns[phone] for phone in phones])
            frames = np.repeat(states, rng.integers(3, 8, len(states)), axis=0)
            noise = rng.standard_normal(frames.shape)
            feats[utt] = ((frames + noise) * scale + shift).astype(np.float32)
            tables["text"][utt], tables["utt2spk"][utt] = " ".join(said), f"s{s}"
    return write_data(folder, tables, feats)


def write_data(folder: Path, tables: dict, feats: dict[str, np.ndarray]) -> Path:
    """Writes the directory and computes its CMVN statistics."""
    folder.mkdir(parents=True)
    write_ark(folder / "feats.ark", sorted(feats.items()), folder / "feats.scp")
    listing = dict(line.split(None, 1) for line in (folder / "feats.scp").read_text().splitlines())
    data = DataDir(tables={**tables, "feats.scp": listing}).write(folder)
    compute_cmvn(data.path)
    return folder
