#!/usr/bin/env bash
# The options that every recipe has, and its command line, for the stage files beside this one.
# Those define `usage`, set `exp` and name in `takes` the options that are theirs and have a value:
# --lm-text VALUE sets lm_text. --set goes into `sets`.

: "${called_from:=$PWD}"  # where the user stands
: "${takes:=}"
: "${corpus:=}"           # a folder, or a word that local/prepare.sh knows
: "${conf:=}"             # every number
: "${data:=data}"         # data directories, features and packs go here
: "${nj:=2}"              # worker processes
: "${results:=}"          # also write this RESULTS.md
: "${stage:=0}"
: "${stop_stage:=100}"

takes="--corpus --conf --data --exp --nj --results --stage --stop-stage --set $takes"
# shellcheck disable=SC2034  # for the report
command_line="$0 $*"
sets=()
while [ $# -gt 0 ]; do
  case "$1" in --help | -h) usage; exit 0 ;; esac
  case " $takes " in
    *" $1 "*) ;;
    *) echo "$0: unknown option $1 (see $0 --help)" >&2; exit 1 ;;
  esac
  [ $# -ge 2 ] || { echo "$0: $1 needs a value" >&2; exit 1; }
  if [ "$1" = --set ]; then
    sets+=(--set "$2")
  else
    name="${1#--}"
    printf -v "${name//-/_}" '%s' "$2"
  fi
  shift 2
done

case "$stage/$stop_stage" in
  /* | */ | *[!0-9/]*) echo "$0: --stage and --stop-stage take a number" >&2; exit 1 ;;
esac

# Is stage N asked for?
runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

# What is given on the command line is looked up where the user stands, then from the recipe.
from_the_user() {
  local name
  for name in "$@"; do
    if [ -n "${!name}" ] && [ -e "$called_from/${!name}" ] && [ ! -e "${!name}" ]; then
      printf -v "$name" '%s' "$called_from/${!name}"
    fi
  done
}

# Gives --results-md with the notes of this configuration: conf/kws.yaml has conf/kws.notes.md.
markdown_options() {
  markdown=()
  if [ -n "$results" ]; then
    markdown=(--results-md "$results")
    if [ -f "${conf%.yaml}.notes.md" ]; then markdown+=(--notes "${conf%.yaml}.notes.md"); fi
  fi
}
