"""What is looked at on the processor and not on a GPU."""

from __future__ import annotations

import torch

from dmmcheck.attacks import waiting


def test_only_a_mask_in_the_memory_of_the_processor_is_looked_at():
    for entries in ([False, False], [False, True]):
        assert waiting.may_have(torch.tensor(entries)) is any(entries)
    elsewhere = torch.zeros(2, dtype=torch.bool, device="meta")  # which has no values that could be looked at
    assert waiting.may_have(elsewhere) is True
