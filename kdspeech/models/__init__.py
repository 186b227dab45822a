"""Networks: plain nn.Modules from features (batch, frames, dim) to logits (batch, classes).

Each has `norm`, an `InputNorm` to be estimated on training features, and `any_length`: whether it
takes clips of another number of frames than it was built for.
"""

from kdspeech.models.bc_resnet import BCResNet
from kdspeech.models.build import MODELS, build_model
from kdspeech.models.ds_cnn import DSCNN
from kdspeech.models.ensemble import Ensemble
from kdspeech.models.highway import DNN, HighwayDNN, build_acoustic_model
from kdspeech.models.hooks import find_module, last_hidden, outputs_of
from kdspeech.models.image import IMAGE_MODELS, build_image_model
from kdspeech.models.measure import latency_ms, num_macs, num_parameters
from kdspeech.models.mlp import MLP
from kdspeech.models.norm import InputNorm
from kdspeech.models.res import Res8, Res15
from kdspeech.models.resnet import ResNet
from kdspeech.models.shrink import SHRINK, shrink
from kdspeech.models.tc_resnet import TCResNet
from kdspeech.models.vgg import VGG

__all__ = [
    "DNN",
    "MLP",
    "MODELS",
    "BCResNet",
    "DSCNN",
    "Ensemble",
    "HighwayDNN",
    "IMAGE_MODELS",
    "InputNorm",
    "Res15",
    "Res8",
    "ResNet",
    "SHRINK",
    "TCResNet",
    "VGG",
    "build_acoustic_model",
    "build_image_model",
    "build_model",
    "find_module",
    "last_hidden",
    "latency_ms",
    "num_macs",
    "num_parameters",
    "outputs_of",
    "shrink",
]
