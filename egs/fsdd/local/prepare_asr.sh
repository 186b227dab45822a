#!/usr/bin/env bash
# Makes DATA/{train,test}, DATA/local/dict and DATA/local/one_of.txt of FSDD for acoustic models.
#
# Usage: local/prepare_asr.sh CORPUS DATA --test-speakers A,B [--dev-speakers C]
#   CORPUS  embedded   speak one with espeak-ng (into DATA/corpus; no download)
#           download   fetch FSDD v1.0.10, 16 MB (into DATA/corpus)
#           a folder   with <digit>_<speaker>_<take>.wav or .flac
set -euo pipefail

if [ $# -lt 4 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
corpus=$1
data=$2
shift 2

if [ "$corpus" = embedded ]; then
  kds corpus embed --layout fsdd "$data/corpus"
  corpus=$data/corpus
fi
kds corpus fsdd "$corpus" "$data" --to "$data/corpus" "$@"
