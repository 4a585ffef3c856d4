"""Functions of torch.nn.functional that need no rule: manual_backprop.functional has torch's own."""

CONSTANT = frozenset(("native_channel_shuffle", "one_hot", "scaled_grouped_mm", "scaled_mm"))
"""Without a derivative in torch: of integers, of numbers of 8 bits and fewer, or for inference alone."""

HELPERS = frozenset(
    (
        "assert_int_or_pair", "boolean_dispatch", "handle_torch_function", "has_torch_function",
        "has_torch_function_unary", "has_torch_function_variadic",
    )
)  # fmt: skip
"""They compute nothing."""
