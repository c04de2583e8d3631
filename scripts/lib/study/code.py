"""The code that decides what a command makes, whose change runs its rule again."""

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]

# Modules that decide no result: what a person sees of a command, how files are written and flags
# read, where a job waits, who is told. Files of the hub and of packages are known by revision or
# version and digest, however they are fetched. A change in these modules runs nothing again.
DECIDE_NOTHING = frozenset(
    {
        *("command.cli", "command.console", "command.timing", "files.manifests", "files.whole"),
        *("study.config", "study.configfiles", "study.flags", "study.planning", "study.schema"),
        *(
            "study.code",
            "study.version",
            "data.digests",
            "data.hub",
            "data.packages",
            "data.preview",
        ),
        *("forks.client", "training.gpus", "training.launch", "training.probe"),
        *("training.reporting", "training.saving", "training.tracking"),
    }
)


def modules_of(command: str) -> list[str]:
    """The modules of `lib` that decide what a command makes: what its `main` imports, and so on.

    The rest of a command is flags, which decide nothing.
    """
    found: set[str] = set()
    tree = parse(SCRIPTS / f"{command}.py")
    mains = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"
    )
    queue = [module for main in mains for module in imports(main)]
    while queue:
        module = queue.pop()
        if module not in found and module not in DECIDE_NOTHING:
            found.add(module)
            queue += imported_by(module)
    return sorted(found, key=path_of)


def digest(command: str) -> str:
    """SHA-256 of the modules that decide what a command makes."""
    return sha256(b"".join(map(source, map(path_of, modules_of(command))))).hexdigest()


def path_of(module: str) -> Path:
    """The file of a module of `lib`, named without it, as in `data.reviews`."""
    return SCRIPTS.joinpath("lib", *module.split(".")).with_suffix(".py")


@cache
def source(path: Path) -> bytes:
    """The content of a file."""
    return path.read_bytes()


def parse(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse(source(path))


@cache
def imported_by(module: str) -> tuple[str, ...]:
    """Names of the modules of `lib` that one of them imports anywhere."""
    return tuple(dict.fromkeys(imports(parse(path_of(module)))))


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of the modules of `lib` that some code imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            package = (node.module or "").removeprefix("lib").removeprefix(".")
            for alias in node.names:
                inner = ".".join(filter(None, [package, alias.name]))
                yield inner if path_of(inner).is_file() else package


def commands() -> list[str]:
    """The names of all commands."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py"))
