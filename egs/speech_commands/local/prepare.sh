#!/usr/bin/env bash
# Makes DATA/{train,dev,test,noise} of Speech Commands, or of a corpus in its layout.
#
# Usage: local/prepare.sh CORPUS DATA
#   CORPUS  embedded   speak one with espeak-ng (into DATA/corpus; no download)
#           download   fetch Speech Commands v0.02, 2.3 GB (into DATA/corpus)
#           a folder   with one folder per word, as Speech Commands
set -euo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
corpus=$1
data=$2

case $corpus in
  embedded)
    kds corpus embed "$data/corpus"
    corpus=$data/corpus
    ;;
esac
kds corpus speech-commands "$corpus" "$data" --to "$data/corpus"
