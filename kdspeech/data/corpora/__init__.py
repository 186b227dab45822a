"""Corpora to Kaldi data directories, and a corpus that is spoken on the spot."""
