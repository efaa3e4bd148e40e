# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What filters that take a dict of settings make of an error."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.errors import AnsibleFilterError


@contextlib.contextmanager
def filter_errors(name: str, others: t.Tuple[t.Type[Exception], ...] = (ValueError, TypeError, AttributeError)) -> t.Iterator[None]:
    """A setting that is missing, and the C(others), become an error of Ansible's with the name of the filter in front."""
    try:
        yield
    # Without a cause: Ansible appends the cause's text to the message, which has it already.
    except KeyError as error:
        raise AnsibleFilterError(f"{name}: the setting {error} is missing.") from None
    except others as error:
        raise AnsibleFilterError(f"{name}: {error}.") from None
