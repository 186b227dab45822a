"""diverged.json: a training whose loss was no longer finite is not trained to there again."""

import json
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.train.checkpoint import differences

DIVERGED = "diverged.json"


class DivergedError(InputError):
    """A training whose loss is no longer finite."""


def note_divergence(directory: Path, error: DivergedError, settings: dict) -> None:
    """Writes diverged.json: what happened, where, and with which settings."""
    with atomic_path(directory / DIVERGED) as temporary:
        content = {"error": str(error), "settings": settings}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check_not_diverged(directory: Path, settings: dict) -> None:
    """Raises DivergedError where a training with these settings has diverged in the directory.

    Raises:
      InputError: diverged.json is damaged.
    """
    path = directory / DIVERGED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        error, before = content["error"], content["settings"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it") from None
    if not differences(before, settings):
        raise DivergedError(f"{error}. So it ended before; remove {path} to try again")
