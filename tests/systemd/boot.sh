#!/bin/bash
# Start a real systemd as PID 1 of private pid, mount, ipc, uts and cgroup namespaces; needs root, changes nothing outside.
#   boot.sh DIR [ROOT]   DIR/units are the only units; ROOT: an unpacked newer systemd, laid over the root of the host
# It writes DIR/log, DIR/cgroup, DIR/pid (killing it ends everything) and, when systemd is up, DIR/nspid (systemd, seen from outside).
set -e
DIR=$(realpath "$1"); ROOT=${2:+$(realpath "$2")}
CG=/sys/fs/cgroup/unified; [ -d $CG ] || CG=/sys/fs/cgroup
NAME=trouper-test.$$; mkdir $CG/$NAME; echo $CG/$NAME > "$DIR/cgroup"

units="$DIR/units"; mkdir -p "$units/sysinit.target.wants"
for target in basic local-fs-pre local-fs multi-user network paths shutdown sockets swap sysinit timers umount; do
  printf '[Unit]\nDescription=stub\nDefaultDependencies=no\nRefuseManualStart=no\n' > "$units/$target.target"
done
printf '[Unit]\nRequires=sysinit.target basic.target\nAfter=sysinit.target basic.target\n' > "$units/default.target"
cp /lib/systemd/system/systemd-journald.service /lib/systemd/system/systemd-journald.socket "$units/"
ln -sf ../systemd-journald.service "$units/sysinit.target.wants/"

cat > "$DIR/init.sh" <<I
#!/bin/bash
set -e
mount --make-rprivate /
R=
if [ -n "$ROOT" ]; then  # layers of an overlay may not overlap: the newer one goes into a file system of its own
  mkdir -p "$DIR/merged" "$DIR/layer"; mount -t tmpfs tmpfs "$DIR/layer"
  mkdir "$DIR/layer/new" "$DIR/layer/upper" "$DIR/layer/work"; cp -a "$ROOT/." "$DIR/layer/new/"
  R="$DIR/merged"; mount -t overlay overlay "\$R" \
    -o lowerdir="$DIR/layer/new":/,upperdir="$DIR/layer/upper",workdir="$DIR/layer/work"
  mount --rbind /sys "\$R/sys"
  for d in $SHOW; do [ -d "\$R\$d" ] && mount --rbind \$d "\$R\$d"; done
fi
umount -R -l "\$R/sys/fs/cgroup" 2>/dev/null || true
mount -t cgroup2 cgroup2 "\$R/sys/fs/cgroup"
mount -t proc proc "\$R/proc"
mount -t tmpfs -o mode=755 tmpfs "\$R/run"; mkdir -p "\$R/run/lock" "\$R/run/log" "\$R/run/project"
mount -t tmpfs -o mode=755 tmpfs "\$R/var/lib"  # state directories are not the host's
host=\$(mktemp -d); mount --rbind /dev \$host
mount -t tmpfs -o mode=755 tmpfs "\$R/dev"  # never touch the devices of the host
for n in null zero full random urandom tty; do touch "\$R/dev/\$n"; mount --bind \$host/\$n "\$R/dev/\$n"; done
mkdir "\$R/dev/shm" "\$R/dev/pts"; mount -t tmpfs tmpfs "\$R/dev/shm"; ln -s /proc/self/fd "\$R/dev/fd"; ln -s pts/ptmx "\$R/dev/ptmx"  # PrivateDevices= wants it
umount -l \$host; rmdir \$host
[ -n "\$R" ] && { cd "\$R"; pivot_root . mnt; exec </dev/null; umount -l /mnt; }
hostname trouper-test
exec env -i container=trouper-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH="$DIR/units" \
  /lib/systemd/systemd --system --log-target=journal --show-status=no
I
chmod +x "$DIR/init.sh"
( echo 0 > $CG/$NAME/cgroup.procs
  exec setsid unshare --pid --fork --mount --ipc --uts --cgroup --kill-child "$DIR/init.sh" < /dev/null > "$DIR/log" 2>&1 ) &
echo $! > "$DIR/pid"
for i in $(seq 200); do
  P=$(pgrep -P $(cat "$DIR/pid") 2>/dev/null | head -1) && [ "$(cat /proc/$P/comm 2>/dev/null)" = systemd ] \
    && nsenter -t $P -p -m -i -u -C systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded' \
    && { echo $P > "$DIR/nspid"; exit 0; }
  sleep .05; [ -d /proc/$(cat "$DIR/pid") ] || { echo "systemd died:"; cat "$DIR/log"; exit 1; }
done
echo "not running after 10 s"; cat "$DIR/log"; exit 1
