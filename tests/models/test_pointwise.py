import pytest
import torch
from torch import nn

from kdspeech.models import num_macs
from kdspeech.models.pointwise import PointwiseConv


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 4, 16])
def test_it_is_a_strided_convolution_and_so_is_its_gradient(channels, layout):
    torch.manual_seed(0)
    conv, plain = PointwiseConv(channels, 8, 2), nn.Conv2d(channels, 8, 1, 2, bias=False).double()
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(4, channels, 9, 32).contiguous(memory_format=layout).requires_grad_()
    reference = x.detach().double().requires_grad_()
    found, expected = conv(x), plain(reference)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), reference.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conv.weight.grad.double(), plain.weight.grad, rtol=1e-4, atol=1e-4)


def test_its_products_are_counted_where_it_computes():
    macs = [num_macs(conv, (4, 8, 8)) for conv in (PointwiseConv(4, 8, 2), nn.Conv2d(4, 8, 1, 2))]
    assert macs[0] == macs[1] == 4 * 4 * 4 * 8
