#!/bin/bash
# newer.sh DEST: unpack, and do not install, the systemd of the distribution's backports, which has notify-reload.
set -e
DEST=$(realpath -m "$1"); mkdir -p "$DEST"; T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; mkdir -p "$T/lists/partial" "$T/debs"
base=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1)
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")-backports
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $base $suite main" > "$T/s.list"
O="-o Dir::Etc::sourcelist=$T/s.list -o Dir::Etc::sourceparts=/nonexistent -o Dir::State::lists=$T/lists
   -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
apt-get $O update -q > /dev/null
(cd "$T/debs" && apt-get $O download -q systemd/$suite libsystemd-shared/$suite libsystemd0/$suite > /dev/null)
for d in "$T"/debs/*.deb; do dpkg -x "$d" "$DEST"; done
for d in lib bin sbin; do
  if [ -d "$DEST/$d" ] && [ ! -L "$DEST/$d" ]; then
    mkdir -p "$DEST/usr/$d"; cp -a "$DEST/$d/." "$DEST/usr/$d/"; rm -rf "${DEST:?}/$d"
  fi
done
rm -rf "$DEST/etc" "$DEST/var"
