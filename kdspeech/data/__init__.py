"""Data directories, corpora, waveform packs and crops."""

from kdspeech.data.crops import CropLaw
from kdspeech.data.datadir import DataDir, combine
from kdspeech.data.pack import WavePack
from kdspeech.data.packing import pack_data_dir

__all__ = ["CropLaw", "DataDir", "WavePack", "combine", "pack_data_dir"]
