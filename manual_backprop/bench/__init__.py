"""Measuring: layers and training steps of ours against torch.nn's, side by side in one process.

timing.py has contestants take turns; rows.py says which layers are measured on what, layers.py measures and judges
them; networks.py and steps.py do the same for training steps; cli.py is `manual-backprop bench`.
"""
