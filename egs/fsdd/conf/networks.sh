# shellcheck shell=bash disable=SC2034
# The networks of RESULTS-asr.md; egs/common/networks.sh says what each word means.
networks="HDNN-H256-L6 HDNN-H128-L6"
smbr=  # no sequence training
kd_grid="0,1"
adapted="HDNN-H128-L6 HDNN-H128-L6_kd_q0_t1"
adaptations="gates_ce all_ce"
seeds="0 1"
