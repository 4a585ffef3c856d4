"""`python -m manual_backprop`: the command `manual-backprop`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
