# shellcheck shell=bash disable=SC2034
# The smallest of each kind; egs/common/networks.sh says what each word means.
networks="HDNN-H64-L4 HDNN-H32-L4"
smbr=  # no sequence training
kd_grid="0,1"
adapted="HDNN-H32-L4_kd_q0_t1"
adaptations="gates_ce"
