"""The dictionary and lang directories, against Kaldi's files and by hand."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdspeech.graph import Lang, Lexicon, prepare_lang
from kdspeech.graph.lexicon import Pronunciation
from kdspeech.graph.lexicon_fst import add_disambig, lexicon_fst
from kdspeech.graph.symbols import number_symbols
from kdspeech.io.errors import InputError
from kdspeech.io.fst import Fst

LEXICON = "<UNK> SPN\na AH\na EY\nat AE T\neight EY T\nate EY T\n"


@pytest.fixture
def dict_dir(tmp_path):
    folder = tmp_path / "dict"
    write_dict(folder, LEXICON)
    return folder


def write_dict(folder, lexicon, name="lexicon.txt", silence="SIL\nSPN\n", others="AE\nAH\nEY\nT\n"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(lexicon)
    (folder / "silence_phones.txt").write_text(silence)
    (folder / "optional_silence.txt").write_text("SIL\n")
    (folder / "nonsilence_phones.txt").write_text(others)


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.golden
def test_equals_kaldis_lang(golden, golden_lang):
    lang = golden_lang.folder
    here = golden / "lattice"
    for name in ("phones.txt", "words.txt"):
        assert (lang / name).read_text() == (here / name).read_text()
    for name in ("align_lexicon", "disambig", "wdisambig_phones", "wdisambig_words"):
        assert (lang / f"phones/{name}.int").read_text() == (here / f"{name}.int").read_text()
    for name in ("extra_questions", "sets", "roots"):
        kaldi = (golden / f"gmm/models/{name}.int").read_text()
        assert (lang / f"phones/{name}.int").read_text() == kaldi
    boundaries = (lang / "phones/word_boundary.int").read_text()
    assert boundaries == (here / "word_boundary.int").read_text()
    assert (lang / "topo").read_text().split() == (here / "topo").read_text().split()
    ours = canonical(Fst.read(lang / "L_disambig.fst"))
    assert ours == canonical(read_text_fst(here / "L_disambig.fst.txt"))


def read_text_fst(path) -> Fst:
    rows = [line.split() for line in lines(path)]
    arcs = [row for row in rows if len(row) > 2]
    finals = np.full(1 + max(int(n) for row in arcs for n in row[:2]), np.inf)
    for row in rows:
        if len(row) < 3:
            finals[int(row[0])] = float(row[1]) if len(row) > 1 else 0.0
    dtype = [("ilabel", "<i4"), ("olabel", "<i4"), ("cost", "<f4"), ("next", "<i4")]
    table = [(int(a[2]), int(a[3]), float((a + [0])[4]), int(a[1])) for a in arcs]
    sources = [int(row[0]) for row in arcs]
    return Fst.from_arcs(int(rows[0][0]), sources, np.array(table, dtype), finals)


def canonical(fst: Fst):
    """The arcs with states numbered as met from the start, arcs in the order of their labels."""
    number, queue, found = {fst.start: 0}, deque([fst.start]), []
    while queue:
        state = queue.popleft()
        arcs = fst.arcs[fst.offsets[state] : fst.offsets[state + 1]].tolist()
        for i, o, cost, to in sorted(arcs):
            if to not in number:
                number[to] = len(number)
                queue.append(to)
            found.append((number[state], i, o, round(cost, 5), number[to]))
    finals = {number[s]: float(c) for s, c in enumerate(fst.finals) if np.isfinite(c)}
    return found, finals


def test_lang_reads_what_was_prepared(dict_dir, tmp_path):
    lang = Lang.read(prepare_lang(dict_dir, tmp_path / "lang"))
    assert lang.phones == number_symbols(
        ["SIL", "SPN", "AE", "AH", "EY", "T", "#0", "#1", "#2", "#3"]
    )
    words = ["<UNK>", "a", "at", "ate", "eight", "#0", "<s>", "</s>"]
    assert lang.words == number_symbols(words)
    assert (lang.oov, lang.oov_id) == ("<UNK>", 1)
    assert lang.silence_phones == [1, 2] and lang.nonsilence_phones == [3, 4, 5, 6]
    assert lang.disambig == [7, 8, 9, 10] and lang.optional_silence == 1
    assert lang.word_boundary == {} and lang.word_disambig == 6
    assert lang.topo.phones == [1, 2, 3, 4, 5, 6]
    assert lang.int_rows("sets") == [[1], [2], [3], [4], [5], [6]]
    np.testing.assert_array_equal(lang.word_ids(["a", "b", "at"]), [2, 1, 3])


def test_shared_silence_and_extra_questions(dict_dir, tmp_path):
    (dict_dir / "extra_questions.txt").write_text("AE AH EY\n")
    lang = prepare_lang(dict_dir, tmp_path / "lang", share_silence_phones=True, num_sil_states=3)
    roots = (lang / "phones/roots.txt").read_text().splitlines()
    assert roots[:2] == ["not-shared not-split SIL SPN", "shared split AE"]
    assert (lang / "phones/extra_questions.int").read_text() == "3 4 5\n"
    assert Lang.read(lang).topo.num_pdf_classes(1) == 3


def test_disambiguation_by_hand():
    def entry(word, phones):
        return Pronunciation(word, 1.0, tuple(phones.split()))

    marked, highest = add_disambig(
        [entry("a", "EY"), entry("eight", "EY T"), entry("ate", "EY T"), entry("hey", "HH EY")]
    )
    assert highest == 2
    assert [" ".join(e.phones) for e in marked] == ["EY #1", "EY T #1", "EY T #2", "HH EY"]


PHONES = ("P", "T", "K")
LEXICONS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([1.0, 0.5, 0.1]),
        st.lists(st.sampled_from(PHONES), min_size=1, max_size=4).map(tuple),
    ).map(lambda row: Pronunciation(*row)),
    min_size=1,
    max_size=8,
    unique_by=lambda entry: (entry.word, entry.phones),
)


@given(LEXICONS, st.sampled_from([0.0, 0.5, 0.8]))
def test_lexicon_fst_accepts_each_word_at_its_cost(entries, sil_prob):
    phones = number_symbols(["SIL", *PHONES])
    words = number_symbols(["one", "two", "three"])
    fst = lexicon_fst(entries, phones, words, "SIL", sil_prob)
    for entry in entries:
        ids = [phones[phone] for phone in entry.phones]
        expected = -np.log(entry.prob) - 2 * np.log(1 - sil_prob)
        assert cost(fst, ids, [words[entry.word]]) == pytest.approx(expected, abs=1e-5)
        with_silence = cost(fst, [1, *ids], [words[entry.word]])
        if sil_prob:
            expected += np.log(1 - sil_prob) - np.log(sil_prob)
            assert with_silence == pytest.approx(expected, abs=1e-5)
        else:
            assert with_silence == np.inf


def cost(fst: Fst, phones, words) -> float:
    """The cost of the best path with these labels, searched breadth-first."""
    best, states = np.inf, [(fst.start, 0, 0, 0.0)]
    while states:
        state, i, j, total = states.pop()
        if i == len(phones) and j == len(words):
            best = min(best, total + float(fst.finals[state]))
        for arc in fst.arcs[fst.offsets[state] : fst.offsets[state + 1]]:
            a, b = int(arc["ilabel"]), int(arc["olabel"])
            fits = (not a or phones[i : i + 1] == [a]) and (not b or words[j : j + 1] == [b])
            if fits:
                states.append((int(arc["next"]), i + (a > 0), j + (b > 0), total + arc["cost"]))
    return best


@given(LEXICONS)
def test_disambiguated_pronunciations_are_no_prefix_of_another(entries):
    marked, _ = add_disambig(entries)
    sequences = [entry.phones for entry in marked]
    assert len(set(sequences)) == len(sequences)
    for a in sequences:
        assert not any(b[: len(a)] == a for b in sequences if b != a)
    assert [tuple(p for p in s if p[0] != "#") for s in sequences] == [e.phones for e in entries]


BAD_LEXICONS = [
    ("a AH\nb\n", r"lexicon.txt:2: the word b has no pronunciation"),
    ("a AH\nb X\n", r"lexicon.txt:2: the phone X is in neither"),
    ("a AH\na AH\n", r"lexicon.txt:2: a AH came before"),
    ("<s> AH\n", r"lexicon.txt:1: <s> cannot be a word"),
    ("a AH\n\nb AH\n", r"lexicon.txt:2: empty line"),
    ("", r"holds no word"),
    ("a AH\n", r"the lexicon has no <UNK>"),
]


@pytest.mark.parametrize("text, message", BAD_LEXICONS)
def test_bad_lexicon(tmp_path, text, message):
    write_dict(tmp_path / "dict", text)
    with pytest.raises(InputError, match=message):
        prepare_lang(tmp_path / "dict", tmp_path / "lang")
    assert not (tmp_path / "lang").exists()


@pytest.mark.parametrize("row", ["a AH", "a 0 AH", "a 1.5 AH", "a nan AH", "a"])
def test_bad_probability(tmp_path, row):
    write_dict(tmp_path / "dict", f"<UNK> 1.0 SPN\n{row}\n", "lexiconp.txt")
    with pytest.raises(InputError, match="lexiconp.txt:2: .*probability"):
        Lexicon.read(tmp_path / "dict")


def test_lexicons_that_disagree(dict_dir):
    (dict_dir / "lexiconp.txt").write_text("<UNK> 1.0 SPN\n")
    with pytest.raises(InputError, match=r"lexicon.txt: only this .* has `a AH`"):
        Lexicon.read(dict_dir)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("silence_phones.txt", "SIL\nSPN\nT\n", "silence_phones.txt and of the others: T"),
        ("nonsilence_phones.txt", "AE\nAE\n", "nonsilence_phones.txt:2: the phone AE stands"),
        ("nonsilence_phones.txt", "", "no phone in it"),
        ("nonsilence_phones.txt", "#1\n", "cannot be the name of a phone"),
        ("optional_silence.txt", "SIL\nSPN\n", "should hold one phone"),
        ("optional_silence.txt", "AE\n", "not in silence_phones"),
        ("extra_questions.txt", "AE AX\n", "extra_questions.txt:1: the phone AX"),
    ],
)
def test_bad_phone_lists(dict_dir, name, text, message):
    (dict_dir / name).write_text(text)
    with pytest.raises(InputError, match=message):
        Lexicon.read(dict_dir)


def test_silence_probabilities_by_word_are_not_dropped_silently(dict_dir):
    (dict_dir / "lexiconp_silprob.txt").write_text("a 1.0 0.5 1.0 1.0 AH\n")
    with pytest.raises(InputError, match="lexiconp_silprob.txt: .*not supported"):
        Lexicon.read(dict_dir)


def test_missing_file(dict_dir):
    (dict_dir / "optional_silence.txt").unlink()
    with pytest.raises(InputError, match="optional_silence.txt: cannot be read"):
        Lexicon.read(dict_dir)


def test_bad_options(dict_dir, tmp_path):
    with pytest.raises(InputError, match="probability of silence"):
        prepare_lang(dict_dir, tmp_path / "lang", sil_prob=1.0)
    (dict_dir / "nonsilence_phones.txt").write_text("AE\nAH\nEY\nT\nT_B\n")
    with pytest.raises(InputError, match="T_B"):
        prepare_lang(dict_dir, tmp_path / "lang", position_dependent=True)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("words.txt", "<eps> 0\na one\n", "words.txt:2"),
        ("words.txt", "<eps> 0\na 0\n", "words.txt:2: duplicate id 0"),
        ("phones/silence.int", "1 x\n", "silence.int:1: not a list"),
        ("phones/silence.int", "1\n99\n", "phone 99"),
        ("phones/optional_silence.int", "", "should hold one number"),
        ("oov.int", "99\n", "the word 99 is not in words.txt"),
        ("topo", "<Topology>", "topo"),
    ],
)
def test_damaged_lang(dict_dir, tmp_path, name, text, message):
    lang = prepare_lang(dict_dir, tmp_path / "lang")
    (lang / name).write_text(text)
    with pytest.raises(InputError, match=message):
        Lang.read(lang)


def test_command(dict_dir, tmp_path):
    from typer.testing import CliRunner

    from kdspeech.cli.main import app

    arguments = ["prepare-lang", str(dict_dir), str(tmp_path / "lang"), "--oov", "at"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "9 words, 6 phones" in result.output
    assert Lang.read(tmp_path / "lang").oov == "at"


def test_only_langs_are_replaced(dict_dir, tmp_path):
    for _ in range(2):
        prepare_lang(dict_dir, tmp_path / "lang")
        assert not (tmp_path / "lang/G.fst").exists()
        (tmp_path / "lang/G.fst").touch()
    with pytest.raises(InputError, match="dict: cannot be made from itself"):
        prepare_lang(dict_dir, dict_dir)
    (tmp_path / "lang/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"lang: holds something else .*, thesis\.txt"):
        prepare_lang(dict_dir, tmp_path / "lang")
    assert (dict_dir / "lexicon.txt").exists() and (tmp_path / "lang/thesis.txt").exists()
