# shellcheck shell=bash disable=SC2034
# What a recipe may set before it sources asr.sh, and what it is otherwise. Without `networks` the
# network stages do nothing.

: "${gmm:=tri3b}"                  # its alignments, tree and transforms
: "${networks:=}"                  # trained with cross-entropy: "HDNN-H512-L6 DNN-H512-L6 ..."
: "${teacher:=${networks%% *}}"
: "${student:=${networks##* }}"
: "${smbr=$networks}"              # networks that are trained further with sMBR; "" for none
: "${mmi:=}"                       # ... with MMI
: "${kd_grid:=0,1}"                # frame-level distillation: pairs q,T
: "${kd_best:=0,1}"                # the pair that is taken from there on
: "${adapted:=}"                   # systems that are adapted to speakers
: "${adaptations:=gates_ce all_ce gates_kl all_kl lhuc_ce}"
: "${speeds:=}"                    # factors at which training speech is heard too: 0.9,1.1
: "${seeds:=0}"                    # of the networks; further ones end in _seed1 and so on
