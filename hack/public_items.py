#!/usr/bin/env python3
"""Counts what a Rust crate offers to others: functions, types, traits and constants that a path from `lib.rs` leads to.

Methods, fields and variants belong to their type, modules are no items. What is seen are `pub` items, `pub mod` and
`pub use` at the beginning of a line; what two paths lead to counts twice.

    hack/public_items.py ecr-forecast/src --most 150

Exits with 1 where there are more than allowed.
"""

import argparse
import pathlib
import re
import sys

ITEM = re.compile(r"^pub (?:const (?=fn)|async |unsafe )*(?:fn|struct|enum|union|trait|type|const|static) (\w+)", re.M)
MODULE = re.compile(r"^pub mod (\w+);", re.M)
INLINE = re.compile(r"^pub mod (\w+) \{", re.M)
REEXPORT = re.compile(r"^pub use ([\w:]+)::(\{[^}]*\}|\w+|\*);", re.M)
MACRO_ENUM = re.compile(r"^        pub (?:enum|struct) (\w+) \{", re.M)


def without_tests(text):
    """The code in front of the module of tests."""
    return text.split("#[cfg(test)]\nmod tests", 1)[0]


def place(directory, name):
    """The file of a module, and the directory of its parts."""
    file = directory / f"{name}.rs"
    return (file if file.exists() else directory / name / "mod.rs"), directory / name


def offered(file, directory, at, found):
    """Adds the path of whatever the module in `file` offers, `directory` being where its parts are, to `found`."""
    text = without_tests(file.read_text())
    for name in ITEM.findall(text) + INLINE.findall(text) + MACRO_ENUM.findall(text):
        found.add(f"{at}::{name}")
    for name in MODULE.findall(text):
        inner, parts = place(directory, name)
        offered(inner, parts, f"{at}::{name}", found)
    for path, names in REEXPORT.findall(text):
        if names == "*":
            inner, parts = place(directory, path)
            offered(inner, parts, at, found)
            continue
        for name in (name.strip() for name in names.strip("{}").split(",")):
            if name and not (directory / f"{name}.rs").exists() and name != "self":
                found.add(f"{at}::{name.split(' as ')[-1]}")
    return found


def main():
    """Counts, tells, and compares with what is allowed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sources", type=pathlib.Path, help="the directory of a crate's lib.rs")
    arguments.add_argument("--most", type=int, help="items that it may offer")
    arguments.add_argument("--show", action="store_true", help="print them")
    given = arguments.parse_args()
    found = offered(given.sources / "lib.rs", given.sources, "crate", set())
    print(f"{given.sources}: {len(found)} public items" + ("" if given.most is None else f", {given.most} allowed"))
    if given.show:
        print("\n".join(f"    {path}" for path in sorted(found)))
    return 1 if given.most is not None and len(found) > given.most else 0


if __name__ == "__main__":
    sys.exit(main())
