# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What filters make of an error."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("mode"), "some_filter: the setting 'mode' is missing."),
        (ValueError("mode is 5"), "some_filter: mode is 5."),
        (TypeError("no number"), "some_filter: no number."),
        (AttributeError("no items"), "some_filter: no items."),
    ],
)
def test_an_error_has_the_name_of_the_filter_and_is_told_once(error: Exception, text: str) -> None:
    with pytest.raises(AnsibleFilterError) as told, filter_errors("some_filter"):
        raise error
    assert str(told.value) == text
    # Ansible would append the cause's text to the message
    assert told.value.__cause__ is None and told.value.__suppress_context__


def test_others_can_be_left_as_they_are() -> None:
    with pytest.raises(AnsibleFilterError, match="some_filter: the setting 'mode' is missing"), filter_errors("some_filter", others=()):
        raise KeyError("mode")
    with pytest.raises(ValueError, match="mode is 5"), filter_errors("some_filter", others=()):
        raise ValueError("mode is 5")
    with pytest.raises(RuntimeError, match="else"), filter_errors("some_filter"):
        raise RuntimeError("else")
