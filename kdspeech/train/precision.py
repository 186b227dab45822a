"""In what precision products are computed."""

import torch


def multiplies_bf16(device: str | torch.device) -> bool:
    """Whether a device computes bfloat16 products faster than float32 ones.

    A GPU says so itself; a CPU does with AMX or AVX512-BF16. Without them torch emulates: a product
    then takes some fifty times as long as in float32.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    flags = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # older torch lacks them
    return any(getattr(torch.cpu, flag, bool)() for flag in flags)


def uses_bf16(precision: str, accelerator: str) -> bool:
    """Whether a training of this configuration computes in bfloat16.

    Args:
        precision: "32", "bf16" or "auto", which is bf16 where the machine is faster with it.
        accelerator: "auto", "cpu" or "cuda".
    """
    if precision != "auto":
        return precision == "bf16"
    on_gpu = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    return multiplies_bf16("cuda" if on_gpu else "cpu")
