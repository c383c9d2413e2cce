# Connects to other members. One line for each: number, exit code, what was said (base64). Calls are appended by
# tasks/preflight/connect.py. Bash measures and says why; curl does where bash is missing or too old to tell the time.

by_bash='
best=
for try in $(seq "$3"); do
  begin=$EPOCHREALTIME
  exec 3<>"/dev/tcp/$1/$2" || exit 1
  end=$EPOCHREALTIME
  exec 3>&-
  took=$((${end/./} - ${begin/./}))
  if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
done
echo "microseconds $best"
'
way=none
if command -v curl >/dev/null 2>&1; then way=curl; fi
# shellcheck disable=SC2016
if command -v bash >/dev/null 2>&1 && [ -n "$(bash -c 'echo "${EPOCHREALTIME-}"')" ]; then way=bash; fi
printf 'way\t%s\n' "$way"

# Number, address, address as in a URL, port, how often, seconds.
knock() {
  code=0
  case $way in
    bash) said=$(timeout "$6" bash -c "$by_bash" knock "$2" "$4" "$5" 2>&1 </dev/null) || code=$? ;;
    curl)
      said=$(curl -sSg -o /dev/null --noproxy '*' -m "$6" -w 'seconds %{time_connect} %{time_namelookup}' \
        "http://$3:$4/" 2>&1 </dev/null) || code=$?
      ;;
    *) return 0 ;;
  esac
  printf 'knock\t%s\t%s\t%s\n' "$1" "$code" "$(printf %s "$said" | base64 -w0)"
}
