#!/usr/bin/env python3
"""Holds the #include lines of gateway/ to the table in docs/architecture.md, section 2.

A module may include itself and what stands beside its name in the table; each foreign library has one
door. Prints every line that breaks a rule and how many files were read; fails when there was any.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

MODULES = ["base", "model", "query", "regions", "loop", "request", "store", "replica", "service", "http"]
MAIN = ["program"]  # what main.c is made of: the subcommands
DOORS = {
    "microhttpd.h": ("http/server.c", "http/refusals.c", "http/refusals.h"),
    "libpq-fe.h": ("loop/pgio.c", "loop/pgsession.c"),
    "curl/curl.h": ("loop/peer.c",),
    "pcre2.h": ("query/regex.c",),
    "zstd.h": ("base/pack.c",),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SECTION = re.compile(r"^## 2\..*?(?=^## 3\.)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"(\w+) {2,}(\S.*?)(?= {3,}|$)")


def table(text):
    """What each module may include, from the two columns of the table."""
    rows = {}
    for line in SECTION.search(text).group(0).splitlines():
        if line.startswith("    "):
            rows.update(ROW.findall(line.strip()))
    missing = [name for name in MODULES if name not in rows]
    if missing:
        sys.exit(f"docs/architecture.md, section 2: no row for {', '.join(missing)}")
    return {name: allowed(name, rows) for name in MODULES}


def allowed(name, rows):
    """A row names modules; "X and below" means X and what X may include."""
    found = {name}
    for part in rows[name].split(","):
        words = part.split()
        if words and words[0] in MODULES:
            found.add(words[0])
            if words[1:] == ["and", "below"]:
                found |= allowed(words[0], rows)
    return found


def faults_of(path, may):
    """The lines of one file that break a rule, with the reason."""
    relative = path.relative_to(ROOT / "gateway")
    module = relative.parts[0] if len(relative.parts) > 1 else "main"
    if module in MAIN:
        module = "main"
    if module != "main" and module not in may:
        yield f"gateway/{relative}:1: {module} has no row in docs/architecture.md, section 2"
        return
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        kind, name = match.groups()
        where = f"gateway/{relative}:{line}: "
        target = name.split("/")[0]
        if kind == "<":
            door = DOORS.get(name)
            if door is not None and str(relative) not in door:
                yield f"{where}<{name}> belongs to gateway/{' and gateway/'.join(door)} alone"
        elif "/" not in name and not (ROOT / "gateway" / name).exists() and module != "main":
            yield f'{where}"{name}" is not rooted at gateway/'
        elif module != "main" and target in MODULES and target not in may[module]:
            yield f"{where}{module} may not include {target}"


def main():
    may = table((ROOT / "docs" / "architecture.md").read_text())
    files = sorted(p for p in (ROOT / "gateway").rglob("*.[ch]"))
    faults = [fault for path in files for fault in faults_of(path, may)]
    for fault in faults:
        print(fault)
    print(f"layers: {len(files)} files, {len(faults)} faults")
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
