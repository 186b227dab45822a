"""The embedded corpus: layout, determinism, and what a user does wrong."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import wave
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from kdspeech.data.corpora import embedded, espeak, fsdd, generated, speech_commands, voices
from kdspeech.data.corpora.espeak import Espeak
from kdspeech.data.corpora.noises import background_noises
from kdspeech.io.errors import InputError

SMALL = {"speakers": 4, "takes": 1, "others": 3}


@pytest.fixture(autouse=True, scope="module")
def short_noise():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "NOISE_SECONDS", 11.0)
        patch.setattr(embedded, "CLIP_NOISE_SECONDS", 2.0)
        embedded._clip_noises.cache_clear()
        yield
    embedded._clip_noises.cache_clear()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, short_noise):
    folder = tmp_path_factory.mktemp("embedded") / "corpus"
    assert embedded.make_speech_commands(folder, **SMALL, seed=5) == 4 * 13
    return folder


def digest(folder):
    """One hash of all names and bytes below a folder."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def samples(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data, file.getframerate()


def test_layout_is_that_of_speech_commands(corpus):
    clips = [p for p in corpus.glob("*/*_nohash_*.wav")]
    assert len(clips) == 52
    assert set(embedded.TEN_WORDS) <= {p.parent.name for p in clips}
    assert {p.parent.name for p in clips} <= {*embedded.TEN_WORDS, *embedded.OTHER_WORDS}
    for path in clips:
        clip, rate = samples(path)
        assert rate == 16000 and len(clip) == 16000
        assert np.abs(clip.astype(int)).max() > 1000
    noises = {p.stem for p in (corpus / "_background_noise_").glob("*.wav")}
    assert noises == {
        *("white_noise", "pink_noise", "mains_hum", "running_tap", "rattling_dishes", "babble")
    }


def test_thirty_five_words():
    assert len({*embedded.TEN_WORDS, *embedded.OTHER_WORDS}) == 35


def test_lists_follow_the_sha1_rule_and_no_set_is_empty(corpus):
    listed = defaultdict(set)
    for split, name in speech_commands.LISTS.items():
        for line in (corpus / name).read_text().split():
            assert (corpus / line).is_file()
            listed[split].add(line)
    for path in corpus.glob("*/*_nohash_*.wav"):
        split = speech_commands.split_of_speaker(path.name[:8])
        key = f"{path.parent.name}/{path.name}"
        assert [s for s in listed if key in listed[s]] == ([split] if split != "train" else [])
    assert len(listed["dev"]) == len(listed["test"]) == 13


def test_same_seed_same_bytes_in_one_process(corpus, tmp_path):
    with Espeak() as speaking:
        speaking.say("something else before", "en+f4")  # what was said elsewhere leaves no trace
    embedded.make_speech_commands(tmp_path / "again", **SMALL, seed=5)
    assert digest(tmp_path / "again") == digest(corpus)
    embedded.make_speech_commands(tmp_path / "other", **SMALL, seed=6)
    assert digest(tmp_path / "other") != digest(corpus)


def test_same_bytes_in_other_processes_and_over_jobs(tmp_path):
    code = "import sys; from kdspeech.data.corpora.embedded import make_speech_commands as make\n"
    code += "if __name__ == '__main__': make(sys.argv[1], 3, 1, 1, seed=2, nj=int(sys.argv[2]))"
    script = tmp_path / "make.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(embedded.__file__).parents[3])}
    for nj in ("1", "3"):
        command = [sys.executable, script, tmp_path / nj, nj]
        subprocess.run(command, check=True, env=environment)
    assert digest(tmp_path / "1") == digest(tmp_path / "3")


def test_speakers_do_not_depend_on_their_number(corpus, tmp_path):
    embedded.make_speech_commands(tmp_path / "three", **{**SMALL, "speakers": 3}, seed=5)
    for path in (tmp_path / "three").glob("*/*_nohash_*.wav"):
        assert path.read_bytes() == (corpus / path.parent.name / path.name).read_bytes()


def test_takes_differ(tmp_path):
    embedded.make_speech_commands(tmp_path / "c", speakers=3, takes=3, others=0)
    for word in embedded.TEN_WORDS:
        clips = [p.read_bytes() for p in sorted((tmp_path / "c" / word).iterdir())]
        assert len(clips) == len(set(clips)) == 9


def test_every_voice_says_the_same_in_every_process():
    code = """if True:
        import hashlib
        from kdspeech.data.corpora import voices
        from kdspeech.data.corpora.espeak import Espeak
        for variant in voices.VARIANTS:
            with Espeak() as speaking:
                said = [speaking.say(w, "en-us+" + variant).tobytes() for w in ("no", "six")]
            print(variant, hashlib.sha1(b"".join(said)).hexdigest())
        """
    environment = {**os.environ, "PYTHONPATH": str(Path(embedded.__file__).parents[3])}
    command = [sys.executable, "-c", code]
    first, second = (subprocess.check_output(command, env=environment) for _ in range(2))
    assert first.decode().split("\n") == second.decode().split("\n")


def test_every_voice_speaks():
    with Espeak() as speaking:
        for voice in {*voices.LANGUAGES, *(f"en-us+{v}" for v in voices.VARIANTS)}:
            word = speaking.say("seven.", voice)
            assert 0.2 < len(word) / speaking.sample_rate < 1.5, voice
            assert np.abs(word.astype(int)).max() > 2000, voice


def test_fsdd_layout(tmp_path):
    assert embedded.make_fsdd(tmp_path / "f", speakers=2, takes=11, nj=2) == 220
    files = sorted((tmp_path / "f").glob("*.wav"))
    assert len(files) == 220
    for path in files[::17]:
        clip, rate = samples(path)
        assert rate == 8000 and 0.1 < len(clip) / rate < 1.5
    audit = fsdd.prepare(tmp_path / "f", tmp_path / "data")
    assert audit.counts == {"train": {"words": 20}, "dev": {"words": 100}, "test": {"words": 100}}


def test_place_cuts_and_pads():
    rng = np.random.default_rng(0)
    word = np.ones(300, np.float32)
    lengths = [int(embedded.place(word, 1000, 1000, rng).sum()) for _ in range(500)]
    assert max(lengths) == 300 and min(lengths) < 300
    assert np.mean(np.array(lengths) < 300) < 0.05
    assert embedded.place(np.ones(1500, np.float32), 1000, 1000, rng).sum() > 800


def test_noise_ratio():
    rng = np.random.default_rng(0)
    clip = np.zeros(16000, np.float32)
    clip[4000:12000] = np.sin(np.arange(8000))
    mixed = embedded.add_noise(clip, 1000 * rng.standard_normal(40000), (0, 0), rng).astype(float)
    word, noise = np.mean(mixed[4000:12000] ** 2), np.mean(mixed[12000:] ** 2)
    assert word / noise == pytest.approx(2, rel=0.05)  # equal powers at 0 dB, and they add up


def test_noises_have_one_level_and_are_seeded():
    first = background_noises(3, 2.0, 16000, ["bird"])
    again = background_noises(3, 2.0, 16000, ["bird"])
    for name, noise in first.items():
        assert noise.dtype == np.int16 and noise.shape == (32000,)
        level = 20 * np.log10(np.sqrt(np.mean(noise.astype(float) ** 2)) / 32768)
        assert level == pytest.approx(-26.2, abs=0.5), name
        assert np.array_equal(noise, again[name])


@pytest.mark.parametrize(
    ("sizes", "word"),
    [({"speakers": 2}, "speakers"), ({"takes": 0}, "takes"), ({"others": 26}, "others")],
)
def test_impossible_sizes(sizes, word, tmp_path):
    with pytest.raises(InputError, match=word):
        embedded.make_speech_commands(tmp_path / "c", **sizes)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "c").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        embedded.make_speech_commands(tmp_path / "c")
    assert (tmp_path / "c").read_text() == "mine"


def test_without_espeak_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r"pip install 'kdspeech\[espeak\]'"):
        embedded.make_speech_commands(tmp_path / "c", **SMALL)
    assert not list(tmp_path.iterdir())


def test_espeak_that_is_no_library(monkeypatch, tmp_path):
    broken = tmp_path / "libespeak-ng.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(espeak, "_locate", lambda: (str(broken), str(tmp_path)))
    with pytest.raises(InputError, match="cannot be loaded"):
        Espeak()


def test_espeak_without_its_data(monkeypatch, tmp_path):
    library, _ = espeak._locate()
    monkeypatch.setattr(espeak, "_locate", lambda: (library, str(tmp_path)))
    with pytest.raises(InputError, match="cannot read its data"):
        Espeak()


def test_unknown_voice():
    with Espeak() as speaking, pytest.raises(InputError, match="no voice 'xx-nowhere'"):
        speaking.say("yes", "xx-nowhere")


def test_a_killed_worker_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "_speak_commands", _die)
    with pytest.raises(InputError, match="was killed"):
        embedded.make_speech_commands(tmp_path / "c", **SMALL, nj=2)
    assert not list(tmp_path.iterdir())


def _die(*job):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_full_disk_is_named_and_leaves_nothing(monkeypatch, tmp_path):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(generated.wave, "open", full)
    with pytest.raises(OSError, match="No space left on device: .*corpus"):
        embedded.make_speech_commands(tmp_path / "corpus", **SMALL)
    assert not list(tmp_path.iterdir())
