#!/usr/bin/env bash
# Spoken digits (FSDD, 8 kHz): the keyword-spotting recipe on another corpus.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/fsdd/path.sh
. ./path.sh
title="Spoken digits (FSDD)"
# shellcheck source=egs/common/kws.sh
. ../common/kws.sh
