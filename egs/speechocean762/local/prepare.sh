#!/usr/bin/env bash
# Makes DATA/{train,dev,test}, DATA/local/dict and DATA/local/lm.txt of speechocean762, and
# DATA/train_children where the corpus has it.
#
# Usage: local/prepare.sh CORPUS DATA
#   CORPUS  download   fetch it from OpenSLR, 520 MB (into DATA/corpus)
#           a folder   with WAVE/, train/, test/, resource/lexicon.txt and, if there are any,
#                      dev/, train_children/ and resource/lm_train_text.txt
set -euo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
kds corpus speechocean762 "$1" "$2" --to "$2/corpus"
