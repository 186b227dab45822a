"""Makes a CUDA-linked torchaudio importable beside a CPU-only torch.

torchaudio's Linux wheel carries `_torchaudio.abi3.so`, linked against CUDA. With a CPU-only
torch its import fails on that file; with the file absent torchaudio runs as pure Python, which
is all that kdspeech and its tests use.
"""

import importlib.util
from pathlib import Path

import torch


def main() -> None:
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or torch.version.cuda:
        return
    for library in Path(spec.origin).parent.glob("lib/_torchaudio*.so"):
        library.unlink()
        print(f"removed {library.name}: it needs CUDA and this torch has none")


if __name__ == "__main__":
    main()
