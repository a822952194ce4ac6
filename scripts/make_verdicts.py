"""Write docs/reference/verdicts.md from the doctor's table, so that the two cannot differ.

.venv/bin/python scripts/make_verdicts.py           # write it
.venv/bin/python scripts/make_verdicts.py --check   # exit code 1 if it would change; a test calls this
"""

from __future__ import annotations

import sys
from pathlib import Path

from ferryman.doctor.verdicts import page

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "verdicts.md"

if __name__ == "__main__":
    made = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != made:
            sys.exit(f"{PAGE} is not what the table says; run scripts/make_verdicts.py")
    else:
        PAGE.write_text(made)
