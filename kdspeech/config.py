"""Configurations: YAML files in `conf/`, checked by pydantic models that allow no unknown key.

A file with `extends: other.yaml` says only in what it differs from that one, named from its folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kdspeech.io.errors import InputError


class Config(BaseModel):
    """Base of every configuration: unknown keys, nan and inf are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


C = TypeVar("C", bound=BaseModel)

Sources = Sequence[tuple[str, str | Path]]
"""section.key and the file that sets it, or --set; of several the last one counts."""


def load_config(model: type[C], path: str | Path, overrides: list[str] | None = None) -> C:
    """Reads a YAML file into `model`, over the file that it extends, if it does.

    Args:
        model: the pydantic class that says which keys exist and of which type.
        path: the YAML file.
        overrides: `section.key=value` strings, the value in YAML, applied over the file.

    Raises:
        InputError: no such file, bad YAML, a file that extends itself, an unknown key or a wrong
            type; names file and key.
    """
    values, sources = _read(Path(path))
    for override in overrides or []:
        _apply(values, override)
        sources.append((override.partition("=")[0].strip(), "--set"))
    return check_config(model, values, path, sources)


def has_section(path: str | Path, name: str) -> bool:
    """Whether a YAML file, or one that it extends, has a key of that name; InputError as
    `load_config`."""
    return name in _read(Path(path))[0]


def check_config(model: type[C], values: dict, path: str | Path, sources: Sources = ()) -> C:
    """Makes a `model` of values that came from `path`, but for those that `sources` names.

    Raises:
        InputError: an unknown key or a wrong value; names file and key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = [_describe(path, sources, e) for e in error.errors()]
        raise InputError("\n".join(errors)) from None


def save_config(config: BaseModel) -> str:
    """The configuration as YAML text, with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> tuple[dict, list]:
    """The values of a file, over those of the one that it extends."""
    values, chain = _read_yaml(path), (*extended_by, path.resolve())
    base = values.pop("extends", None)
    sources = [(key, path) for key in _keys(values)]
    if base is None:
        return values, sources
    if not isinstance(base, str) or not (path.parent / base).is_file():
        raise InputError(f"{path}: extends: {base}: no such file")
    if (path.parent / base).resolve() in chain:
        raise InputError(f"{path}: extends: {base} extends this file itself")
    below, sources_below = _read(path.parent / base, chain)
    return _merge(below, values), [*sources_below, *sources]


def _keys(values: dict, prefix: str = "") -> Iterator[str]:
    """section.key of every value that is no section."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _merge(below: dict, above: dict) -> dict:
    """`above` over `below`, sections key by key."""
    sections = {
        key: _merge(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return below | above | sections


def _read_yaml(path: str | Path) -> dict:
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", error)
        raise InputError(f"{path}{line}: not valid YAML ({problem})") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `key: value` lines, got a {type(values).__name__}")
    return values


def _apply(values: dict, override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign:
        raise InputError(f"--set {override}: write section.key=value")
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {section} is a value, not a section")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: the value is not valid YAML") from None


def _describe(path: str | Path, sources: Sources, error: dict) -> str:
    """One pydantic error as `file: section.key: what is wrong`, the file being where it was set."""
    where = ".".join(str(part) for part in error["loc"]) or "(the whole file)"
    set_in = [file for key, file in sources if f"{where}.".startswith(f"{key}.")]
    path = set_in[-1] if set_in else path
    if error["type"] == "extra_forbidden":
        return f"{path}: {where}: unknown key (see `kds` help or docs/ for the keys there are)"
    if error["type"] == "missing":
        return f"{path}: {where}: this key is needed and is not there"
    return f"{path}: {where}: {error['msg']} (got {error['input']!r})"
