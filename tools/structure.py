"""`python -m tools.structure`: prints how long the package's modules and functions are, and which modules share a name.

The exit code is 1 when a limit of `LIMITS` is exceeded. An `__init__.py` with only a docstring does not count as a module.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

PACKAGE: Final = Path(__file__).parents[1] / "laion_coco_assets"

#: The most lines for each figure.
LIMITS: Final[Mapping[str, int]] = {"median module": 100, "largest module": 300, "90th percentile of functions": 25}


@dataclass(frozen=True)
class Structure:
    """The lines of a package's modules and functions. Docstrings, comments and blank lines count."""

    modules: Mapping[Path, int]
    functions: tuple[int, ...]  # ascending

    @classmethod
    def of(cls, package: Path) -> "Structure":
        """Read the structure of all modules below a folder."""
        texts = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
        trees = {path: ast.parse(text) for path, text in texts.items()}
        modules = {path: len(texts[path].splitlines()) for path, tree in trees.items() if not _is_docstring_alone(tree)}
        functions = (length for tree in trees.values() for length in _function_lengths(tree))
        return cls(modules, tuple(sorted(functions)))

    @property
    def figures(self) -> dict[str, float]:
        """The figures that `LIMITS` limits, by the same names."""
        return {
            "median module": median(self.modules.values()),
            "largest module": max(self.modules.values()),
            "90th percentile of functions": self.functions[int(0.9 * len(self.functions))],
        }

    @property
    def too_long(self) -> dict[str, float]:
        """The figures that exceed their limit."""
        return {name: figure for name, figure in self.figures.items() if figure > LIMITS[name]}

    @property
    def oversized(self) -> dict[Path, int]:
        """Modules with more lines than the limit for the largest."""
        return {path: lines for path, lines in self.modules.items() if lines > LIMITS["largest module"]}

    @property
    def shared_names(self) -> dict[str, list[Path]]:
        """File names that several modules have, apart from Python's own, `__init__.py` and `__main__.py`."""
        by_name = defaultdict(list)
        for path in self.modules:
            by_name[path.name].append(path)
        return {name: paths for name, paths in by_name.items() if len(paths) > 1 and not name.startswith("__")}


def main() -> int:
    """Print the figures of the package, or of the folder on the command line. Returns the exit code."""
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    structure = Structure.of(package)
    print(f"{len(structure.modules)} modules, {len(structure.functions)} functions; lines:")
    for name, figure in structure.figures.items():
        print(f"  {name}: {figure:g} (limit {LIMITS[name]})")
    for path, lines in structure.oversized.items():
        print(f"too long: {path.relative_to(package)}, {lines} lines")
    for name, paths in structure.shared_names.items():
        print(
            f"one name, {len(paths)} modules: {name} in {', '.join(str(p.parent.relative_to(package)) for p in paths)}"
        )
    return 1 if structure.too_long else 0


def _is_docstring_alone(tree: ast.Module) -> bool:
    return not [node for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]


def _function_lengths(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


if __name__ == "__main__":
    sys.exit(main())
