"""kdspeech: Kaldi-style speech recipes that turn a big model into a small one."""

__version__ = "0.1.0"
