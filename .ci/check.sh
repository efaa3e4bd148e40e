#!/usr/bin/env bash
# The fast checks, two at a time: .ci/check.sh [NAME...]. Each one's output is in artifacts/check/NAME.log; shown are
# the outcome and time of each, and what failed. "unknown" is a check that this machine has no means for: it is no failure,
# and no pass.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# The longest first, so that two lanes end at about the same time.
all=(sanity other-core ansible-lint core build docs node-python yamllint shellcheck changelog)
[ $# -gt 0 ] || set -- "${all[@]}"

bash .ci/venv.sh && bash .ci/link.sh || exit 1
mkdir -p "$OUT"
# A check that does not come to its end must not be judged by what it said last time.
for name in "$@"; do rm -f "$OUT/$name.outcome" "$OUT/$name.log"; done
begun=$SECONDS

one() {
  local name=$1 begun=$EPOCHREALTIME rc=0 outcome=passed
  bash .ci/gate.sh "$name" >"$OUT/$name.log" 2>&1 </dev/null || rc=$?
  case $rc in 0) ;; 77) outcome=unknown ;; *) outcome=FAILED ;; esac
  echo "$outcome" >"$OUT/$name.outcome"
  awk -v outcome=$outcome -v name="$name" -v begun="$begun" -v ended="$EPOCHREALTIME" \
    'BEGIN { printf "%-8s %-14s %6.1f s\n", outcome, name, ended - begun }'
}
export -f one
# shellcheck disable=SC2016 # the inner shell expands it
printf '%s\n' "$@" | xargs -P 2 -I{} bash -c 'one "$1"' one {}

failed=0
for name in "$@"; do
  case $(cat "$OUT/$name.outcome" 2>/dev/null) in
  passed) ;;
  unknown) printf '\n%s was not measured: %s\n' "$name" "$(tail -n 1 "$OUT/$name.log")" ;;
  *)
    failed=$((failed + 1))
    printf '\n===== %s failed; the last lines of artifacts/check/%s.log:\n' "$name" "$name"
    tail -n 80 "$OUT/$name.log"
    ;;
  esac
done
echo
for name in "$@"; do
  line=$(grep -E '^=+ .*(passed|failed|error|no tests ran).* =+$' "$OUT/$name.log" | tail -n 1)
  [ -z "$line" ] || printf '%s: ansible-core %s\n%s\n' "$name" "$(sed -n 's/^ansible \[core \(.*\)\]$/\1/p' "$OUT/$name.log" | head -n 1)" "$line"
done
printf '%s checks, %s failed, %s s in all\n' $# $failed $((SECONDS - begun))
[ $failed = 0 ]
