#!/bin/bash
# The conformance kit on the devices named by WAVETANK_DEVICES, and where it saw other things than on the simulated NIC.
set -eu
program=$1
"$program" kit --backend mock --save mock.json > mock
tail -n 1 mock
"$program" kit --backend verbs --device "$WAVETANK_DEVICES" --wire "$WAVETANK_WIRE" --compare mock.json
