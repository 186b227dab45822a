#!/usr/bin/env bash
# The network stages of a speech recognition recipe, for asr.sh: from the speaker-adapted Gaussian
# system to small students. A recipe sets `networks`, and what else it wants otherwise, in its
# run.sh; conf/dnn.yaml, conf/sequence.yaml and conf/adapt.yaml say how they are trained.

: "${gmm:=tri3b}"        # its alignments, tree and transforms
: "${networks:=}"        # trained with cross-entropy, as HDNN-H512-L6; the first one teaches
: "${speeds:=}"          # factors at which the training speech is heard too, as 0.9,1.1
: "${seeds:=0}"          # of the networks; further ones end in _seed1 and so on

# HDNN-H512-L6 is trained in exp/hdnn_h512_l6.
system_of() { local name=${1,,}; echo "${name//-/_}"; }

# Frames of a set: frames_of SET TRANSFORM_DIR [OPTIONS].
frames_of() {
  local split=$1 transforms=$2
  shift 2
  timed "frames_$split" kds make-frames "$data/$split" "$transforms" "$exp/frames/$split" "$@"
}

# Decodes dev and test with a network and scores: decode_network SYSTEM [SUFFIX OPTIONS].
decode_network() {
  local system=$1 suffix=${2:-} split tuned=()
  shift $(($# > 1 ? 2 : 1))
  for split in dev test; do
    if [ -f "$exp/$system/decode_$split$suffix/scoring_kaldi/best_wer" ]; then continue; fi
    timed "decode_$system${suffix}_$split" kds decode "$exp/$gmm/graph" "$data/$split" \
      "$exp/$system/decode_$split$suffix" --transform-dir "$exp/$gmm/decode_$split" --nj "$nj" \
      "${decode_network[@]}" "$@"
    if [ "$split" = test ]; then tuned=(--tuned-on "$exp/$system/decode_dev$suffix"); fi
    kds score "$data/$split" "$exp/$gmm/graph" "$exp/$system/decode_$split$suffix" \
      --system "$system$suffix" "${tuned[@]}" "${score[@]}"
  done
}

# Trains a network on the frames of the training set and decodes: train_network SYSTEM SEED OPTIONS.
train_network() {
  local system=$1 seed=$2
  shift 2
  timed "train_$system" kds train-dnn "$exp/frames/train" "$exp/${gmm}_ali_networks" \
    "$exp/$system" --config conf/dnn.yaml --set "train.seed=$seed" "$@"
  decode_network "$system"
}

# SYSTEM, or SYSTEM_seed1 for seed 1.
seeded() { if [ "$2" = 0 ]; then echo "$1"; else echo "$1_seed$2"; fi; }

if runs 10; then
  echo "== stage 10: frames"
  train=train
  if [ -n "$speeds" ]; then
    train=train_sp
    kds data perturb-speed "$data/train" "$data/$train" --factors "$speeds" --nj "$nj"
    kds make-feats mfcc "$data/$train" --config conf/mfcc.conf --nj "$nj"
    kds data fix "$data/$train"
    kds compute-cmvn "$data/$train"
  fi
  timed align_networks kds align-fmllr "$data/$train" "$data/lang" "$exp/$gmm" \
    "$exp/${gmm}_ali_networks" --nj "$nj" "${align_fmllr[@]}"
  kds make-frames "$data/$train" "$exp/${gmm}_ali_networks" "$exp/frames/train"
  for split in dev test; do
    kds make-frames "$data/$split" "$exp/$gmm/decode_$split" "$exp/frames/$split"
  done
fi

if runs 11; then
  echo "== stage 11: networks"
  for seed in $seeds; do
    for network in $networks; do
      train_network "$(seeded "$(system_of "$network")" "$seed")" "$seed" \
        --set "network.model=$network"
    done
  done
fi
