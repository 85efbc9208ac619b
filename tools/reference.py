"""Write what docs/ says of the code from the code: `python tools/reference.py`, or `make docs`.

    docs/architecture.md       between its two marks: every file with the first line of its docstring
    docs/reference/python.md   the public names of `jc1` and `jc1_lab`, with signatures and docstrings
    docs/reference/cli.md      every command, as `--help` has it
    docs/reference/settings.md every setting

Knows where each comes from. Knows nothing about what they say. tests/test_reference.py holds the files against it.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BEGIN, END = "<!-- files: written by `make docs` -->", "<!-- /files -->"
FOLDERS = {
    "jc1": "the pipeline package: no web framework, `import jc1` is cheap",
    "api/jc1_api": "FastAPI",
    "ui/jc1_ui": "Gradio",
    "experiments/jc1_lab": "the lab",
    "experiments/tiny": "training of jc1-tiny and its draft; not installed",
    "experiments/tiny_vision": "training of jc1-tiny-vision; not installed",
    "experiments/benchmarks": "not installed",
}
WIDTH = 110
"""Characters of a line of code."""
WRITTEN = "<!-- Written by `make docs` from the code. Do not edit. -->\n"


def main() -> None:
    for name, text in documents().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


def documents() -> dict[str, str]:
    """Return the text of each document, by its path below docs/."""
    import jc1
    import jc1_lab

    return {
        "architecture.md": architecture((DOCS / "architecture.md").read_text(encoding="utf-8")),
        "reference/python.md": python_reference(jc1, jc1_lab),
        "reference/cli.md": cli_reference(),
        "reference/settings.md": settings_reference(),
    }


def architecture(text: str) -> str:
    """Return the document with the list of files between its marks written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{files()}{END}{after}"


def files() -> str:
    """Return one table a package: a row a file, with the first line of its docstring."""
    lines = []
    for folder, phrase in FOLDERS.items():
        lines += [f"\n### `{folder}/`: {phrase}\n", "| file | |", "|---|---|"]
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT / folder)
            if "versions" not in name.parts:
                lines.append(f"| `{name}` | {first_line(path)} |")
    return "\n".join(lines) + "\n\n"


def first_line(path: Path) -> str:
    """Return the first sentence or line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line = " ".join(docstring.split("\n\n", 1)[0].split())
    return re.split(r"(?<=[a-z0-9)`]\.) (?=[A-Z`])", line, maxsplit=1)[0].replace("|", "\\|")


def python_reference(*modules: ModuleType) -> str:
    """Return the public names of the modules, in the order of their `__all__`."""
    parts = [WRITTEN, "# Python\n", "What may be imported. Everything else may change without notice.\n"]
    for module in modules:
        parts.append(f"## `{module.__name__}`\n\n{inspect.getdoc(module)}\n")
        names = [name for name in module.__all__ if not name.startswith("__")]
        parts += [described(name, getattr(module, name)) for name in names]
    return "\n".join(parts)


def described(name: str, thing: Any) -> str:
    """Return a public name with its arguments, docstring and public methods."""
    if not callable(thing):
        return f"### `{name}`\n\n{inspect.getdoc(thing) or ''}\n"
    lines = [f"### `{name}`\n", call(name, thing), f"{documentation(thing)}\n"]
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if member.startswith("_") or not documentation(value):
            continue
        if inspect.isfunction(function):
            lines += [f"#### `{name}.{member}`\n", call(member, function), f"{documentation(function)}\n"]
        elif isinstance(value, property):
            lines += [f"#### `{name}.{member}`\n", f"{documentation(value)}\n"]
    return "\n".join(lines)


def documentation(thing: Any) -> str:
    """Return a docstring of its own, not one that a library wrote for it."""
    docstring = inspect.cleandoc(thing.__doc__) if isinstance(thing.__doc__, str) else ""
    return "" if docstring.startswith(f"{getattr(thing, '__name__', '?')}(") else docstring


def call(name: str, thing: Any) -> str:
    """Return a block with the call as one would write it; empty where a class is not for making."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return ""
    parameters = [p for p in inspect.signature(thing).parameters.values() if p.name not in ("self", "cls")]
    arguments = [
        str(parameter.replace(annotation=parameter.empty, default=parameter.empty)) for parameter in parameters
    ]
    for i, parameter in enumerate(parameters):
        arguments[i] += annotated(parameter)
    named = [p.kind is p.KEYWORD_ONLY for p in parameters]
    if True in named and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        arguments.insert(named.index(True), "*")
    line = f"{name}({', '.join(arguments)})"
    if len(line) > WIDTH:
        line = f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
    return f"```python\n{line}\n```\n"


def annotated(parameter: inspect.Parameter) -> str:
    """Return `: type = default` of a parameter, types by their short names."""
    annotation = parameter.annotation
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    written = re.sub(r"\b(?:\w+\.)+(?=[A-Za-z])", "", written)
    default = "..." if "factory" in repr(parameter.default) else repr(parameter.default)
    text = "" if parameter.annotation is parameter.empty else f": {written}"
    return text if parameter.default is parameter.empty else f"{text} = {default}"


def cli_reference() -> str:
    """Return all commands with their options."""
    import typer
    from typer.cli import get_docs_for_click

    from jc1.cli.main import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="jc1")
    text = get_docs_for_click(obj=command, ctx=context, name="jc1", title="Command line")
    # Rich's markup and typer's own completion options tell a reader of Markdown nothing.
    lines = [line for line in text.splitlines() if "-completion" not in line]
    return WRITTEN + "\n".join(lines).rstrip() + "\n"


def settings_reference() -> str:
    """Return a table of all settings with their defaults."""
    from jc1.settings import Settings

    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() or field.default_factory else field.default
        rows.append(f"| `{name}` | `JC1_{name.upper()}` | {shown(default)} | {field.description} |")
    return "\n".join(
        [
            WRITTEN,
            "# Settings\n",
            "A flag wins over the environment, that over `./jc1.toml`, that over `$JC1_HOME/jc1.toml`. `jc1 config`",
            "prints every value with where it came from.\n",
            "| `jc1.toml` | environment | default | what it is |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def shown(default: Any) -> str:
    text = str(default)
    return f"`{text}`" if text and "PydanticUndefined" not in text and "*" not in text else ""


if __name__ == "__main__":
    main()
