#!/usr/bin/env bash
# One fast check: .ci/gate.sh NAME. Names and their order are in .ci/check.sh.
# Exit code 0: passed, 77: cannot be measured on this machine (the last line says why), anything else: failed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT

# Files of the checkout as git sees them, new ones included: what is ignored must not decide a check.
files() { git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -r -d '' name; do [ ! -e "$name" ] || printf '%s\0' "$name"; done; }
copy_tree() { mkdir -p "$1"; files | tar --null --no-recursion -T - -c | tar -x -C "$1"; }

# Unit tests, rendering and syntax check with the ansible-core of one virtual environment.
with_core() {
  local bin=$1/bin inventory
  # The tests send real traffic in namespaces of their own and let systemd check units: none is skipped for lack of a tool.
  need ip=iproute2 nft=nftables iptables=iptables systemd-analyze=systemd ping=iputils-ping ruby=ruby fio=fio iperf3=iperf3 bird=bird wireguard-go=wireguard-go wg=wireguard-tools nginx=nginx-light openssl=openssl
  "$bin/ansible" --version | sed -n '1p; /python version/p'
  echo "--- unit tests, rendering and other tests that need no machine"
  "$bin/python" -m pytest -p no:cacheprovider --durations=8 tests/unit tests/integration
  for inventory in inventories/*/; do
    [ -e "$inventory/hosts.yml" ] || continue
    echo "--- syntax check with $inventory"
    "$bin/ansible-playbook" -i "$inventory" --syntax-check site.yml playbooks/*.yml
  done
}

case "$1" in
yamllint)
  files '*.yml' '*.yaml' .ansible-lint .yamllint | xargs -0 yamllint -s
  ;;
ansible-lint)
  # Its own colours and cache would differ between a terminal and CI.
  NO_COLOR=1 ansible-lint --offline --strict
  ;;
core)
  with_core "$VENV"
  ;;
other-core)
  rc=0
  bash .ci/venv.sh core || rc=$?
  if [ $rc = 3 ]; then echo "the newest ansible-core needs Python 3.12 or later, and there is none here"; exit 77; fi
  [ $rc = 0 ]
  with_core "$VENV_CORE"
  ;;
sanity)
  # ansible-test wants to be below a folder ansible_collections, and real interpreters on PATH. Its home is kept apart:
  # it downloads a pip installer to ~/.ansible/test/cache; the shim put there does the same from each Python's own copy.
  tree="$ROOT/.ansible/sanity/ansible_collections/baremetal/kubernetes"
  rm -rf "$tree"
  copy_tree "$tree"
  [ ! -e "$HOME/.config/pip/pip.conf" ] || export PIP_CONFIG_FILE="${PIP_CONFIG_FILE:-$HOME/.config/pip/pip.conf}"
  export HOME="$ROOT/.ansible/sanity/home"
  mkdir -p "$HOME/.ansible/test/cache" "$TMP/bin"
  pip_version=$(python -c 'import ansible_test, pathlib, re
source = (pathlib.Path(ansible_test.__file__).parent / "_internal/python_requirements.py").read_text()
print(re.search(r"\bpip=.([0-9.]+)", source).group(1).replace(".", "_"))')
  cp .ci/get_pip.py "$HOME/.ansible/test/cache/get_pip_$pip_version.py"
  interpreters | while read -r version path; do ln -s "$path" "$TMP/bin/python$version"; done
  rm -f "$TMP/bin/python$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  cd "$tree"
  git init -q && git add -A
  PATH="$VENV/bin:$TMP/bin:$PATH" ansible-test sanity --color no
  ;;
node-python)
  # What runs on nodes must work with their Python, 3.8 and later.
  mapfile -d '' -t sources < <(files 'plugins/modules/*.py' 'plugins/module_utils/*.py')
  vermin --no-tips --violations -t=3.8- "${sources[@]}"
  missing=""
  for version in 3.8 3.9; do
    python=$(interpreters | awk -v version=$version '$1 == version { print $2 }')
    if [ -z "$python" ]; then missing+=" $version"; continue; fi
    "$python" -c 'import sys
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as stream:
        compile(stream.read(), name, "exec", dont_inherit=True)
print("compiled %d files with %d.%d" % (len(sys.argv) - 1, *sys.version_info[:2]))' "${sources[@]}"
  done
  [ -z "$missing" ] || echo "not compiled for lack of an interpreter:$missing (vermin has read them)"
  ;;
docs)
  antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=dependent --skip-rstcheck .
  ;;
changelog)
  antsibull-changelog lint
  ;;
build)
  # The artefact alone, without this checkout on the path: it installs, documents itself and its playbooks are found.
  copy_tree "$TMP/source"
  ansible-galaxy collection build "$TMP/source" --output-path "$TMP" >"$TMP/build.log" || { cat "$TMP/build.log"; exit 1; }
  cat >"$TMP/ansible.cfg" <<CFG
[defaults]
collections_path = $TMP/collections
inject_facts_as_vars = False
CFG
  export ANSIBLE_CONFIG="$TMP/ansible.cfg"
  cd "$TMP"
  ls -l "$TMP"/*.tar.gz
  tar -tzf "$TMP"/*.tar.gz | grep -E '(^|/)(\.ci|\.venv|\.ansible|\.vagrant|artifacts|__pycache__)(/|$)|\.pyc$' && { echo "these do not belong into the artefact"; exit 1; }
  # The collections it depends on come with pip's ansible; nothing is asked of Galaxy.
  ansible-galaxy collection install "$TMP"/*.tar.gz -p "$TMP/collections" --no-deps
  installed="$TMP/collections/ansible_collections/baremetal/kubernetes"
  [ -f "$installed/README.md" ]
  for kind in module callback filter; do
    ansible-doc -t $kind -l baremetal.kubernetes --json 2>/dev/null >"$TMP/list.json"
    mapfile -t names < <(python -c 'import json, sys; [print(name) for name in json.load(open(sys.argv[1]))]' "$TMP/list.json")
    echo "$kind: ${names[*]}"
    # The list leaves out what it cannot read.
    folder=$kind
    [ $kind != module ] || folder=modules
    expected=$(find "$installed/plugins/$folder" -name '*.py' ! -name '_*' | wc -l)
    [ "${#names[@]}" = "$expected" ] || { echo "$kind: ${#names[@]} of $expected have documentation that can be read"; exit 1; }
    ansible-doc -t $kind "${names[@]}" >/dev/null
  done
  mapfile -t roles < <(find "$installed/roles" -mindepth 1 -maxdepth 1 -type d -printf 'baremetal.kubernetes.%f\n' | sort)
  ansible-doc -t role "${roles[@]}" >/dev/null
  echo "roles: ${roles[*]}"
  for inventory in "$ROOT"/inventories/*/; do
    [ ! -e "$inventory/hosts.yml" ] || ansible-playbook -i "$inventory" --syntax-check baremetal.kubernetes.site
  done
  ;;
shellcheck)
  need shellcheck=shellcheck
  mapfile -d '' -t scripts < <(files | xargs -0 grep -lZE '^#!.*\b(ba)?sh\b|^# shellcheck shell=' --)
  shellcheck -x -P SCRIPTDIR -S style "${scripts[@]}"
  echo "${#scripts[@]} scripts"
  ;;
*)
  die "Unknown check: $1"
  ;;
esac
