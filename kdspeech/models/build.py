"""A model by its name in a recipe's conf."""

import inspect

from torch import nn

from kdspeech.io.errors import InputError
from kdspeech.models.bc_resnet import BCResNet
from kdspeech.models.ds_cnn import DSCNN
from kdspeech.models.mlp import MLP
from kdspeech.models.res import Res8, Res15
from kdspeech.models.resnet import ResNet
from kdspeech.models.tc_resnet import TCResNet
from kdspeech.models.vgg import VGG

MODELS = {
    "res8": Res8,
    "res15": Res15,
    "bc_resnet": BCResNet,
    "resnet": ResNet,
    "tc_resnet": TCResNet,
    "ds_cnn": DSCNN,
    "mlp": MLP,
    "vgg": VGG,
}


def build_model(name: str, num_classes: int, dim: int, frames: int, **options) -> nn.Module:
    """Builds one of MODELS.

    Args:
      name: key of MODELS.
      num_classes: size of the output.
      dim: feature dimensions.
      frames: frames of a clip (used by models without `any_length`).
      options: further arguments of the model's class, e.g. maps=19 or width=2.

    Raises:
      InputError: unknown model or option, or a value the model refuses.
    """
    given = {"num_classes": num_classes, "dim": dim, "frames": frames}
    return build_one_of(MODELS, name, given, options)


def build_one_of(models: dict[str, type], name: str, given: dict, options: dict) -> nn.Module:
    """A model of a table by its name. `given` is what the data decide and `options` may not; a
    model that has no use for some of it is not told.

    Raises:
      InputError: as `build_model`.
    """
    if name not in models:
        raise InputError(f"no model {name!r}; there are {', '.join(models)}")
    known = inspect.signature(models[name]).parameters
    for key in options:
        if key not in known or key in given:
            allowed = [k for k in known if k not in given]
            raise InputError(f"model {name} has no option {key!r}; it has {', '.join(allowed)}")
    given = {key: value for key, value in given.items() if key in known}
    try:
        return models[name](**given, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"model {name}: {error}") from error
