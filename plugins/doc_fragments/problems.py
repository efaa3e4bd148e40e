# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of filters that tell what is wrong with settings."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  severity:
    description: V(problem) for what forbids a run, V(notice) for what does not.
    type: str
    choices: [problem, notice]
    default: problem
"""
