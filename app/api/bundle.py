"""Join the scripts of a page into one module, so that a browser loads them with one request.

Each module becomes a function that is called once, after those of the modules that it imports, as browsers evaluate
them; its imports become constants. Supported is what our scripts use: named imports, imports without names, and exports
of declarations and of lists of names. There must be no import cycle, and no exported variable that changes.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping

_IMPORT = re.compile(r'^import\s+(?:\{([^}]*)\}\s+from\s+)?"(\.{1,2}/[^"]+)";[ \t]*\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) ([\w$]+)", re.MULTILINE)
_EXPORT_LIST = re.compile(r"^export \{([^}]*)\};[ \t]*\n", re.MULTILINE)
_RENAMED = re.compile(r"([\w$]+)\s+as\s+([\w$]+)")


def bundle(files: Mapping[str, str], entries: Iterable[str], folder: str) -> str:
    """Return one module that does what some modules do.

    Args:
        files: scripts by their path.
        entries: the modules that the page loads.
        folder: folder from which the bundle is served, for `import.meta.url`.

    Raises:
        KeyError: a module that is imported does not exist.
        ValueError: modules import each other in a cycle.
    """
    order = evaluation_order(files, entries)
    names = {module: f"$m{number}" for number, module in enumerate(order)}
    return "".join(_as_function(module, files[module], names, folder) for module in order)


def evaluation_order(files: Mapping[str, str], entries: Iterable[str]) -> list[str]:
    """Return modules and all that they import, each after those that it imports.

    Raises:
        KeyError: a module that is imported does not exist.
        ValueError: modules import each other in a cycle.
    """
    order, open_modules = list[str](), set[str]()

    def visit(module: str) -> None:
        if module in open_modules:
            raise ValueError(f"{module} is part of an import cycle.")
        if module not in order:
            open_modules.add(module)
            for _, specifier in _IMPORT.findall(files[module]):
                visit(_resolved(module, specifier))
            open_modules.remove(module)
            order.append(module)

    for entry in entries:
        visit(entry)
    return order


def _as_function(module: str, text: str, names: Mapping[str, str], folder: str) -> str:
    exported = [name for _, name in _EXPORT.findall(text)]
    for listed in _EXPORT_LIST.findall(text):
        exported += [_RENAMED.sub(r"\2: \1", name.strip()) for name in listed.split(",") if name.strip()]

    def constants(found: re.Match[str]) -> str:
        bindings, specifier = found.groups()
        renamed = _RENAMED.sub(r"\1: \2", bindings or "")
        return f"const {{{renamed}}} = {names[_resolved(module, specifier)]};\n" if bindings else ""

    body = _EXPORT_LIST.sub("", _EXPORT.sub(r"\1 \2", _IMPORT.sub(constants, text)))
    own_url = f'new URL("{posixpath.relpath(module, folder or ".")}", import.meta.url).href'
    body = body.replace("import.meta.url", own_url)
    return f"const {names[module]} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n"


def _resolved(module: str, specifier: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(module), specifier))
