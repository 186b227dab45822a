#!/usr/bin/env bash
# AMI meetings, individual headsets: GMM-HMM acoustic models up to SAT.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/ami/path.sh
. ./path.sh
title="Speech recognition on the AMI meetings, individual headsets"
corpus=embedded
# shellcheck source=egs/common/asr.sh
. ../common/asr.sh
