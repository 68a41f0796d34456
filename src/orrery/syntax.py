"""What a Python file declares, read from its syntax tree; nothing is imported or run."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orrery.errors import OrreryError


def text_of(file: Path) -> str:
    """The file's text.

    Raises:
        OrreryError: it cannot be read or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OrreryError(f"{file}: {error}") from None


def parse(text: str, file: Path) -> ast.Module:
    """The syntax tree.

    Raises:
        OrreryError: it is no Python; names file and line.
    """
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise OrreryError(f"{file}: line {line}: {error.args[0]}") from None


def literal(node: ast.expr, file: Path) -> Any:
    """The value of a literal.

    Raises:
        OrreryError: it would have to be computed.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        text = ast.unparse(node)
        raise OrreryError(f"{file}: line {node.lineno}: {text} must be written out") from None


def keywords_of(name: str, call: str, text: str, file: Path) -> dict[str, Any] | None:
    """The keywords of `name = call(...)`, cut out of the text: the rest of it is not parsed.

    Args:
        name: stands at the start of a line; the line that closes the call starts with ")".
        call: the name of what is called.
        text: the file's text.
        file: named in errors.

    Returns:
        None where the text has no such statement.

    Raises:
        OrreryError: it is laid out otherwise, or not written with literals and keywords only.
    """
    if not re.search(rf"^{name}\b.*=", text, re.MULTILINE):
        return None
    found = re.search(rf"^{name} = {call}\(.*?^\)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise OrreryError(f"{file}: {name} must start '{name} = {call}(' and end with a line ')'")
    statement = parse(found.group(), file).body[0]
    value = statement.value if isinstance(statement, ast.Assign) else None
    if not isinstance(value, ast.Call) or value.args or None in {k.arg for k in value.keywords}:
        raise OrreryError(f"{file}: {name} must name every argument")
    return {str(keyword.arg): literal(keyword.value, file) for keyword in value.keywords}


def assignments(tree: ast.Module) -> dict[str, ast.expr]:
    """What the file's top level assigns to plain names."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        assert node.value is not None
        found.update({one.id: node.value for one in targets if isinstance(one, ast.Name)})
    return found


def calls(node: ast.expr) -> Iterator[tuple[str, ast.expr | None]]:
    """(name called, its first argument) for each entry of a tuple of calls; ("", None) if none."""
    for call in node.elts if isinstance(node, ast.Tuple | ast.List) else [node]:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            yield call.func.id, arguments[0] if arguments else None
        else:
            yield "", None


def imported(tree: ast.Module, package: str) -> set[str]:
    """Dotted names of what the file imports from `package`, at any depth of the file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return {name for name in found if name.startswith(f"{package}.")}
