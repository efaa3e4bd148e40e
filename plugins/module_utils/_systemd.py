# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Read the state of many systemd units with one command."""

from __future__ import annotations

from typing import Dict, List, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner

UNIT_SUFFIXES = (
    ".service",
    ".socket",
    ".target",
    ".timer",
    ".mount",
    ".automount",
    ".swap",
    ".path",
    ".slice",
    ".scope",
    ".device",
)

SHOW_TIMEOUT = 60.0


class SystemdError(Exception):
    """systemd could not be asked."""


def unit_name(name: str) -> str:
    """Complete a unit name the way systemctl does."""
    return name if name.endswith(UNIT_SUFFIXES) else f"{name}.service"


def parse_show(text: str) -> List[Dict[str, str]]:
    """Split the output of systemctl show into one dict per unit, in the order asked for."""
    blocks: List[Dict[str, str]] = []
    current: Dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            if current:
                blocks.append(current)
                current = {}
            continue
        key, found, value = line.partition("=")
        if found:
            current[key] = value
    if current:
        blocks.append(current)
    return blocks


def show_units(run: Runner, names: Sequence[str], properties: Sequence[str]) -> Dict[str, Dict[str, str]]:
    """Return the properties of every unit asked for, keyed by the name asked for.

    The blocks are matched by position: for an alias systemd answers with the name of the unit behind it.
    """
    if not names:
        return {}
    argv = ["systemctl", "show", "--no-pager", "-p", ",".join(properties), "--"] + [unit_name(name) for name in names]
    code, out, err = run(argv, SHOW_TIMEOUT)
    blocks = parse_show(out)
    if len(blocks) != len(names):
        seen = (err or out).strip() or f"{len(blocks)} answers for {len(names)} units"
        raise SystemdError(
            f"Seen: {' '.join(argv)} ended with return code {code}: {seen}. Wanted: the state of {len(names)} unit(s). "
            "Next: run that command on the node; systemd has to be its init system."
        )
    return dict(zip(names, blocks))
