"""Measurements: our layers and training steps against torch.nn's, side by side in one process.

timing.py runs contestants alternately. rows.py lists the layers and their inputs; layers.py measures them and compares
them with their targets. networks.py and steps.py do the same for training steps. cli.py is `manual-backprop bench`.
"""
