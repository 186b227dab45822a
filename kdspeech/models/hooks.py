"""What the modules of a network put out, by their names."""

import contextlib
from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from kdspeech.io.errors import InputError


@contextlib.contextmanager
def outputs_of(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Gives a dict that holds the output of each named module after a forward pass within.

    Args:
      model: any network.
      names: as in `model.named_modules()`, e.g. "blocks.3" or "layers.0"; of a numbered module the
        last ones are also "blocks.-1", "blocks.-2", ...

    Raises:
      InputError: no such module; lists those there are.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            outputs[name] = output

        return hook

    with contextlib.ExitStack() as stack:
        for name in dict.fromkeys(names):
            handle = find_module(model, name).register_forward_hook(keep(name))
            stack.callback(handle.remove)
        yield outputs


@contextlib.contextmanager
def last_hidden(model: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a list that holds, after a forward pass within, the inputs (batch, dim) of the output
    layer, or of those of an ensemble's members: a module called `output`, else the last linear one.

    Raises:
      InputError: there is none.
    """
    inputs: list[Tensor] = []
    with contextlib.ExitStack() as stack:
        for member in getattr(model, "members", [model]):
            handle = _output_layer(member).register_forward_pre_hook(
                lambda _module, given: inputs.append(given[0])
            )
            stack.callback(handle.remove)
        yield inputs


def _output_layer(model: nn.Module) -> nn.Module:
    if isinstance(getattr(model, "output", None), nn.Module):
        return model.output
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"{type(model).__name__} has neither `output` nor a linear layer")
    return linear[-1]


def find_module(model: nn.Module, name: str) -> nn.Module:
    """The module of a name as in `outputs_of`.

    Raises:
      InputError: there is none.
    """
    module = model
    for part in name.split("."):
        children = dict(module.named_children())
        if part.startswith("-") and part[1:].isdigit() and int(part[1:]) <= len(children):
            part = list(children)[int(part)]
        if part not in children:
            known = [known for known, _ in model.named_modules() if known.count(".") < 2][1:]
            raise InputError(
                f"{type(model).__name__} has no module {name!r}; it has {', '.join(known)}"
            )
        module = children[part]
    return module
