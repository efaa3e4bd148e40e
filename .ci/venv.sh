#!/usr/bin/env bash
# Makes .venv from requirements.txt. With the argument "core" it makes .venv-core: the other end of the supported
# ansible-core versions (the newest if .venv has 2.19, else 2.19), from tests/requirements-core.txt.
# Nothing is done while the stamp fits: same requirements, same place, same Python. It is written last, so that an
# interrupted run is taken up by the next one. Exit code 3: no Python that is new enough.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

target=$VENV file=requirements.txt oldest=11 core=()
if [ "${1:-}" = core ]; then
  target=$VENV_CORE file=tests/requirements-core.txt
  if "$VENV/bin/python" -c 'import sys, ansible.release as r; sys.exit(not r.__version__.startswith("2.19."))'; then
    oldest=12 core=("ansible-core>=2.20.0" "ansible>=13.0.0")
  else
    core=("ansible-core>=2.19.0,<2.20" "ansible>=12.0.0,<13")
  fi
fi

stamp() {
  printf '%s %s %s\n' "$({ cat "$file"; echo "${core[@]}"; } | sha256sum | cut -c1-64)" "$target" "$("$target/bin/python" -V 2>&1)"
}
current() { [ -x "$target/bin/python" ] && [ "$(cat "$target/.stamp" 2>/dev/null)" = "$(stamp)" ]; }

if current; then exit 0; fi

# Two makes at a time must not both fill it.
mkdir -p "$ROOT/.ansible"
exec 9>"$ROOT/.ansible/venv.lock"
flock 9
if current; then exit 0; fi

# The oldest interpreter that is new enough, or for the newest core the newest one.
choose() {
  local found
  if [ -n "${BAREMETAL_PYTHON:-}" ] && [ "$target" = "$VENV" ]; then command -v "$BAREMETAL_PYTHON"; return; fi
  found=$(interpreters | awk -v oldest="$oldest" '{ split($1, v, "."); if (v[2] >= oldest) print $2 }')
  if [ "$oldest" = 12 ]; then echo "$found" | tail -n 1; else echo "$found" | head -n 1; fi
}
python=$(choose)
if [ -z "$python" ] && [ "$target" = "$VENV" ]; then
  install_packages python3 python3-venv
  python=$(choose)
fi
if [ -z "$python" ]; then
  say "Found no Python 3.$oldest or later, only: $(interpreters | awk '{printf "%s ", $1}')"
  [ "$target" != "$VENV" ] || say "Install one, or name one: BAREMETAL_PYTHON=/path/to/python3 make ..."
  exit 3
fi

# A half-made one, or one whose Python has gone or whose folder was moved.
if [ -e "$target" ] && ! { "$target/bin/python" -m pip --version && [ "$("$target/bin/python" -c 'import sys; print(sys.prefix)')" = "$target" ] &&
  head -n 1 "$target/bin/pip" | grep -qF "$target"; } >/dev/null 2>&1; then
  say "$target is not usable, making it again."
  rm -rf "$target"
fi
if [ ! -e "$target" ]; then
  say "Making $target with $python"
  # Debian keeps ensurepip in a package of its own.
  "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages "$(basename "$python")-venv"
  "$python" -m venv "$target"
fi
say "Installing $file ${core[*]} into $target (some minutes when nothing is cached)"
mkdir -p "$OUT"
log="$OUT/$(basename "$target" | tr -d .).log"
"$target/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off -r "$file" "${core[@]}" >"$log" 2>&1 ||
  { tail -n 30 "$log" >&2; die "pip could not install $file, see $log"; }
stamp >"$target/.stamp"
