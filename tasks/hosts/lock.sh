# Locks of runs on this host. POSIX sh and coreutils only; calls are appended by tasks/hosts/lock.py.
#
# DIR/SESSION/owner        who holds it, JSON, never changed
# DIR/SESSION/claimed      boot id and uptime at which it was made
# DIR/SESSION/lease.BOOT   its mtime is the uptime, in seconds, up to which the holder need not be heard of
# DIR/SESSION/cmd          process and mark of the holder's newest command on this host
#
# Only uptimes are compared, so clocks may be wrong and may jump. touch(1) on a file that is there needs no space, so a
# full disk does not make a living holder look dead.

read -r now _ </proc/uptime
now=${now%%.*}
read -r boot </proc/sys/kernel/random/boot_id || boot=none

# Seconds since this machine or container was started: process 1's start (field 22 of its stat) counts in hundredths.
boot_age() {
  began=0
  if read -r line 2>/dev/null </proc/1/stat; then
    set -- ${line##*) }
    [ $# -lt 20 ] || began=$((${20} / 100))
  fi
  echo $((now - began))
}

# Directory, session, lease in seconds, owner. A lock appears with all of its content or not at all.
lock_make() {
  fresh=$1/.new.$$
  (umask 022 && mkdir -p -- "${1%/*}") && mkdir -p -- "$1" && rm -rf -- "$fresh" && mkdir -- "$fresh" &&
    printf '%s\n' "$4" >"$fresh/owner" && printf '%s %s\n' "$boot" "$now" >"$fresh/claimed" &&
    : >"$fresh/cmd" && touch -d "@$((now + $3))" -- "$fresh/lease.$boot" &&
    sync -- "$fresh/owner" "$fresh/claimed" "$fresh" && mv -T -- "$fresh" "$1/$2" && sync -- "$1"
}

lock_claim() {
  [ ! -d "$1/$2" ] || return 0
  for left in "$1"/.new.* "$1"/.gone.*; do
    [ ! -d "$left" ] || [ -d "/proc/${left##*.}" ] || rm -rf -- "$left"
  done
  for try in 1 2 3 4 5; do # another run may just be removing the directory, because its own lock was the last one
    said=$(lock_make "$@" 2>&1) && return 0
    [ ! -d "$1/$2" ] || return 0
  done
  rm -rf -- "$1/.new.$$"
  printf '%s\n' "$said" >&2
  exit 75
}

# Directory, session. Renamed first: a lock is there whole or not at all.
lock_remove() {
  [ -d "$1/$2" ] || return 0
  if ! said=$(mv -T -- "$1/$2" "$1/.gone.$$" 2>&1); then
    [ -d "$1/$2" ] || return 0
    printf '%s\n' "$said" >&2
    exit 74
  fi
  rm -rf -- "$1/.gone.$$"
}

lock_tidy() {
  rmdir -- "$1" 2>/dev/null || :
  rmdir -- "${1%/*}" 2>/dev/null || :
}

# Directory, own session, lease in seconds. Prints every lock; $others becomes the number of those not our own.
lock_list() {
  others=0
  for entry in "$1"/*; do
    name=${entry##*/}
    case $name in *[!0-9A-Za-z_-]*) continue ;; esac
    [ -d "$entry" ] || continue
    left=- heard=- age=- busy=no pid='' mark=''
    if times=$(stat -c '%Y %Z' -- "$entry/lease.$boot" 2>/dev/null); then
      left=$((${times% *} - now)) heard=$(($(date +%s) - ${times#* }))
    else
      left=$(($3 - $(boot_age)))
    fi
    if read -r claimed_boot claimed_at 2>/dev/null <"$entry/claimed"; then
      if [ "$claimed_boot" = "$boot" ]; then age=$((now - claimed_at)); else age=$(boot_age); fi
    fi
    read -r pid mark 2>/dev/null <"$entry/cmd" || :
    if [ -n "$mark" ] && [ -r "/proc/$pid/cmdline" ]; then
      case $(tr '\000' ' ' 2>/dev/null <"/proc/$pid/cmdline") in *" $mark "*) busy=yes ;; esac
    fi
    owner=$(base64 -w0 2>/dev/null <"$entry/owner") || owner=
    [ -d "$entry" ] || continue
    [ "$name" = "$2" ] || others=$((others + 1))
    printf 'lock\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$left" "$heard" "$age" "$busy" "$owner"
  done
  printf 'locks\tcomplete\n'
}
