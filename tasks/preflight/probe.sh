# Looks at what facts do not have, and changes nothing. POSIX sh, coreutils, systemd. One thing a line, fields separated
# by tabs; whatever may hold any byte is in base64. Calls with the wanted ports, paths and names are appended by
# tasks/preflight/probe.py. Every line is one short write, so that what runs side by side does not mix.

blob() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | base64 -w0)"; }

plain() { printf '%s\t%s\n' "$1" "$2"; }

nearest() {
  near=$1
  while [ -n "$near" ] && [ ! -e "$near" ]; do near=${near%/*}; done
  near=$(readlink -f -- "${near:-/}")
}

# Ports in hexadecimal, as /proc/net/tcp has them; 0A is LISTEN (proc(5)).
ports_listening() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    while read -r _ local _ state _ _ _ _ _ inode _; do
      [ "$state" = 0A ] || continue
      case " $* " in *" ${local##*:} "*) printf '%s\t%s\t%s\n' "${local%:*}" "${local##*:}" "$inode" ;; esac
    done <"$table"
  done
}

look_ports() {
  if [ ! -r /proc/net/tcp ]; then return 0; fi
  plain sockets known
  taken=$(ports_listening "$@")
  [ -n "$taken" ] || return 0
  inodes=$(printf '%s\n' "$taken" | while read -r _ _ inode; do printf ' %s ' "$inode"; done)
  printf '%s\n' "$taken" | while IFS= read -r line; do printf 'socket\t%s\n' "$line"; done
  { ls -l /proc/[0-9]*/fd 2>/dev/null || true; } | while IFS= read -r line; do
    case $line in
      /proc/*:) pid=${line#/proc/} pid=${pid%%/*} ;;
      *' -> socket:['*)
        inode=${line##*\[} inode=${inode%]}
        case $inodes in *" $inode "*) look_holder "$inode" "$pid" ;; esac
        ;;
    esac
  done
}

# Who holds a socket: its number, name and unit.
look_holder() {
  name='' unit=''
  IFS= read -r name 2>/dev/null <"/proc/$2/comm" || return 0
  while IFS= read -r line; do
    case $line in 0::* | *:name=systemd:*) unit=${line##*/} ;; esac
  done 2>/dev/null <"/proc/$2/cgroup" || true
  printf 'holder\t%s\t%s\t%s\t%s\n' "$1" "$2" "$(printf %s "$name" | base64 -w0)" "$(printf %s "$unit" | base64 -w0)"
}

look_addresses() {
  if [ ! -r /proc/net/fib_trie ]; then return 0; fi
  plain addresses known
  while read -r mark one two _; do
    case $mark in '|--') last=$one ;; /32) [ "$one $two" != 'host LOCAL' ] || plain address "$last" ;; esac
  done </proc/net/fib_trie
  [ ! -r /proc/net/if_inet6 ] || while read -r address _; do plain address6 "$address"; done </proc/net/if_inet6
}

# For all paths at once, in their order: few processes, since this is what takes the time.
look_paths() {
  number=0 count=$#
  while [ "$number" -lt "$count" ]; do
    near=$1 kind=other write=no
    shift
    while [ -n "$near" ] && [ ! -e "$near" ]; do near=${near%/*}; done
    near=${near:-/}
    [ ! -d "$near" ] || kind=dir
    [ ! -w "$near" ] || write=yes # access(2) also says no on a filesystem that is mounted read-only
    printf 'path\t%s\t%s\t%s\n' "$number" "$kind" "$write"
    set -- "$@" "$near"
    number=$((number + 1))
  done
  blob near "$(readlink -f -- "$@")"
  disks=$(df -B1 --output=avail,target -- "$@" 2>/dev/null) || disks=''
  blob disks "$disks"
  points=" $(printf '%s\n' "$disks" | while read -r _ point; do printf '%s ' "$point"; done)"
  while read -r _ point _ options _; do
    case $points in *" $point "*) printf 'mount\t%s\t%s\n' "$point" "$options" ;; esac
  done </proc/self/mounts
}

# Path: mode, owner, group of every directory on the way to it that is there.
look_way() {
  nearest "$1"
  set --
  while [ -n "$near" ]; do set -- "$near" "$@"; near=${near%/*}; done
  found=$(stat -L -c '%a %U %G %n' -- "$@" 2>/dev/null) || return 0
  blob way "$found"
}

look_name() {
  if ! command -v getent >/dev/null 2>&1; then return 0; fi
  code=0
  found=$(timeout 5 getent ahosts "$2" 2>/dev/null) || code=$?
  printf 'name\t%s\t%s\t%s\n' "$1" "$code" "$(printf %s "$found" | base64 -w0)"
}

look_rest() {
  plain uid "$(id -u)"
  used=0 total=0
  while read -r name _ size taken _; do
    case $name in Filename | '') ;; *) total=$((total + size)) used=$((used + taken)) ;; esac
  done </proc/swaps || true
  plain swap "$total $used"
  if [ -r /sys/fs/selinux/enforce ]; then read -r mode </sys/fs/selinux/enforce || true; plain selinux "${mode:-}"; fi
  [ ! -e /run/systemd/container ] || plain container yes
  if [ -d /run/systemd/system ]; then
    plain timesync "$(systemctl is-active chronyd chrony systemd-timesyncd ntpd ntp ntpsec openntpd 2>/dev/null |
      while read -r state; do [ "$state" != active ] || printf active; done)"
  fi
}

# How long a write of the size of a small etcd log entry takes to reach the disk (rule of thumb of etcd's docs: bs=2300).
# The file has no name any more while it is written, so nothing stays behind even if we are killed.
look_fsync() {
  nearest "$1"
  place=$near device=$(stat -L -c %d -- "$near")
  for other in /tmp /var/tmp; do
    if [ -d "$other" ] && [ -w "$other" ] && [ "$(stat -L -c %d "$other")" = "$device" ]; then place=$other; fi
  done
  before=$(stat -L -c %y -- "$place")
  if ! file=$(mktemp "$place/.etcd-flows-preflight.XXXXXX" 2>/dev/null); then plain fsync_failed create; return 0; fi
  exec 9<>"$file"
  rm -f -- "$file"
  touch -d "$before" -- "$place" 2>/dev/null || true
  count=0 samples=''
  hundredths
  begin=$now
  while [ "$count" -lt 100 ] && [ $((now - begin)) -lt "$3" ]; do
    if [ "$count" -ge 5 ] && [ $((now - begin)) -ge "$2" ]; then break; fi
    if ! line=$(dd if=/dev/zero bs=2300 count=1 conv=fdatasync 2>&1 >&9); then plain fsync_failed write; break; fi
    line=${line##*copied, }
    samples="$samples ${line%% s*}" count=$((count + 1))
    hundredths
  done
  plain fsync "$samples"
}

# In $now, without a process of its own.
hundredths() { read -r up _ </proc/uptime; now=${up%.*}${up#*.}; }

# Unit, kind, port in hexadecimal, address and port, lock directory. Something for the other members to connect to, where etcd will listen.
# It ends by itself when nobody ends it. Where another run is at work, etcd may be about to start on that very port.
open_door() {
  for held in "$5"/*/owner; do
    if [ -e "$held" ]; then plain door_locked "$2"; return 0; fi
  done
  if [ -n "$(ports_listening "$3")" ]; then plain "door_taken" "$2"; return 0; fi
  if ! command -v systemd-socket-activate >/dev/null 2>&1 || ! command -v systemd-run >/dev/null 2>&1; then return 0; fi
  nobody=$(command -v true)
  case $nobody in /*) ;; *) nobody=/bin/true ;; esac
  if ! systemd-run -q --collect --unit="$1" -p RuntimeMaxSec=60 \
    "$(command -v systemd-socket-activate)" --accept -l "$4" "$nobody" 2>/dev/null; then plain door_failed "$2"; return 0; fi
  tries=0
  while [ "$tries" -lt 50 ]; do
    if [ -n "$(ports_listening "$3")" ]; then plain door_open "$2"; return 0; fi
    tries=$((tries + 1))
    sleep 0.02
  done
  plain door_failed "$2"
}

# The beginnings of units' names: doors that any run left there, such as one that was killed.
close_doors() {
  for unit in "$@"; do
    shift
    for file in "/run/systemd/transient/$unit"*.service; do
      [ ! -e "$file" ] || set -- "$@" "${file##*/}"
    done
  done
  [ $# = 0 ] || systemctl stop "$@" 2>/dev/null || true
}

# Kind and unit: a door of this run. Says so if it was gone, since then others may have knocked in vain.
close_own_door() {
  if [ -e "/run/systemd/transient/$2.service" ]; then systemctl stop "$2.service" 2>/dev/null || true; else plain door_gone "$1"; fi
}
