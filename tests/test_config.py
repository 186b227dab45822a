import pytest
import yaml

from kdspeech.config import Config, has_section, load_config, save_config
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


class Deep(Config):
    words: list[str]
    inner: Inner = Inner()
    sections: dict[str, dict[str, int]] = {}


def write_all(folder, **texts):
    """Writes NAME.yaml of each text; returns the last one."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def test_a_file_says_only_in_what_it_differs_from_the_one_it_extends(tmp_path):
    (tmp_path / "sub").mkdir()
    base = "words: [a, b]\ninner: {rate: 2}\nsections: {x: {p: 1, q: 2}, y: {p: 3}}"
    write_all(tmp_path, base=base, middle="extends: base.yaml\nsections: {x: {q: 5}, z: {p: 6}}")
    last = write_all(tmp_path / "sub", last="extends: ../middle.yaml\nwords: [c]\ninner: {rate: 7}")
    config = load_config(Deep, last, ["sections.y.p=8"])
    assert config.words == ["c"] and config.inner.rate == 7
    assert config.sections == {"x": {"p": 1, "q": 5}, "y": {"p": 8}, "z": {"p": 6}}
    assert "extends" not in save_config(config) and "p: 6" in save_config(config)
    assert has_section(last, "sections") and not has_section(last, "extends")


@pytest.mark.parametrize(
    "base, variant, overrides, message",
    [
        ("words: [a]\ninner: {rat: 1}", "inner: {rate: 2}", [], r"base\.yaml: inner\.rat: unknown"),
        ("words: [a]\ninner: {rate: 1}", "inner: {rat: 2}", [], r"variant\.yaml: inner\.rat: unk"),
        ("words: [a]\nspeed: 1", "inner: {rate: 2}", [], r"base\.yaml: speed: unknown key"),
        ("words: [a]", "inner: {rate: fast}", [], r"variant\.yaml: inner\.rate: .*number"),
        ("words: [a]\ninner: {rate: fast}", "inner: {rate: slow}", [], r"variant\..*'slow'"),
        ("words: [a]\ninner: {rat: 1}", "", ["inner.rat=2"], r"^--set: inner\.rat: unknown"),
        ("inner: {rate: 1}", "inner: {rate: 2}", [], r"variant\.yaml: words: this key is needed"),
        ("- a", "words: [a]", [], r"base\.yaml: expected `key: value` lines"),
        ("extends: none.yaml", "words: [a]", [], r"base\.yaml: extends: none\.yaml: no such file"),
        ("extends: [c]", "words: [a]", [], r"base\.yaml: extends: \['c'\]: no such file"),
        (
            "extends: variant.yaml",
            "words: [a]",
            [],
            r"base\.yaml: extends: variant\.yaml extends t",
        ),
        ("extends: base.yaml", "words: [a]", [], r"base\.yaml: extends: base\.yaml extends this"),
    ],
)
def test_errors_of_a_file_that_extends_another(tmp_path, base, variant, overrides, message):
    path = write_all(tmp_path, base=base, variant=f"extends: base.yaml\n{variant}")
    with pytest.raises(InputError, match=message):
        load_config(Outer, path, overrides)
