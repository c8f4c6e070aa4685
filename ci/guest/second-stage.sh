#!/bin/bash
# The guest's second program, on the host's root: runs the command it is given and leaves its exit code to the host.
# Both are files of the folder /run/out, which the host watches: `command`, `timeout` in; `started`, `stdout`, `code` out.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
ip link set lo up
ulimit -l unlimited
ulimit -c 0

read -r timeout < /run/out/timeout
/run/guest/watchdog.sh "$timeout" < /dev/null > /dev/console 2>&1 &

cd /run/out/files || exit 1
: > /run/out/started
bash /run/out/command > /run/out/stdout 2>&1 < /dev/null
code=$?
read -r up _ < /proc/uptime
echo "[guest] the command ended with $code, $up s after power-on"
# Written whole or not at all: the host reads it as soon as it is there.
echo $code > /run/out/code.part
mv /run/out/code.part /run/out/code
echo o > /proc/sysrq-trigger
sleep 60
