"""Configurations: YAML files in `conf/`, checked by pydantic models that allow no unknown key."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kdspeech.io.errors import InputError


class Config(BaseModel):
    """Base of every configuration: unknown keys, nan and inf are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


C = TypeVar("C", bound=BaseModel)


def load_config(model: type[C], path: str | Path, overrides: list[str] | None = None) -> C:
    """Reads a YAML file into `model`.

    Args:
        model: the pydantic class that says which keys exist and of which type.
        path: the YAML file.
        overrides: `section.key=value` strings, the value in YAML, applied over the file.

    Raises:
        InputError: no such file, bad YAML, an unknown key or a wrong type; names file and key.
    """
    values = _read_yaml(path)
    for override in overrides or []:
        _apply(values, override)
    set_here = {override.partition("=")[0].strip() for override in overrides or []}
    return check_config(model, values, path, set_here)


def has_section(path: str | Path, name: str) -> bool:
    """Whether a YAML file has a key of that name; InputError as `load_config`."""
    return name in _read_yaml(path)


def check_config(model: type[C], values: dict, path: str | Path, set_here: Iterable[str] = ()) -> C:
    """Makes a `model` of values that came from `path`; of those named in `set_here`, from --set.

    Raises:
        InputError: an unknown key or a wrong value; names file and key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = [_describe(path, set(set_here), e) for e in error.errors()]
        raise InputError("\n".join(errors)) from None


def save_config(config: BaseModel) -> str:
    """The configuration as YAML text, with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


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


def _describe(path: str | Path, set_here: set[str], error: dict) -> str:
    """One pydantic error as `file: section.key: what is wrong`, the file being --set where it was.

    `set_here` holds the keys that --set gave.
    """
    where = ".".join(str(part) for part in error["loc"]) or "(the whole file)"
    if any(where == key or where.startswith(f"{key}.") for key in set_here):
        path = "--set"
    if error["type"] == "extra_forbidden":
        return f"{path}: {where}: unknown key (see `kds` help or docs/ for the keys there are)"
    if error["type"] == "missing":
        return f"{path}: {where}: this key is needed and is not there"
    return f"{path}: {where}: {error['msg']} (got {error['input']!r})"
