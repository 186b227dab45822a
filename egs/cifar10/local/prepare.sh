#!/usr/bin/env bash
# Makes the image packs DATA/{train,test} of CIFAR-10.
#
# Usage: local/prepare.sh CORPUS DATA
#   CORPUS  embedded   coloured stripes in its format, no download; says nothing about CIFAR-10
#           download   fetch the python batches, 170 MB (into DATA/corpus)
#           a folder   with them: data_batch_1 ... 5, test_batch, batches.meta
set -euo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
kds corpus cifar10 "$1" "$2" --to "$2/corpus"
