#!/usr/bin/env python3
"""Turn the migrations of a folder into a C table, so that the program carries its schema.

usage: embed_schema.py SCHEMA_DIR OUTPUT.c DEPFILE

Files are named NNNN_what.sql, numbered from 1 without a gap. The depfile names the folder too, because
a migration that is added changes nothing else that the build looks at.
"""
import hashlib
import pathlib
import re
import sys


def migrations_read(folder):
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"([0-9]{4})_([a-z0-9_]+)\.sql", path.name)
        if not match:
            sys.exit(f"{path}: a migration is named NNNN_what.sql")
        text = path.read_bytes()
        if b"\0" in text:
            sys.exit(f"{path}: holds a NUL byte")
        text.decode("utf-8")
        found.append((int(match[1]), path, text))
    if [version for version, _, _ in found] != list(range(1, len(found) + 1)):
        sys.exit(f"{folder}: migrations must be numbered from 0001 without a gap or a twin")
    return found


def c_bytes(data):
    values = [str(byte) for byte in data] + ["0"]
    return ",\n".join(",".join(values[at:at + 32]) for at in range(0, len(values), 32))


def main():
    folder, output, depfile = map(pathlib.Path, sys.argv[1:4])
    found = migrations_read(folder)
    lines = ['#include "store/schema.h"', ""]
    for version, path, text in found:
        lines.append(f"static const char text_{version}[] = {{\n{c_bytes(text)}}};")
    lines.append("const struct schema_migration schema_migrations[] = {")
    for version, path, text in found:
        digest = hashlib.sha256(text).hexdigest()
        lines.append(f'    {{{version}, "{path.name}", "{digest}", text_{version}}},')
    lines += ["};", f"const int schema_migrations_count = {len(found)};", ""]
    output.write_text("\n".join(lines))
    names = " ".join(str(path).replace(" ", "\\ ") for path in [folder] + [path for _, path, _ in found])
    depfile.write_text(f"{output.name}: {names}\n")


if __name__ == "__main__":
    main()
