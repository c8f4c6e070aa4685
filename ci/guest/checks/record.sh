#!/bin/bash
# Records two runs on real devices, repeats the first on the simulated NIC status by status, fits a latency profile to it,
# and says how far that is off on the second, which it has not seen.
set -eu
program=$1 root=$2
devices="--backend verbs --device rxe0,rxe1"
# shellcheck disable=SC2086 # two words each
"$program" replay "$root/workloads/guest/ladder.toml" $devices --record ladder.sim
# shellcheck disable=SC2086
"$program" replay "$root/workloads/guest/pgbench-8k.toml" $devices --record pgbench.sim
"$program" replay ladder.sim
"$program" calibrate ladder.sim --validate pgbench.sim
