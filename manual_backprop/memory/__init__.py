"""What a forward saves for its backward: recomputation, compression of saved tensors, and the policy of mb.saving."""
