"""Distillation from hidden layers: hints and attention maps.

A layer's output is (batch, channels), (batch, channels, frames) or (batch, channels, height,
width). Student and teacher need not have the same number of channels; positions they must have
the same, or `pool` averages both to the smaller number on each axis.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def hint_loss(student: Tensor, teacher: Tensor, regressor: nn.Module, pool: bool = False) -> Tensor:
    """The mean over batch, channels and positions of (r(v_S) - u_T)^2: FitNets (Romero et al. 2015,
    equation 3, which has half the sum in place of the mean), r being the regressor.

    Args:
      student: v_S, the guided layer's output, (batch, channels, ...).
      teacher: u_T, the hint: (batch, other channels, ...), the same positions.
      regressor: r, trained with the student: see `hint_regressor`.
      pool: average both to the smaller number of positions.

    Returns:
      A scalar; 0 where the regressed layer is the teacher's. No gradient reaches the teacher.

    Raises:
      ValueError: shapes that do not fit; says what to write.
    """
    student, teacher = same_positions(student, teacher, pool)
    return F.mse_loss(regressor(student), teacher)


def hint_regressor(student: Tensor, teacher: Tensor) -> nn.Module:
    """A linear map from the student's channels to the teacher's at each position: a linear layer,
    or a convolution of size 1 (Romero et al. 2015 take a wider one to match positions)."""
    if not 2 <= student.dim() == teacher.dim() <= 4:
        raise ValueError(_shapes("a hint needs layers of as many axes, 2 to 4", student, teacher))
    sizes = (student.shape[1], teacher.shape[1])
    if student.dim() == 2:
        return nn.Linear(*sizes)
    return (nn.Conv1d if student.dim() == 3 else nn.Conv2d)(*sizes, 1)


def attention_transfer_loss(
    student: Tensor, teacher: Tensor, p: float = 2.0, pool: bool = False
) -> Tensor:
    """The mean over batch and positions of (Q_S / |Q_S| - Q_T / |Q_T|)^2 with Q = sum_c |A_c|^p
    over the channels of a layer: attention transfer (Zagoruyko & Komodakis 2017, equation 2;
    squares and mean as in the authors' code, for which their weight of 1000 is meant).

    Args:
      student, teacher: (batch, channels, frames) or (batch, channels, height, width), of the same
        positions; any channels.
      p: power of the activations.
      pool: average both to the smaller number of positions.

    Returns:
      A scalar; 0 where the maps are the same up to a factor. No gradient reaches the teacher.

    Raises:
      ValueError: shapes that do not fit; says what to write.
    """
    if student.dim() < 3:
        raise ValueError(
            _shapes("attention needs layers with positions (a convolution's)", student, teacher)
        )
    student, teacher = same_positions(student, teacher, pool)
    return F.mse_loss(attention_map(student, p), attention_map(teacher, p))


def attention_map(layer: Tensor, p: float = 2.0) -> Tensor:
    """Q / |Q|_2 with Q = sum_c |A_c|^p: (batch, channels, ...) -> (batch, positions)."""
    return F.normalize(layer.float().abs().pow(p).sum(1).flatten(1), dim=1)


def same_positions(student: Tensor, teacher: Tensor, pool: bool) -> tuple[Tensor, Tensor]:
    """Both in float32, the teacher's without gradient, after `pool` of the same positions.

    Raises:
      ValueError: other batches or numbers of axes, or other positions without `pool`.
    """
    if student.dim() != teacher.dim() or len(student) != len(teacher):
        raise ValueError(_shapes("layers must agree in axes and batch", student, teacher))
    student, teacher = student.float(), teacher.detach().float()
    if student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    if not pool:
        raise ValueError(
            _shapes("layers have other positions", student, teacher)
            + ": choose layers of the same frames and dimensions, or write pool: true"
        )
    size = [min(sizes) for sizes in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    mean = F.adaptive_avg_pool1d if len(size) == 1 else F.adaptive_avg_pool2d
    return mean(student, size), mean(teacher, size)


def _shapes(problem: str, student: Tensor, teacher: Tensor) -> str:
    ours, theirs = tuple(student.shape), tuple(teacher.shape)
    return f"{problem}; the student's is {ours}, the teacher's {theirs}"
