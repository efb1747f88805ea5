"""Puts the recipes of ``experiments`` into the package as ``unlearn_pl/recipes``; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies the recipes; an editable installation finds them where they are."""

    def run(self) -> None:
        """Build the package, and copy the recipes into it."""
        super().run()
        if not self.editable_mode:
            for source, target in self._recipes().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_source_files(self) -> list[str]:
        """What a source distribution must have."""
        return [*super().get_source_files(), *self._recipes()]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """The files that are written."""
        return [*super().get_outputs(include_bytecode), *self._recipes().values()]

    def _recipes(self) -> dict[str, str]:
        folder = Path("experiments")
        into = Path(self.build_lib) / "unlearn_pl" / "recipes"
        return {str(path): str(into / path.relative_to(folder)) for path in sorted(folder.rglob("*.yaml"))}


setup(cmdclass={"build_py": BuildWithRecipes})
