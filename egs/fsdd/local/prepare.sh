#!/usr/bin/env bash
# Makes DATA/{train,dev,test} of the Free Spoken Digit Dataset, or of a corpus in its layout.
#
# Usage: local/prepare.sh CORPUS DATA
#   CORPUS  embedded   speak one with espeak-ng (into DATA/corpus; no download)
#           download   fetch FSDD v1.0.10, 16 MB (into DATA/corpus)
#           a folder   with <digit>_<speaker>_<take>.wav or .flac
set -euo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
corpus=$1
data=$2

case $corpus in
  embedded)
    kds corpus embed --layout fsdd "$data/corpus"
    corpus=$data/corpus
    ;;
esac
kds corpus fsdd "$corpus" "$data" --to "$data/corpus"
