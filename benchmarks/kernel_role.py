# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure role kernel against loops of community.general.modprobe and ansible.posix.sysctl, and print the ratios.

    python3 benchmarks/kernel_role.py -i inventories/lab [-e bench_host=w1]

Arguments are handed to ansible-playbook. The exit code says whether everything ran, not how fast it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

WANTED_RATIO = 8.0
WANTED_KIB = 50 * 1024
REPOSITORY = Path(__file__).resolve().parent.parent


def report(results: dict) -> str:
    """Return the table for a person."""
    seconds = {(item["variant"], item["run"]): item["seconds"] for item in results["seconds"]}
    lines = [
        f"kernel role on {results['host']}: {results['modules']} modules, {results['sysctls']} parameters",
        f"{'run':8}{'loops':>10}{'role':>10}{'ratio':>9}   wanted",
    ]
    for run in ("first", "second"):
        loops, role = seconds["loops", run], seconds["role", run]
        lines.append(f"{run:8}{loops:9.1f}s{role:9.1f}s{loops / role:8.1f}x   {WANTED_RATIO:.0f}x")
    largest = max(results["memory_kib"])
    lines.append(f"largest memory of a module of the role: {largest / 1024:.1f} MiB (wanted: below {WANTED_KIB // 1024})")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the playbook from the repository, so that its ansible.cfg counts."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        command = ["ansible-playbook", "benchmarks/kernel_role.yml", "-e", f"bench_output={output}", *arguments]
        code = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if code == 0:
            print(report(json.loads(output.read_text(encoding="utf-8"))))
        return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
