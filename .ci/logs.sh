#!/usr/bin/env bash
# Brings what a failed run left behind to the folder named: journal, kubelet, pods, network of each machine that still
# answers, and the consoles of all. Never fails: it is called when something already has.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
target=$1
cache=${BAREMETAL_LAB_CACHE:-$HOME/.cache/baremetal-kubernetes}
mkdir -p "$target/lab"
cp "$cache"/console/*.log "$cache"/logs/*.log "$target/lab/" 2>/dev/null
if [ -e inventories/lab/hosts.yml ]; then
  timeout 300 ansible-playbook -i inventories/lab tests/integration/logs.yml -e "logs_dir=$target" >"$target/fetch.log" 2>&1 ||
    echo "Not every machine answered, see $target/fetch.log"
fi
echo "===== Last lines of what was fetched to $target"
for file in "$target"/*/kubelet.log "$target"/*/state.txt "$target"/lab/cp1.log; do
  [ -s "$file" ] || continue
  printf '\n--- %s\n' "${file#"$target"/}"
  tail -n 25 "$file" | cut -c1-300
done
exit 0
