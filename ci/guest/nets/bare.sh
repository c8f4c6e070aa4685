#!/bin/bash
# No device at all: the modules are there, and a program that looks for a device finds none.
. "${0%/*}/common.sh"
load_modules rdma_rxe
