#!/bin/busybox sh
# The guest's first program, in the initramfs: lays the unpacked packages over the host's root, which it sees read-only
# over 9p, gives the result a layer of memory to write to, and goes on there with second-stage.sh.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev

say() { echo "[guest] $*"; }
stop() {
    say "could not boot: $*"
    $b dmesg | $b tail -n 20
    $b poweroff -f
}

for module in /modules/*.ko; do
    $b insmod "$module" || stop "insmod $module failed"
done
$b mkdir /mnt/host /mnt/tree /mnt/memory /mnt/root
share="trans=virtio,version=9p2000.L,msize=512000"
for tag in host tree; do
    $b mount -t 9p -o "$share,cache=loose,ro" $tag /mnt/$tag || stop "the 9p share $tag cannot be mounted"
done
$b mount -t tmpfs -o size=75% memory /mnt/memory
$b mkdir /mnt/memory/upper /mnt/memory/work
layers="lowerdir=/mnt/tree:/mnt/host,upperdir=/mnt/memory/upper,workdir=/mnt/memory/work"
$b mount -t overlay -o "$layers" root /mnt/root || stop "the overlay cannot be mounted"
$b mkdir -p /mnt/root/dev /mnt/root/proc /mnt/root/run /mnt/root/sys
$b mount -t tmpfs run /mnt/root/run
$b mkdir /mnt/root/run/out
$b cp -r /guest /mnt/root/run/guest
$b mount -t 9p -o "$share,cache=none" out /mnt/root/run/out || stop "the 9p share out cannot be mounted"
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
$b mount -t debugfs debug /sys/kernel/debug
for folder in dev proc sys; do
    $b mount --move /$folder /mnt/root/$folder
done
exec $b switch_root /mnt/root /bin/bash /run/guest/second-stage.sh
stop "there is no bash on the host"
