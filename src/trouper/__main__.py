"""`python -m trouper`, the same as the command `trouper`."""

from __future__ import annotations

import sys

from trouper.cli import main

if __name__ == "__main__":
    sys.exit(main())
