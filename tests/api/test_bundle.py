"""Joining modules: the same order and the same values as in a browser that loads them one by one."""

import pytest

from app.api.bundle import bundle, evaluation_order

FILES = {
    "app.js": (
        'import { log } from "./common/log.js";\nimport {\n  first,\n  second as two,\n} from "./a/b.js";\n'
        'import "./effect.js";\n\nlog(first() + two);\n'
    ),
    "a/b.js": (
        'import { log } from "../common/log.js";\nexport function first() {\n  return 1;\n}\nconst inner = 2;\n'
        "export { inner as second, first as again };\nlog(import.meta.url);\n"
    ),
    "common/log.js": (
        "export const log = (text) => console.log(text);\nexport class Log {}\nexport async function f() {}\n"
    ),
    "effect.js": 'console.log("effect");\n',
    "unused.js": "export const unused = 0;\n",
}


def test_modules_follow_those_that_they_import() -> None:
    assert evaluation_order(FILES, ["app.js"]) == ["common/log.js", "a/b.js", "effect.js", "app.js"]


def test_imports_become_constants_and_exports_results() -> None:
    assert bundle(FILES, ["app.js"], "") == (
        "const $m0 = (() => {\n"
        "const log = (text) => console.log(text);\nclass Log {}\nasync function f() {}\n"
        "return { log, Log, f };\n})();\n"
        "const $m1 = (() => {\nconst { log } = $m0;\nfunction first() {\n  return 1;\n}\nconst inner = 2;\n"
        'log(new URL("a/b.js", import.meta.url).href);\n'
        "return { first, second: inner, again: first };\n})();\n"
        'const $m2 = (() => {\nconsole.log("effect");\nreturn {  };\n})();\n'
        "const $m3 = (() => {\nconst { log } = $m0;\nconst {\n  first,\n  second: two,\n} = $m1;\n\n"
        "log(first() + two);\nreturn {  };\n})();\n"
    )


def test_url_of_a_module_is_relative_to_the_bundle() -> None:
    assert 'new URL("../a/b.js", import.meta.url)' in bundle(FILES, ["app.js"], "operations")


def test_cycle_and_missing_module_are_errors() -> None:
    with pytest.raises(ValueError, match=r"a\.js is part of an import cycle"):
        bundle({"a.js": 'import "./b.js";\n', "b.js": 'import "./a.js";\n'}, ["a.js"], "")
    with pytest.raises(KeyError, match=r"none\.js"):
        bundle({"a.js": 'import "./none.js";\n'}, ["a.js"], "")
