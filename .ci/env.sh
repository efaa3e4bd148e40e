# shellcheck shell=bash
# Sourced by every script here: where things are, and what each of them needs in its environment.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT" || exit 1
export VENV="$ROOT/.venv"
export VENV_CORE="$ROOT/.venv-core"
export OUT="$ROOT/artifacts/check"

# Files made here are read by other users too, such as those that libvirt's machines run as.
umask 022
# Ansible ignores an ansible.cfg in a directory that everybody may write to, unless it is named.
export ANSIBLE_CONFIG="$ROOT/ansible.cfg"
export PATH="$VENV/bin:$PATH"
export PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C.UTF-8
# Another virtual environment or PYTHONPATH of the caller's would mix its packages with these.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Needed for apt alone: everything else runs as anybody.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME...: Debian packages, with fresh lists if the ones here are empty or old; one caller at a time
install_packages() {
  command -v apt-get >/dev/null || die "Not found: apt-get. Install by hand what these Debian packages hold: $*"
  say "Installing Debian packages: $*"
  mkdir -p "$ROOT/.ansible"
  (
    flock 8
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
      { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
  ) 8>"$ROOT/.ansible/apt.lock"
}

# need COMMAND=PACKAGE...: installs the packages whose command is missing
need() {
  local pair lacking=()
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || lacking+=("${pair#*=}")
  done
  [ ${#lacking[@]} = 0 ] || install_packages "${lacking[@]}"
}

# interpreters: "3.11 /usr/bin/python3.11" for each Python 3 that really starts, one line for each minor version.
# A pyenv shim on PATH exits with 127 when its version is not the active one, so each is started once.
interpreters() {
  local candidate
  {
    type -ap python3 python3.{8..20} || true
    ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 2>/dev/null || true
  } | while read -r candidate; do
    case "$candidate" in "$VENV"/* | "$VENV_CORE"/*) continue ;; esac
    "$candidate" -c 'import os, sys
print("%d.%d" % sys.version_info[:2], os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2]))' 2>/dev/null || true
  done | while read -r version path; do
    if [ -x "$path" ]; then echo "$version $path"; fi
  done | sort -t. -k2,2n -s -u -k1,1
}
