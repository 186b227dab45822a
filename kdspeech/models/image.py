"""Networks for small images with colours (CIFAR), in the forms of their papers.

Each takes (batch, rows, columns, 3) with values of 0 to 1 and gives logits (batch, classes); `norm`
has a mean and a deviation for each colour.
"""

import torch
from torch import Tensor, nn

from kdspeech.models.build import build_one_of
from kdspeech.models.norm import InputNorm
from kdspeech.models.pointwise import PointwiseConv


class _Colour(nn.Module):
    """Layers one after the other on (batch, 3, rows, columns).

    `he`: convolutions begin as He et al. 2015 say, by the size of their output.
    """

    any_length = False

    def __init__(self, *layers: nn.Module, he: bool = True):
        super().__init__()
        self.norm = InputNorm(3, axes=4)
        self.layers = nn.Sequential(*layers)
        for module in self.modules() if he else ():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(self.norm(images).permute(0, 3, 1, 2))


class Residual(nn.Module):
    """last(body(x') + shortcut(x or x')), x' = first(x).

    Args:
      body, shortcut: the two paths.
      first: before both of them; `before_shortcut` says whether the shortcut starts behind it.
      last: after the sum.
    """

    def __init__(
        self,
        body: nn.Module,
        shortcut: nn.Module,
        first: nn.Module | None = None,
        last: nn.Module | None = None,
        before_shortcut: bool = False,
    ):
        super().__init__()
        self.body, self.shortcut, self.before_shortcut = body, shortcut, before_shortcut
        self.first, self.last = first or nn.Identity(), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(self.body(y) + self.shortcut(y if self.before_shortcut else x))


class Dense(nn.Module):
    """What comes in, and beside it the channels that a layer makes of it."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layer(x)], dim=1)


class CNN5(_Colour):
    """The 5-layer CNN of Li 2018: three times convolution, BatchNorm, maximum and ReLU, then two
    linear layers with BatchNorm, ReLU and dropout between them.

    357,514 parameters. Takes 32 x 32 images.
    """

    def __init__(self, num_classes: int = 10, channels: int = 32, dropout: float = 0.5):
        layers, inputs = [], 3
        for outputs in (channels, 2 * channels, 4 * channels):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU()]
            inputs = outputs
        hidden = nn.Linear(16 * inputs, inputs)  # of the 4 x 4 places that three maxima leave
        layers += [nn.Flatten(), hidden, nn.BatchNorm1d(inputs), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(inputs, num_classes), he=False)


class ResNet18(_Colour):
    """ResNet-18 (He et al. 2016, "Deep residual learning") with a first convolution of 3 x 3 and no
    pooling, as usual on CIFAR.

    11,173,962 parameters with `width` 64, the channels of the first of four stages.
    """

    def __init__(self, num_classes: int = 10, width: int = 64):
        layers, inputs = [_conv(3, width), nn.BatchNorm2d(width), nn.ReLU()], width
        for stage in range(4):
            outputs = width * 2**stage
            for block in range(2):
                stride = 2 if stage and block == 0 else 1
                layers.append(_basic(inputs, outputs, stride))
                inputs = outputs
        super().__init__(*layers, *_mean_and_linear(inputs, num_classes))


class PreResNet(_Colour):
    """ResNet with BatchNorm and ReLU before each convolution (He et al. 2016, "Identity mappings").

    "PreResNet-110" of Li 2018 has 18 bottlenecks in each of three stages, by its public code:
    1.7 million parameters, the network that He et al. call ResNet-164. With `bottleneck` false the
    18 blocks have two convolutions of 3 x 3: the ResNet-110 of He et al., 1.7 million as well.
    """

    def __init__(self, num_classes: int = 10, blocks: int = 18, bottleneck: bool = True):
        layers, inputs = [_conv(3, 16)], 16
        for stage, width in enumerate((16, 32, 64)):
            outputs = 4 * width if bottleneck else width
            for block in range(blocks):
                stride = 2 if stage and block == 0 else 1
                body = _bottleneck if bottleneck else _two_convs
                same = inputs == outputs and stride == 1
                shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride)
                layers.append(
                    Residual(body(inputs, width, outputs, stride), shortcut, _norm(inputs))
                )
                inputs = outputs
        super().__init__(*layers, _norm(inputs), *_mean_and_linear(inputs, num_classes))


class WideResNet(_Colour):
    """WRN-`depth`-`width` (Zagoruyko & Komodakis 2016, "Wide residual networks").

    WRN-28-10 has 36.5 million parameters. `dropout`: between the two convolutions of a block.
    """

    def __init__(
        self, num_classes: int = 10, depth: int = 28, width: int = 10, dropout: float = 0.3
    ):
        if (depth - 4) % 6 or depth < 10:
            raise ValueError(f"depth is 6 n + 4 (10, 16, 22, 28, ...), got {depth}")
        layers, inputs = [_conv(3, 16)], 16
        for stage, outputs in enumerate((16 * width, 32 * width, 64 * width)):
            for block in range((depth - 4) // 6):
                stride = 2 if stage and block == 0 else 1
                body = _two_convs(inputs, outputs, outputs, stride, dropout)
                same = inputs == outputs
                shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride)
                first = _norm(inputs)
                layers.append(Residual(body, shortcut, first, before_shortcut=not same))
                inputs = outputs
        super().__init__(*layers, _norm(inputs), *_mean_and_linear(inputs, num_classes))


class DenseNet(_Colour):
    """DenseNet-BC (Huang et al. 2017, "Densely connected convolutional networks"): bottlenecks of
    four times the `growth`, half of the channels between the three blocks.

    `depth` 100 and growth 12 have 0.8 million parameters.
    """

    def __init__(self, num_classes: int = 10, depth: int = 100, growth: int = 12):
        if (depth - 4) % 6 or depth < 10:
            raise ValueError(f"depth is 6 n + 4 (10, 16, 22, ..., 100), got {depth}")
        channels = 2 * growth
        layers = [_conv(3, channels)]
        for block in range(3):
            for _ in range((depth - 4) // 6):
                layers.append(Dense(_dense_layer(channels, growth)))
                channels += growth
            if block < 2:
                half = channels // 2
                layers += [_norm(channels), _conv(channels, half, 1), nn.AvgPool2d(2)]
                channels = half
        super().__init__(*layers, _norm(channels), *_mean_and_linear(channels, num_classes))


class ResNeXt(_Colour):
    """ResNeXt-`depth`, `groups` x 64d (Xie et al. 2017, "Aggregated residual transformations").

    ResNeXt-29, 8 x 64d has 34.4 million parameters.
    """

    def __init__(self, num_classes: int = 10, depth: int = 29, groups: int = 8):
        if (depth - 2) % 9 or depth < 11:
            raise ValueError(f"depth is 9 n + 2 (11, 20, 29, ...), got {depth}")
        layers, inputs = [_conv(3, 64), nn.BatchNorm2d(64), nn.ReLU()], 64
        for stage, outputs in enumerate((256, 512, 1024)):
            for block in range((depth - 2) // 9):
                stride = 2 if stage and block == 0 else 1
                layers.append(_grouped(inputs, outputs, stride, groups))
                inputs = outputs
        super().__init__(*layers, *_mean_and_linear(inputs, num_classes))


IMAGE_MODELS = {
    "cnn5": CNN5,
    "resnet18": ResNet18,
    "preresnet": PreResNet,
    "wide_resnet": WideResNet,
    "densenet": DenseNet,
    "resnext": ResNeXt,
}


def build_image_model(name: str, num_classes: int, /, **options) -> nn.Module:
    """Builds one of IMAGE_MODELS.

    Raises:
      InputError: unknown model or option, or a value the model refuses.
    """
    return build_one_of(IMAGE_MODELS, name, {"num_classes": num_classes}, options)


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without bias, of `size` x `size`, as many places as before unless it strides."""
    if size == 1:
        return PointwiseConv(inputs, outputs, stride)
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def _norm(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def _mean_and_linear(channels: int, num_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The shortcut of blocks that have their BatchNorm behind the convolution."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def _basic(inputs: int, outputs: int, stride: int) -> Residual:
    body = [_conv(inputs, outputs, 3, stride), *_norm(outputs)]
    body += [_conv(outputs, outputs), nn.BatchNorm2d(outputs)]
    return Residual(nn.Sequential(*body), _projection(inputs, outputs, stride), last=nn.ReLU())


def _grouped(inputs: int, outputs: int, stride: int, groups: int) -> Residual:
    inner = groups * outputs // 4
    body = [_conv(inputs, inner, 1), *_norm(inner)]
    body += [_conv(inner, inner, 3, stride, groups), *_norm(inner)]
    body += [_conv(inner, outputs, 1), nn.BatchNorm2d(outputs)]
    return Residual(nn.Sequential(*body), _projection(inputs, outputs, stride), last=nn.ReLU())


def _two_convs(
    inputs: int, width: int, outputs: int, stride: int, dropout: float = 0.0
) -> nn.Sequential:
    first, second = _conv(inputs, width, 3, stride), _conv(width, outputs)
    return nn.Sequential(first, *_norm(width), nn.Dropout(dropout), second)


def _bottleneck(inputs: int, width: int, outputs: int, stride: int) -> nn.Sequential:
    body = [_conv(inputs, width, 1), *_norm(width), _conv(width, width, 3, stride), *_norm(width)]
    return nn.Sequential(*body, _conv(width, outputs, 1))


def _dense_layer(channels: int, growth: int) -> nn.Sequential:
    inner = 4 * growth
    first = [*_norm(channels), _conv(channels, inner, 1)]
    return nn.Sequential(*first, *_norm(inner), _conv(inner, growth))
