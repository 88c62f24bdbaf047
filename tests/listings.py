"""Runs a tutorial's listings in order, as a program of its own, and collects what each prints.

A page is a Markdown file (tests/seeds). Its fenced blocks: `python` and `cpp` are listings, and
below a listing stands what it shows: `text` literally, `drawn` with any numbers of the same form,
`pattern` as a regular expression, `warning` what goes to stderr. Prose says what differs, and why.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

SEEDS = Path(__file__).parent / "seeds"
_MARK = "=== listing "

# A listing that ends in an expression shows it as a notebook does: a tuple's items on lines of
# their own, indented by the bracket.
_NOTEBOOK = """\
def _show(value):
    if type(value) is tuple:
        print("(" + ",\\n ".join(repr(v).replace("\\n", "\\n ") for v in value) + ")")
    elif value is not None:
        print(repr(value))
"""


@dataclass
class Listing:
    """A listing and what the page shows below it: (how it is compared, text)."""

    language: str
    source: str
    shown: list[tuple[str, str]] = field(default_factory=list)

    def of(self, kind: str) -> list[str]:
        return [text for how, text in self.shown if how == kind]


def read_page(name: str) -> list[Listing]:
    """The listings of a page in order."""
    listings: list[Listing] = []
    text = (SEEDS / f"{name}.md").read_text()
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        if kind in ("python", "cpp"):
            listings.append(Listing(kind, block))
        else:
            assert kind in ("text", "drawn", "pattern", "warning"), kind
            listings[-1].shown.append((kind, block))
    return listings


def run_listings(listings: list[str], folder: Path, library: str = "aot") -> tuple[list[str], str]:
    """What each listing prints, and what goes to stderr in all: run one after the other in one
    process, `import torch` being `import aot as torch` or, with library="torch", itself.

    AssertionError with the program's error if it fails. Places in graphs (`# file:line`) go.
    """
    program = _NOTEBOOK + "import torch\n" + "".join(
        f"print('{_MARK}{i}')\n{_displayed(text)}\n" for i, text in enumerate(listings)
    )
    example = (ROOT / "examples" / "resnet18" / "resnet18.py").read_text()
    for name, text in (("tutorial.py", program), ("resnet18.py", example)):
        text = re.sub(r"^import aot as torch$", "import torch", text, flags=re.M)
        text = re.sub(r"^from aot ", "from torch ", text, flags=re.M)
        if library == "aot":
            text = re.sub(r"^import torch\b", "import aot as torch", text, flags=re.M)
            text = re.sub(r"^from torch ", "from aot ", text, flags=re.M)
        (folder / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
                   "PYTHONWARNINGS": "default"}
    done = subprocess.run([sys.executable, "tutorial.py"], capture_output=True, text=True,
                          cwd=folder, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    text = re.sub(r" # .*", "", done.stdout)
    parts = re.split(rf"^{_MARK}\d+\n", text, flags=re.M)[1:]
    assert len(parts) == len(listings)
    return parts, done.stderr


def _displayed(source: str) -> str:
    """The listing, with the expression it ends in shown."""
    last = ast.parse(source).body[-1]
    if not isinstance(last, ast.Expr):
        return source
    lines = source.rstrip("\n").split("\n")
    lines[last.lineno - 1] = "_show(" + lines[last.lineno - 1]
    code, comment, after = lines[-1].partition("  #")
    lines[-1] = f"{code}){comment}{after}"
    return "\n".join(lines)


def check_shown(listing: Listing, printed: str) -> None:
    """A listing's output is what the page shows below it."""
    kinds = [kind for kind, _ in listing.shown if kind != "warning"]
    assert len(kinds) <= 1
    if not kinds:
        assert printed == "", listing.source
    elif kinds == ["pattern"]:
        assert re.fullmatch(listing.of("pattern")[0].strip(), printed.strip()), listing.source
    else:
        (shown,) = listing.of(kinds[0])
        if kinds == ["drawn"]:
            shown, printed = form(shown), form(printed)
        printed = re.sub(r"\b0x[0-9a-f]{6,}", "0x...", printed)
        assert printed.rstrip() == shown.rstrip(), listing.source


def form(text: str) -> str:
    """A text without the digits and signs of its numbers, and so without their columns."""
    return re.sub(r"\s+", "", re.sub(r"-?\b\d+\.\d{4}\b", "#", text))
