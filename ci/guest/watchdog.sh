#!/bin/bash
# Waits as long as the command may take; then says on the console what everybody is waiting for, and ends the guest.
sleep "$1"
# Should even the following hang, the machine still goes.
(sleep 25; echo o > /proc/sysrq-trigger) &

echo "[guest] watchdog: the command is not done after $1 s"
echo 8 > /proc/sys/kernel/printk
echo w > /proc/sysrq-trigger
echo l > /proc/sysrq-trigger
echo "[guest] watchdog: processes"
ps -eLo pid,ppid,tid,stat,wchan:32,args --sort=pid | grep -v '\]$'
echo "[guest] watchdog: kernel stacks of those that run no kernel thread"
for status in /proc/[0-9]*/task/[0-9]*/stack; do
    # Kernel threads have no memory map, and only builtins are quick here.
    task=${status%/stack}
    if read -r _ < "${task%/task/*}/maps"; then
        read -r name < "$task/comm"
        echo "$task ($name):"
        while read -r frame; do
            echo "    $frame"
        done < "$status"
    fi
done 2> /dev/null
echo "[guest] watchdog: the kernel's last words"
dmesg | tail -n 40
echo timeout > /run/out/code.part
mv /run/out/code.part /run/out/code
echo o > /proc/sysrq-trigger
