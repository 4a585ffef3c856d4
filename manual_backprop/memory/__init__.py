"""What a forward keeps for its backward: recomputation, shorter forms of saved tensors, and the policy of mb.saving."""
