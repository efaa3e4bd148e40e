#!/usr/bin/env bash
# Every test: the fast checks, then molecule's scenarios, each on new virtual machines. At the end a table says how long
# each part took. If the lab's part fails, what the machines know about it is in artifacts/logs.
#   BAREMETAL_LAB_SECONDS=3600   ends the lab's part after that time, so that there is time left to fetch the logs
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
logs=$ROOT/artifacts/logs
parts=()
failed=0
complete=
export NO_COLOR=1 ANSIBLE_NOCOLOR=1 PY_COLORS=0 ANSIBLE_FORCE_COLOR=0 MOLECULE_NO_LOG=0

# part NAME SECONDS OUTCOME
part() { parts+=("$(printf '%-28s %7s  %s' "$1" "$(printf '%dm%02ds' $(($2 / 60)) $(($2 % 60)))" "$3")"); }
outcome() { if [ "$1" = 0 ]; then echo passed; else echo FAILED; fi; }

# shellcheck disable=SC2317 # called by the trap
summary() {
  local line
  # Ended by a signal, or by a mistake in this script: that is no pass.
  [ -n "$complete" ] || failed=1
  printf '\n===== What each part took\n'
  printf '%s\n' "${parts[@]}"
  part "all" "$SECONDS" "$(outcome "$failed")"
  printf '%s\n' "${parts[-1]}"
  if [ "$failed" != 0 ]; then
    echo "Logs: artifacts/check/*.log (fast checks), artifacts/molecule/*.log and artifacts/logs/ (machines: journal, kubelet, pods, consoles)"
  fi
  # What pytest said last, of the unit tests and of the tests on the machines.
  for line in artifacts/check/core.log artifacts/molecule/default.log; do
    grep -oE '=+ ([0-9]+ (passed|failed|skipped|error|errors|warnings|xfailed|deselected),? ?)+in .*=' "$line" 2>/dev/null | tail -n 1
  done
}

# watch_molecule FILE SCENARIO: from each line about one of its actions, when molecule began and ended it
watch_molecule() {
  local line action="" begun=0
  : >"$1"
  while IFS= read -r line; do
    printf '%s\n' "$line"
    if [[ $line =~ \[$2\ \>\ ([a-z_]+)\]\ Executing ]]; then
      action=${BASH_REMATCH[1]} begun=$EPOCHSECONDS
    elif [[ -n $action && $line =~ \[$2\ \>\ $action\].*Executed:\ ([A-Za-z]+) ]]; then
      printf '%s %s %s\n' "$action" $((EPOCHSECONDS - begun)) "${BASH_REMATCH[1]}" >>"$1"
      action=""
    fi
  done
  [ -z "$action" ] || printf '%s %s %s\n' "$action" $((EPOCHSECONDS - begun)) "was cut off" >>"$1"
}

# scenario NAME SECONDS: on new machines, for so many seconds at most
scenario() {
  local name=$1 limit=$2 rc=0 begun action seconds result
  # Machines of an earlier run are not new ones.
  molecule destroy -s "$name" >"artifacts/molecule/$name-before.log" 2>&1 || { cat "artifacts/molecule/$name-before.log"; return 1; }
  begun=$EPOCHSECONDS
  timeout --kill-after=60 "$limit" molecule test -s "$name" --destroy=never </dev/null 2>&1 |
    tee >(watch_molecule "artifacts/molecule/$name.times" "$name" >/dev/null) "artifacts/molecule/$name.log"
  rc=${PIPESTATUS[0]}
  [[ $rc != 124 && $rc != 137 ]] || echo "Scenario $name was ended after $limit s (BAREMETAL_LAB_SECONDS)."
  part "lab: $name" $((EPOCHSECONDS - begun)) "$(outcome "$rc")"
  sleep 1
  while read -r action seconds result; do part "  molecule $action" "$seconds" "$result"; done <"artifacts/molecule/$name.times"
  if [ "$rc" != 0 ]; then
    begun=$EPOCHSECONDS
    bash .ci/logs.sh "$logs"
    part "logs of the machines" $((EPOCHSECONDS - begun)) fetched
  fi
  begun=$EPOCHSECONDS
  result=0
  molecule destroy -s "$name" >"artifacts/molecule/$name-destroy.log" 2>&1 || { result=1; tail -n 30 "artifacts/molecule/$name-destroy.log"; }
  part "  molecule destroy" $((EPOCHSECONDS - begun)) "$(outcome "$result")"
  return $((rc != 0 || result != 0))
}

lab() {
  local name left=0 begun=$EPOCHSECONDS
  mkdir -p artifacts/molecule
  rm -rf "$logs" artifacts/molecule/*
  # The shortest first.
  for name in preflight default; do
    if [ -n "${BAREMETAL_LAB_SECONDS:-}" ]; then
      left=$((BAREMETAL_LAB_SECONDS - (EPOCHSECONDS - begun)))
      [ "$left" -gt 0 ] || left=1
    fi
    scenario "$name" "$left" || return 1
  done
}

trap summary EXIT
begun=$SECONDS
{ bash .ci/venv.sh && bash .ci/link.sh; } || failed=1
part "Python environment" $((SECONDS - begun)) "$(outcome "$failed")"
[ "$failed" = 0 ] || exit 1
begun=$SECONDS
bash .ci/check.sh || failed=1
part "fast checks" $((SECONDS - begun)) "$(outcome "$failed")"
# An hour on machines tells nothing more about a change that does not pass these.
[ "$failed" = 0 ] || exit 1
lab || failed=1
complete=yes
exit "$failed"
