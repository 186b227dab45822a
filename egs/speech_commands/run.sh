#!/usr/bin/env bash
# Keyword spotting on Speech Commands: a 1000 ms teacher, and students that need 500 ms.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/speech_commands/path.sh
. ./path.sh
title="Keyword spotting on Speech Commands"
# shellcheck source=egs/common/kws.sh
. ../common/kws.sh
