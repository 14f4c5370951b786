#!/usr/bin/env python3
"""Tests of circles.py: run by `make lint`."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import circles


class Circles(unittest.TestCase):
    def arrows(self, files):
        """The arrows of a crate of these files, with short names."""
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            found = circles.Crate(root).arrows()
        short = lambda path: str(path.relative_to(root))
        return {(short(source), short(target)): names for (source, target), names in found.items()}

    def main(self, files, *options):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in files.items():
                (pathlib.Path(directory) / name).write_text(text, encoding="utf-8")
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                code = circles.main([directory, *options])
        return code, output.getvalue()

    def test_arrows_lead_to_the_file_that_defines_the_item(self):
        found = self.arrows(
            {
                "lib.rs": "mod a; mod b; pub use b::inner::Deep;",
                "a.rs": "use crate::Deep; use crate::b::{self, other::{One, Two as Three}}; fn f() { b::g(); }",
                "b/mod.rs": "pub mod inner; pub mod other; pub fn g() {}",
                "b/inner.rs": "pub struct Deep; impl Deep { fn f() { super::g() } }",
                "b/other.rs": "pub struct One; pub(crate) enum Two {}",
            }
        )
        self.assertEqual(
            found,
            {
                ("lib.rs", "b/inner.rs"): {"Deep"},
                ("a.rs", "b/inner.rs"): {"Deep"},
                ("a.rs", "b/other.rs"): {"One", "Two"},
                ("a.rs", "b/mod.rs"): {"g"},
                ("b/inner.rs", "b/mod.rs"): {"g"},
            },
        )

    def test_sees_globs_inline_modules_and_what_macros_define(self):
        found = self.arrows(
            {
                "lib.rs": "mod a; mod b; mod c;",
                "a.rs": "use crate::b::*; mod part { fn f(x: super::super::c::Made) {} } fn f(x: Seen) {}",
                "b.rs": "pub struct Seen; pub struct Unseen;",
                "c.rs": "macro_rules! make { ($($name:ident)*) => { pub enum Made { $($name,)* } } } make! { A B }",
            }
        )
        self.assertEqual(found, {("a.rs", "b.rs"): {"Seen"}, ("a.rs", "c.rs"): {"Made"}})

    def test_does_not_see_comments_literals_tests_and_other_crates(self):
        found = self.arrows(
            {
                "lib.rs": "mod a; mod b;",
                "a.rs": """
                    //! See [`crate::b::Thing`]. /*
                    /* crate::b::Thing /* */ crate::b::Thing */
                    use std::fmt; use serde_json::b::Thing as Other;
                    fn f<'b>(x: &'b str) -> char { let _ = ("crate::b::Thing \\" ", r#" " crate::b::Thing"#, '"'); '\\'' }
                    #[cfg(test)] #[allow(unused)] mod tests { use crate::b::Thing; }
                    #[cfg(test)] fn only() { crate::b::f() }
                    #[cfg(test)] use crate::b::Thing;
                """,
                "b.rs": "pub struct Thing; pub fn f() {}",
            }
        )
        self.assertEqual(found, {})

    CIRCLE = {
        "lib.rs": "mod a; mod b; mod c; mod d;",
        "a.rs": "pub struct A(crate::b::B);",
        "b.rs": "pub struct B(crate::c::C);",
        "c.rs": "pub struct C; fn f(x: crate::a::A) {}",
        "d.rs": "use crate::a::A;",
    }

    def test_finds_a_circle_and_says_what_ties_it(self):
        code, output = self.main(self.CIRCLE)
        self.assertEqual(code, 1)
        self.assertIn("3 files in 1 circles", output)
        self.assertRegex(output, r"a\.rs -> \S+b\.rs: B\n.*b\.rs -> \S+c\.rs: C\n.*c\.rs -> \S+a\.rs: A\n")
        self.assertNotIn("d.rs", output)

    def test_allows_as_many_files_as_it_is_told(self):
        code, output = self.main(self.CIRCLE, "--allow", "3")
        self.assertEqual(code, 0)
        self.assertNotIn("->", output)
        self.assertIn("->", self.main(self.CIRCLE, "--allow", "3", "--show")[1])
        self.assertEqual(self.main(self.CIRCLE, "--allow", "2")[0], 1)
        code, output = self.main(self.CIRCLE, "--allow", "4")
        self.assertEqual(code, 0)
        self.assertIn("may fall", output)

    def test_tells_a_module_and_its_parts_apart(self):
        files = {"lib.rs": "mod a; pub struct Root(a::A);", "a.rs": "pub struct A; fn f(x: crate::Root) {}"}
        self.assertEqual(self.main(files)[0], 0)
        self.assertEqual(self.main(files, "--allow-nested", "2")[0], 0)
        self.assertEqual(self.main(files, "--allow-nested", "1")[0], 1)


if __name__ == "__main__":
    unittest.main()
