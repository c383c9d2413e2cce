# Looks at a host and changes nothing. POSIX sh and coreutils only. Prints one fact a line, fields separated by tabs;
# whatever may hold any byte is in base64. Calls of look_* with the wanted paths are appended by tasks/hosts/observe.py.

clock() { printf '%s\t%s\n' "$1" "$(date +%s.%N)"; }

clock begin

blob() { printf '%s\t%s\n' "$1" "$(printf %s "$2" | base64 -w0)"; }

plain() { printf '%s\t%s\n' "$1" "$2"; }

# True if nothing is there; false if the way to it is closed to us, so that we cannot know.
surely_absent() {
  way=${1%/*}
  while [ -n "$way" ] && [ ! -e "$way" ] && [ ! -L "$way" ]; do way=${way%/*}; done
  [ -z "$way" ] || [ ! -d "$way" ] || [ -x "$way" ]
}

# Of a program of 25 MB coreutils' own takes five times as long as one that uses the processor's instructions; for the
# small files it is started sooner.
sha256() {
  { [ "$2" -gt 1048576 ] && openssl dgst -sha256 -r <"$1" 2>/dev/null; } || sha256sum <"$1"
}

# Number, what is wanted (stat, content), path.
look_file() {
  if [ -L "$3" ]; then kind=link
  elif [ -f "$3" ]; then kind=file
  elif [ -d "$3" ]; then kind=dir
  elif [ -e "$3" ]; then kind=other
  else
    if surely_absent "$3"; then printf 'file\t%s\tabsent\n' "$1"; else printf 'denied\t%s\n' "$1"; fi
    return 0
  fi
  # It may vanish between the test and here: then nothing is said of it, and nothing is known.
  attributes=$(stat -c '%a %U %G %s' -- "$3" 2>/dev/null) || return 0
  printf 'file\t%s\t%s\t%s\n' "$1" "$kind" "$attributes"
  if [ "$kind" = file ] && [ -r "$3" ]; then
    sum=$(sha256 "$3" "${attributes##* }") && printf 'sha256\t%s\t%s\n' "$1" "${sum%% *}"
    if [ "$2" = content ] && [ "$(stat -c %s -- "$3")" -le 1048576 ]; then
      printf 'content\t%s\t%s\n' "$1" "$(base64 -w0 <"$3")"
    fi
  fi
}

# The data dir, and the file that names a directory inside it where a restore has put the data, or nothing.
look_data_dir() {
  if [ -n "$2" ] && [ -f "$2" ]; then
    if [ ! -r "$2" ]; then plain data_dir denied; return 0; fi
    inside=$(cat -- "$2")
    blob data_path "$inside"
    set -- "$inside"
  elif [ -n "$2" ] && ! surely_absent "$2"; then
    plain data_dir denied
    return 0
  fi
  near=$1
  while [ -n "$near" ] && [ ! -e "$near" ]; do near=${near%/*}; done
  free=$(df -B1 --output=avail -- "${near:-/}" 2>/dev/null | tail -n 1) && plain data_free "$free"
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then
    if surely_absent "$1"; then plain data_dir absent; else plain data_dir denied; fi
    return 0
  fi
  if [ ! -d "$1" ]; then plain data_dir foreign; blob data_entry "${1##*/}"; return 0; fi
  if [ ! -r "$1" ] || [ ! -x "$1" ]; then plain data_dir denied; return 0; fi
  plain data_attributes "$(stat -L -c '%a %U' -- "$1")"
  [ "$(stat -c %m -- "$1")" != "$(readlink -f -- "$1")" ] || plain data_mount yes
  kind=empty count=0
  for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
    name=${entry##*/}
    [ "$name" != lost+found ] || continue
    count=$((count + 1))
    [ "$count" -gt 10 ] || blob data_entry "$name"
    if [ "$name" = member ] && [ -d "$entry" ]; then kind=etcd; fi
  done
  if [ "$kind" = empty ] && [ "$count" -gt 0 ]; then kind=foreign; fi
  plain data_dir "$kind"
}

# A process that the service manager runs: what it was started with, whatever the files say now.
look_process() {
  [ -d "/proc/$1" ] || return 0
  if [ -r "/proc/$1/environ" ]; then
    settings=$(tr '\000' '\n' <"/proc/$1/environ" 2>/dev/null | while IFS= read -r pair; do
      case $pair in ETCD_* | GOMAXPROCS=*) printf '%s\n' "$pair" ;; esac
    done)
    blob service_environ "$settings"
  fi
  if program=$(readlink "/proc/$1/exe" 2>/dev/null); then
    case $program in *' (deleted)') plain service_replaced yes ;; *) plain service_replaced no ;; esac
  fi
  read -r ticks <"/proc/$1/stat" 2>/dev/null && plain service_stat "${ticks##*) }"
  return 0
}

look_systemd() {
  states=$(systemctl show -p LoadState -p ActiveState -p UnitFileState -p MainPID -p NeedDaemonReload \
    -p ExecMainStartTimestampMonotonic -- "$1" 2>/dev/null) || return 0
  blob service_systemd "$states"
  pid=$(printf '%s\n' "$states" | while IFS='=' read -r name value; do [ "$name" != MainPID ] || echo "$value"; done)
  [ "${pid:-0}" = 0 ] || look_process "$pid"
}

# supervisorctl, its configuration, the program's name.
look_supervisor() {
  if [ ! -f "$2" ]; then
    if surely_absent "$2"; then plain service_supervisor none; fi
    return 0
  fi
  line=$("$1" -c "$2" status "$3" 2>&1 </dev/null) || true
  blob service_supervisor "$line"
  case $line in *' pid '*) pid=${line##* pid } && look_process "${pid%%,*}" ;; esac
}

look_host() {
  blob hostname "$(uname -n)"
  blob machine "$(uname -m)"
  blob kernel "$(uname -r)"
  blob login "${SUDO_USER:-$(id -un)}"
  plain cpus "$(nproc 2>/dev/null || true)"
  if read -r seconds _ </proc/uptime; then plain uptime "$seconds"; fi
  while read -r name value _; do [ "$name" != MemTotal: ] || plain memory_kib "$value"; done </proc/meminfo || true
  for release in /etc/os-release /usr/lib/os-release; do
    if [ -r "$release" ]; then
      blob os "$(ID='' VERSION_ID='' && . "$release" && printf '%s\n%s' "$ID" "$VERSION_ID")"
      break
    fi
  done
  if [ -d /run/systemd/system ]; then
    version=$(systemctl --version 2>/dev/null | head -n 1) && blob systemd "$version"
  fi
}

look_tools() {
  for tool in "$@"; do command -v "$tool" >/dev/null 2>&1 || plain missing "$tool"; done
}

look_etcd() {
  [ -x "$1" ] || return 0
  version=$(timeout 10 "$1" --version 2>/dev/null </dev/null | head -n 1) && blob etcd "$version"
  return 0
}

# A power cut in the middle of useradd can leave a user without its group.
look_user() {
  if id -u -- "$1" >/dev/null 2>&1 && { getent group "$1" >/dev/null 2>&1 || grep -q "^$1:" /etc/group; }; then
    plain user yes
  else
    plain user no
  fi
}
