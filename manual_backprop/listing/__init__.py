"""The training step of a network as a Python file: recording it, writing it as text, running it, exercises from it."""
