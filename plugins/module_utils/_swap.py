# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Turn swap off, first for the next boot and then now; no swap file or partition is removed or overwritten."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional, Set

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import (
    SWAP_SERVICES,
    fstab_swaps,
    parse_swaps,
    read_text,
    unit_swaps,
)
from ansible_collections.baremetal.kubernetes.plugins.module_utils._textfile import file_mode, write_text

FSTAB = "/etc/fstab"
UNIT_FOLDER = "/etc/systemd/system"
MARK = "# swap is off for the kubelet: "

SYSTEMCTL_TIMEOUT = 120.0
# All that was swapped out has to be read back into memory.
SWAPOFF_TIMEOUT = 900.0


class SwapError(Exception):
    """One sentence: what was seen, what is wanted, what to do."""


def fstab_without_swap(text: str) -> str:
    """Comment out the lines that bring swap at boot, and nothing else."""
    numbers = {int(item["source"].rpartition(":")[2]) for item in fstab_swaps(text)}
    lines = text.split("\n")
    return "\n".join(MARK + line if number in numbers else line for number, line in enumerate(lines, start=1))


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class Swap:
    """The swap of one machine; root is another directory in tests only."""

    def __init__(self, run: Runner, root: str = "/", now: Optional[float] = None) -> None:
        self.run = run
        self.root = root
        self.stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        self.swaps = parse_swaps(self._text("/proc/swaps"))
        # Written back as it was: a mount point may be no UTF-8.
        self.fstab = read_text(self._inside(FSTAB), "surrogateescape") or ""
        self.units = [item["source"] for item in unit_swaps(root)]

    def _inside(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def _text(self, path: str) -> str:
        return read_text(self._inside(path)) or ""

    def _systemctl(self, *arguments: str) -> None:
        argv = ["systemctl"] + list(arguments)
        code, out, err = self.run(argv, SYSTEMCTL_TIMEOUT)
        if code != 0:
            raise SwapError(
                f"`{' '.join(argv)}` ended with return code {code}: {(err or out).strip()}. Wanted: swap stays off at the next boot. "
                "Next: run that command on the node, correct the cause and run again."
            )

    def off(self, check_mode: bool) -> Dict[str, Any]:
        """Do what is needed; nothing is run when there is no swap."""
        new_fstab = fstab_without_swap(self.fstab)
        devices = [item["device"] for item in self.swaps]
        result: Dict[str, Any] = {
            "changed": new_fstab != self.fstab or len(self.units) > 0 or len(devices) > 0,
            "swapped_off": devices,
            "masked": self.units,
            "backup": None,
            "diff": [
                {"before_header": FSTAB, "after_header": FSTAB, "before": _printable(self.fstab), "after": _printable(new_fstab)},
                {
                    "before_header": "swap",
                    "after_header": "swap",
                    "before": "".join(f"{name}\n" for name in devices + self.units),
                    "after": "",
                },
            ],
        }
        if check_mode:
            return result
        if new_fstab != self.fstab:
            result["backup"] = self.write_fstab(new_fstab)
        if self.units:
            self.mask()
        if result["changed"]:
            # Else systemd keeps the swap units it made from the old fstab, perhaps one a killed run changed, and may start them again.
            self._systemctl("daemon-reload")
        self.swap_off()
        return result

    def write_fstab(self, text: str) -> str:
        """Keep the old file beside the new one."""
        mode = file_mode(self._inside(FSTAB)) or 0o644
        backup = f"{FSTAB}.{self.stamp}.bak"
        write_text(self._inside(backup), self.fstab, mode)
        write_text(self._inside(FSTAB), text, mode)
        return backup

    def mask(self) -> None:
        """Keep units from starting again: a generator's or a package's unit is masked, an administrator's own one disabled."""
        services = [name for name in self.units if name in SWAP_SERVICES]
        if services:
            # They remove what they made when they are stopped.
            self._systemctl("stop", *services)
        own: Set[str] = {name for name in self.units if os.path.isfile(self._inside(f"{UNIT_FOLDER}/{name}"))}
        if own:
            self._systemctl("disable", *sorted(own))
        others = [name for name in self.units if name not in own]
        if others:
            self._systemctl("mask", *others)

    def swap_off(self) -> None:
        """Turn off what is on, one by one, and look afterwards."""
        for item in parse_swaps(self._text("/proc/swaps")):
            argv = ["swapoff", item["device"]]
            code, out, err = self.run(argv, SWAPOFF_TIMEOUT)
            if code != 0:
                raise SwapError(
                    f"`{' '.join(argv)}` ended with return code {code}: {(err or out).strip()}. Wanted: no swap, as the kubelet refuses to start with it. "
                    "Stop what uses the memory (`free -m`), or reboot: swap is already off for the next boot. Then run again."
                )
        left = [item["device"] for item in parse_swaps(self._text("/proc/swaps"))]
        if left:
            raise SwapError(f"Swap is still on after swapoff: {', '.join(left)}. Find what turns it on (`systemctl list-units --type=swap`), then run again.")
