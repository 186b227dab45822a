#!/usr/bin/env bash
# The stages of an image recipe. A recipe's run.sh sets its own defaults, then sources this file from
# its folder; what is the corpus's own stands in its local/ and conf/.

: "${title:=Images}"              # of RESULTS.md
: "${corpus:=download}"           # download, the folder of a corpus, or a word of local/prepare.sh
: "${conf:=}"                     # images and the systems of the tables; else conf/tables.yaml
: "${embedded_conf:=}"            # the same for --corpus embedded
: "${search:=conf/iterate.yaml}"  # the search, where there is one
: "${exp:=exp}"                   # networks and results go here
: "${systems:=}"                  # a,b: of the tables' systems only these, and their teachers
: "${seeds:=0}"                   # e.g. 0,1,2

usage() {
  cat <<EOF
Usage: $0 [options]
Hinton distillation on images, and the search for a smaller network.

Stages
  0  prepare  the corpus as packs of images: $data/train, $data/test (local/prepare.sh)
  1  train    teachers and students of the tables
  2  iterate  a network made smaller generation by generation, by --search: $exp/iterate
  3  report   $exp/tables/results.json and the tables beside the published figures

Options (with their values now)
  --corpus $corpus    download, DIR or what local/prepare.sh names
  --stage $stage  --stop-stage $stop_stage
  --conf ${conf:-conf/tables.yaml}  --search $search  --data $data  --exp $exp
  --systems ${systems:-"(all)"}  --seeds $seeds  --nj $nj
  --set section.key=value    over --conf and --search; may be repeated
  --results ${results:-"(none)"}
Relative paths start from $PWD; --corpus also from where you stand.
EOF
}

takes="--search --systems --seeds"
# shellcheck source=egs/common/options.sh
. ../common/options.sh
from_the_user corpus
if [ -z "$conf" ]; then
  conf=conf/tables.yaml
  if [ "$corpus" = embedded ]; then conf=${embedded_conf:-$conf}; fi
fi
markdown_options

if runs 0; then
  echo "== stage 0: prepare $corpus"
  local/prepare.sh "$corpus" "$data"
fi

if runs 1; then
  echo "== stage 1: train"
  kds image train --config "$conf" --data "$data" --exp "$exp/tables" --seeds "$seeds" --nj "$nj" \
    ${systems:+--systems "$systems"} "${sets[@]}"
fi

if runs 2 && [ -f "$search" ]; then
  echo "== stage 2: iterate"
  kds distill iterate --config "$search" --data "$data" --exp "$exp/iterate" --seeds "$seeds" \
    --nj "$nj" "${sets[@]}"
fi

if runs 3; then
  echo "== stage 3: report"
  search_md=()
  if [ -f "$exp/iterate/family.md" ]; then search_md=(--search "$exp/iterate"); fi
  kds image report --config "$conf" --exp "$exp/tables" "${search_md[@]}" --title "$title" \
    --command "$command_line" "${markdown[@]}" "${sets[@]}"
fi
