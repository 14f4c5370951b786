#!/usr/bin/env python3
"""Finds circles among the modules of a Rust crate: files whose items name each other in a loop.

An arrow leads from a file to the file in which an item that it names is defined, through re-exports. Tests (what stands
under `#[cfg(test)]`) are left out. What is seen are `use` declarations and paths; methods are not.

A module and its own parts may name each other in Rust without anybody calling it a circle, as `mod.rs` and the files
beside it are one module. So two numbers are told: the files in circles between modules, and those in circles once a
part's arrows to the module around it count, too ("nested").

    hack/circles.py src --show
    hack/circles.py iam-verdict/src --allow 0 --allow-nested 4

Exits with 1 where more files stand in circles than are allowed.
"""

import argparse
import pathlib
import re
import sys

TOKEN = re.compile(
    r"""
      (?P<skip>\s+|//[^\n]*)
    | (?P<raw>b?c?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
    | (?P<string>[bc]?"(?:\\.|[^"\\])*")
    | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<word>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<path>::)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
ITEMS = {"fn", "struct", "enum", "union", "trait", "type", "const", "static"}
NOTHING = (None, None)
OPENING = {"{": "}", "(": ")", "[": "]"}


def tokens(text):
    """The tokens of Rust source without comments; literals become `""`."""
    text = without_block_comments(text)
    found = []
    for match in TOKEN.finditer(text):
        kind = match.lastgroup
        if match["skip"] is not None:
            continue
        if kind in ("raw", "hashes", "string", "char") or match["raw"] is not None:
            found.append('""')
        else:
            found.append(match.group())
    return found


def without_block_comments(text):
    """Block comments nest. A text without any is given back as it is; `/*` in a string ends up in no path anyway."""
    if "/*" not in text:
        return text
    kept, depth, at = [], 0, 0
    literal = re.compile(r'b?c?r(#*)".*?"\1|[bc]?"(?:\\.|[^"\\])*"|//[^\n]*', re.DOTALL)
    while at < len(text):
        match = literal.match(text, at) if depth == 0 else None
        if match:
            kept.append(match.group())
            at = match.end()
        elif text.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif depth and text.startswith("*/", at):
            depth, at = depth - 1, at + 2
        else:
            if not depth:
                kept.append(text[at])
            at += 1
    return "".join(kept)


def end_of(tokens, at):
    """The index after the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(tokens)):
        if tokens[index] in OPENING:
            depth += 1
        elif tokens[index] in OPENING.values():
            depth -= 1
            if depth == 0:
                return index + 1
    return len(tokens)


def end_of_item(tokens, at):
    """The index after the item at `at`: after its `;`, or after its braces."""
    while at < len(tokens):
        if tokens[at] == ";":
            return at + 1
        if tokens[at] == "{":
            return end_of(tokens, at)
        at = end_of(tokens, at) if tokens[at] in OPENING else at + 1
    return at


class Module:
    """A module: in a file, or inline in one."""

    def __init__(self, file, parent):
        self.file = file
        self.parent = parent
        self.children = {}
        self.items = set()
        self.imports = {}
        self.globs = []
        self.paths = []
        self.words = set()

    def root(self):
        return self if self.parent is None else self.parent.root()


class Crate:
    """The modules below a directory of sources, from its `lib.rs` or `main.rs`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        roots = [self.directory / name for name in ("lib.rs", "main.rs")]
        root = next((path for path in roots if path.is_file()), None)
        if root is None:
            sys.exit(f"{directory}: neither lib.rs nor main.rs")
        self.modules = []
        self.read(root, None, self.directory)

    def read(self, file, parent, beside):
        module = Module(file, parent)
        self.modules.append(module)
        self.fill(module, tokens(file.read_text(encoding="utf-8")), beside)
        return module

    def fill(self, module, tokens, beside):
        """Reads the items of a module; `beside` is the directory of its submodules."""
        at, depth = 0, 0
        while at < len(tokens):
            token = tokens[at]
            if token == "#" and tokens[at + 1 : at + 2] in (["["], ["!"]):
                end = end_of(tokens, at + 1 + (tokens[at + 1] == "!"))
                if is_test(tokens[at:end]):
                    while tokens[end : end + 2] == ["#", "["]:
                        end = end_of(tokens, end + 1)
                    end = end_of_item(tokens, end)
                at = end
            elif token == "use":
                end = tokens.index(";", at) + 1
                for path, name in tree(tokens[at + 1 : end - 1], []):
                    if name == "*":
                        module.globs.append(path)
                    else:
                        module.imports[name] = path
                        module.paths.append(path)
                at = end
            elif token == "mod" and depth == 0 and tokens[at + 2] == ";":
                name = tokens[at + 1]
                files = [beside / f"{name}.rs", beside / name / "mod.rs"]
                file = next((path for path in files if path.is_file()), None)
                if file is None:
                    sys.exit(f"{module.file}: no file for `mod {name}`")
                module.children[name] = self.read(file, module, beside / name)
                at += 3
            elif token == "mod" and depth == 0 and tokens[at + 2] == "{":
                name, end = tokens[at + 1], end_of(tokens, at + 2)
                child = Module(module.file, module)
                module.children[name] = child
                self.modules.append(child)
                self.fill(child, tokens[at + 3 : end - 1], beside / name)
                at = end
            else:
                if depth == 0 and token in ITEMS and at + 1 < len(tokens):
                    module.items.add(tokens[at + 1])
                if depth == 0 and token == "macro_rules":
                    module.items.add(tokens[at + 2])
                    body = tokens[at : end_of_item(tokens, at)]
                    # An item that a macro defines under a name of its own.
                    module.items.update(name for kind, name in zip(body, body[1:]) if kind in ITEMS and is_word(name))
                if token in OPENING:
                    depth += 1
                elif token in OPENING.values():
                    depth -= 1
                if is_word(token):
                    end = at + 1
                    while tokens[end : end + 1] == ["::"] and end + 1 < len(tokens) and is_word(tokens[end + 1]):
                        end += 2
                    path = tokens[at:end:2]
                    # `.method::<…>` is no path of ours, and a leading `::` is another crate's.
                    if at == 0 or tokens[at - 1] not in (".", "::"):
                        module.words.add(token)
                        if len(path) > 1:
                            module.paths.append(path)
                    at = end
                else:
                    at += 1

    def arrows(self):
        """Pairs of files, with the items that the first takes from the second."""
        found = {}
        for module in self.modules:
            paths = list(module.paths)
            for glob in module.globs:
                paths.extend([*glob, word] for word in module.words)
            for path in paths:
                home, item = self.resolve(module, path, set())
                if home is not None and home.file != module.file:
                    found.setdefault((module.file, home.file), set()).add(item)
        return found

    def resolve(self, module, path, seen):
        """The module that defines the item to which `path` leads, and the item. For a path to a module and for one of
        another crate: `NOTHING`."""
        if (id(module), tuple(path)) in seen:
            return NOTHING
        seen = seen | {(id(module), tuple(path))}
        first, rest = path[0], path[1:]
        if first == "crate":
            return self.inside(module.root(), rest, seen)
        if first == "self":
            return self.inside(module, rest, seen)
        if first == "super":
            return self.inside(module.parent, rest, seen) if module.parent else NOTHING
        return self.inside(module, path, seen, own=True)

    def inside(self, module, path, seen, own=False):
        if not path:
            return NOTHING
        first, rest = path[0], path[1:]
        if first == "super":
            return self.inside(module.parent, rest, seen) if module.parent else NOTHING
        if first in module.items:
            return module, first
        if first in module.children:
            return self.inside(module.children[first], rest, seen)
        if first in module.imports:
            # `use thing::Thing` does not lead back to itself.
            target = module.imports[first]
            if own and target == path:
                return NOTHING
            return self.resolve(module, [*target, *rest], seen)
        for glob in module.globs:
            found = self.resolve(module, [*glob, first], seen)
            if found != NOTHING:
                return found
        return NOTHING


def is_test(attribute):
    return attribute[:2] == ["#", "["] and "".join(attribute) in ("#[cfg(test)]", "#[test]")


def is_word(token):
    return bool(re.match(r"(?:r#)?[A-Za-z_]", token))


def tree(tokens, prefix):
    """The paths of a `use` tree, each with the name that it gets."""
    path, at = list(prefix), 0
    while at < len(tokens):
        token = tokens[at]
        if token == "{":
            inner, branch, depth = tokens[at + 1 : end_of(tokens, at) - 1], [], 0
            for part in [*inner, ","]:
                if part == "," and depth == 0:
                    if branch:
                        yield from tree(branch, path)
                    branch = []
                    continue
                depth += (part == "{") - (part == "}")
                branch.append(part)
            return
        if token == "*":
            yield path, "*"
            return
        if token == "as":
            yield path, tokens[at + 1]
            return
        if token != "::" and not (token == "self" and path):
            path.append(token)
        at += 1
    yield path, path[-1]


def circles(arrows):
    """The sets of files that lead to each other (Tarjan), greatest first."""
    after = {}
    for source, target in arrows:
        after.setdefault(source, []).append(target)
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in after.get(node, []):
            if target not in number:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], number[target])
        if low[node] == number[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in sorted(after):
        if node not in number:
            visit(node)
    return sorted(found, key=lambda group: (-len(group), min(group)))


def is_around(outer, inner):
    """Whether the module of one file holds that of the other."""
    directory = outer.parent if outer.name in ("lib.rs", "main.rs", "mod.rs") else outer.with_suffix("")
    return inner != outer and directory in inner.parents


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", help="the directory of a crate's lib.rs")
    parser.add_argument("--allow", type=int, default=0, help="files in circles between modules")
    parser.add_argument("--allow-nested", type=int, default=None, help="files in circles, nested ones included")
    parser.add_argument("--show", action="store_true", help="print the circles that are allowed, too")
    options = parser.parse_args(arguments)
    arrows = Crate(options.sources).arrows()
    between = {pair: names for pair, names in arrows.items() if not is_around(pair[1], pair[0])}
    checks = [("between modules", between, options.allow)]
    if options.allow_nested is not None:
        checks.append(("nested", arrows, options.allow_nested))
    wrong = False
    for title, those, allowed in checks:
        groups = circles(those)
        files = sum(len(group) for group in groups)
        print(f"{options.sources}, {title}: {files} files in {len(groups)} circles, {allowed} allowed")
        if files > allowed or options.show:
            tell(groups, those)
        if files < allowed:
            print("  the number that is allowed may fall")
        wrong |= files > allowed
    return int(wrong)


def tell(groups, arrows):
    for group in groups:
        print(f"  circle of {len(group)}:")
        for (source, target), names in sorted(arrows.items()):
            if source in group and target in group:
                print(f"    {source} -> {target}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    sys.exit(main())
