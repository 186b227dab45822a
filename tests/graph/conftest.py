"""The lang directory behind the golden graphs, made from its own dictionary."""

import pytest

from kdspeech.graph import Lang, prepare_lang


def golden_dict(golden, folder):
    """Writes the dictionary that the golden lang directory was made from."""
    folder.mkdir()
    lexicon = (golden / "lattice/lexiconp_disambig.txt").read_text().splitlines()
    rows = (line.split() for line in lexicon)
    text = "".join(f"{w} {p} {' '.join(x[:-2] for x in phones)}\n" for w, p, *phones in rows)
    (folder / "lexiconp.txt").write_text(text)
    symbols = (golden / "lattice/phones.txt").read_text().split()
    phones = [name[:-2] for name in symbols if name.endswith("_B")]
    (folder / "silence_phones.txt").write_text("SIL\nSPN\n")
    (folder / "optional_silence.txt").write_text("SIL\n")
    (folder / "nonsilence_phones.txt").write_text("".join(f"{phone}\n" for phone in phones[2:]))


@pytest.fixture(scope="session")
def golden_lang(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    golden_dict(golden, folder / "dict")
    return Lang.read(prepare_lang(folder / "dict", folder / "lang", position_dependent=True))
