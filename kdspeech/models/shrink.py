"""Smaller forms of a model: fewer blocks (`depth`) or narrower ones (`width`), per family.

Both are given by a factor: what is left of the number of blocks or of the channels. The result
always has at least one block or channel less; where that cannot be, there is none.
"""

import inspect
import re
from collections.abc import Callable, Sequence

from kdspeech.io.errors import InputError
from kdspeech.models.bc_resnet import BLOCKS
from kdspeech.models.build import MODELS
from kdspeech.models.ds_cnn import SIZES

Options = dict
WAYS = ("depth", "width")


def shrink(name: str, options: Options, by: str, factor: float) -> tuple[str, Options] | None:
    """The next smaller form of a model.

    Args:
      name: of MODELS, or an acoustic model's, (H)DNN-H<hidden>-L<layers>.
      options: the model's.
      by: "depth", fewer blocks, or "width", narrower ones.
      factor: what is left of them, within 0 and 1.

    Returns:
      Name and options of the smaller model; None where nothing is left to take away.

    Raises:
      InputError: no such model or way, or a factor out of its range.
    """
    if by not in WAYS:
        raise InputError(f"shrink by {by!r}: {' or '.join(WAYS)}")
    if not 0 < factor < 1:
        raise InputError(f"shrink by a factor of {factor}: it must be within 0 and 1")
    found = re.fullmatch(r"(H?DNN)-H(\d+)-L(\d+)", name)
    if found:
        return _acoustic(found[1], int(found[2]), int(found[3]), options, by, factor)
    if name not in SHRINK:
        raise InputError(f"no way to shrink {name!r}; there is one for {', '.join(SHRINK)}")
    smaller = SHRINK[name]({**_defaults(name), **options}, by, factor)
    return None if smaller is None else (name, {**options, **smaller})


def _defaults(name: str) -> Options:
    parameters = inspect.signature(MODELS[name]).parameters.values()
    return {p.name: p.default for p in parameters}


def _less(number: int, factor: float, least: int = 1) -> int | None:
    """`factor` of a number, rounded, and at least one less; None below `least`."""
    less = min(round(number * factor), number - 1)
    return None if number <= least else max(less, least)


def _all_less(numbers: Sequence[int], factor: float, least: int = 1) -> list[int] | None:
    """`_less` of each number that can be less; None where none can."""
    less = [_less(n, factor, least) for n in numbers]
    if all(n is None for n in less):
        return None
    return [old if new is None else new for old, new in zip(numbers, less, strict=True)]


def _fewer(numbers: Sequence[int], factor: float, least: int = 1) -> list[int] | None:
    """Leaves entries out at even distances, keeping the last one (and the first, of two)."""
    count = _less(len(numbers), factor, least)
    if count is None:
        return None
    if count == 1:
        return [numbers[-1]]
    return [numbers[round(i * (len(numbers) - 1) / (count - 1))] for i in range(count)]


def _one(key: str, value) -> Options | None:
    return None if value is None else {key: value}


def _res(options: Options, by: str, factor: float) -> Options | None:
    if by == "width":
        return _one("maps", _less(options["maps"], factor))
    pairs = _less(options["layers"] // 2, factor)  # a sum closes each pair of convs
    return None if pairs is None else {"layers": 2 * pairs + options["layers"] % 2}


def _resnet(options: Options, by: str, factor: float) -> Options | None:
    channels = options["channels"]
    smaller = _all_less(channels, factor) if by == "width" else _fewer(channels, factor, least=2)
    return _one("channels", smaller)


def _bc_resnet(options: Options, by: str, factor: float) -> Options | None:
    if by == "depth":
        return _one("blocks", _all_less(options.get("blocks", BLOCKS), factor))
    base = _less(int(8 * options["width"]), factor, least=2)  # the network counts in eighths
    return None if base is None else {"width": base / 8}


def _tc_resnet(options: Options, by: str, factor: float) -> Options | None:
    if by == "depth":
        return {"depth": 8} if options["depth"] > 8 else None
    first = _less(int(16 * options["width"]), factor)  # channels of the narrowest layer
    return None if first is None else {"width": first / 16}


def _ds_cnn(options: Options, by: str, factor: float) -> Options | None:
    channels, _, _, blocks = SIZES[options["size"]]
    if by == "width":
        return _one("channels", _less(options["channels"] or channels, factor))
    return _one("blocks", _less(options["blocks"] or blocks, factor))


def _mlp(options: Options, by: str, factor: float) -> Options | None:
    hidden = options["hidden"]
    return _one("hidden", _all_less(hidden, factor) if by == "width" else _fewer(hidden, factor))


def _vgg(options: Options, by: str, factor: float) -> Options | None:
    """Depth: fewer convolutions in every stage; where each has one, fewer stages."""
    channels, convs = options["channels"], options["convs"]
    if by == "width":
        return _one("channels", _all_less(channels, factor))
    fewer = _all_less(convs, factor)
    if fewer is not None:
        return {"convs": fewer}
    channels = _fewer(channels, factor)
    return None if channels is None else {"channels": channels, "convs": [1] * len(channels)}


def _acoustic(kind: str, hidden: int, layers: int, options: Options, by: str, factor: float):
    if by == "width":
        hidden = _less(hidden, factor)
    else:
        layers = _less(layers, factor)
    return None if hidden is None or layers is None else (f"{kind}-H{hidden}-L{layers}", options)


SHRINK: dict[str, Callable[[Options, str, float], Options | None]] = {
    "res8": _res,
    "res15": _res,
    "bc_resnet": _bc_resnet,
    "resnet": _resnet,
    "tc_resnet": _tc_resnet,
    "ds_cnn": _ds_cnn,
    "mlp": _mlp,
    "vgg": _vgg,
}
