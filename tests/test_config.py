import pytest
import yaml

from kdspeech.config import Config, load_config, save_config
from kdspeech.io.errors import InputError


class Inner(Config):
    rate: float = 0.1


class Outer(Config):
    words: list[str]
    inner: Inner = Inner()


def write(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    return tmp_path / "c.yaml"


def test_values_and_defaults(tmp_path):
    config = load_config(Outer, write(tmp_path, "words: [yes_, no_]"))
    assert config.words == ["yes_", "no_"] and config.inner.rate == 0.1
    assert yaml.safe_load(save_config(config)) == {"words": ["yes_", "no_"], "inner": {"rate": 0.1}}


def test_overrides(tmp_path):
    path = write(tmp_path, "words: [a]")
    config = load_config(Outer, path, ["inner.rate=0.5", "words=[b, c]"])
    assert config.inner.rate == 0.5 and config.words == ["b", "c"]


@pytest.mark.parametrize(
    "text,message",
    [
        ("words: [a]\ninner: {rat: 1}", r"c\.yaml: inner\.rat: unknown key"),
        ("words: [a]\nspeed: 1", r"c\.yaml: speed: unknown key"),
        ("words: [a]\ninner: {rate: fast}", r"c\.yaml: inner\.rate: .*number.*'fast'"),
        ("words: [a]\ninner: {rate: .nan}", r"c\.yaml: inner\.rate: .*finite.*nan"),
        ("words: [a]\ninner: {rate: .inf}", r"c\.yaml: inner\.rate: .*finite.*inf"),
        ("inner: {rate: 1}", r"c\.yaml: words: this key is needed"),
        ("words: [a\nb: 1", r"c\.yaml:2: not valid YAML"),
        ("- a\n- b", r"c\.yaml: expected `key: value` lines, got a list"),
    ],
)
def test_errors_name_file_and_key(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_config(Outer, write(tmp_path, text))


def test_no_text(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"words: [\xff]")
    with pytest.raises(InputError, match=r"c\.yaml: not UTF-8"):
        load_config(Outer, tmp_path / "c.yaml")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no\.yaml: cannot read"):
        load_config(Outer, tmp_path / "no.yaml")


@pytest.mark.parametrize("override", ["inner.rate", "words.a=1", "inner.rate=[", "inner.x=1"])
def test_bad_overrides(tmp_path, override):
    with pytest.raises(InputError):
        load_config(Outer, write(tmp_path, "words: [a]"), [override])


def test_an_unknown_key_that_was_set_is_named_as_set_not_as_in_the_file(tmp_path):
    with pytest.raises(InputError, match=r"^--set: inner\.rat: unknown key"):
        load_config(Outer, write(tmp_path, "words: [a]"), ["inner.rat=3"])
