"""How models run under onnxruntime here."""

from __future__ import annotations

from typing import Any

import onnxruntime


def opened(model: str | bytes, threads: int, *, precise: bool = False, left_out: tuple[str, ...] = ()) -> Any:
    """An ``InferenceSession`` of a file or of a serialised graph. ``precise``: before VNNI, 8-bit products overflow, so
    go the slower way. ``left_out``: optimisers that do harm. Raises onnxruntime's errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the other cores are not ours alone
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(left_out)
    )
