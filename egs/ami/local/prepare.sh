#!/usr/bin/env bash
# Makes DATA/{train,dev,test}, DATA/local/dict and DATA/local/lm.txt of the AMI meetings.
#
# Usage: local/prepare.sh CORPUS DATA [LM_TEXT]
#   CORPUS   embedded   speak a few meetings with espeak-ng (into DATA/corpus; no download)
#            download   fetch headsets and annotations through lhotse, 70 GB (into DATA/corpus)
#            a folder   with <meeting>/audio/<meeting>.Headset-<n>.wav and the annotations
#   LM_TEXT  more text for the language model, a sentence a line; its words enter the lexicon
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
corpus=$1
data=$2
lm_text=${3:-}

case $corpus in
  embedded)
    kds corpus embed --layout ami "$data/corpus"
    corpus=$data/corpus
    ;;
esac
kds corpus ami "$corpus" "$data" --to "$data/corpus" --lexicon conf/lexicon.txt \
  ${lm_text:+--lm-text "$lm_text"}
