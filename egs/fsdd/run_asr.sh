#!/usr/bin/env bash
# Spoken digits (FSDD, 8 kHz) by speakers that training never heard: Gaussian acoustic models up to
# SAT, a highway network, and a small one that learns from it and adapts to each speaker.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/fsdd/path.sh
. ./path.sh
title="Spoken digits of unseen speakers (FSDD)"
# The keyword spotting recipe beside this one has data/ and exp/ to itself.
data=data_asr
exp=exp_asr
prepare_script=local/prepare_asr.sh
# shellcheck source=egs/common/asr.sh
. ../common/asr.sh
