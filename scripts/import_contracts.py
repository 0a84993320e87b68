"""An import-linter contract for a package that holds both the layers and, above them, the API.

import-linter's own "layers" contract orders siblings that are listed by name; the API is whatever else stands in
`millstream/`, which grows, and `millstream` itself, which is the parent of all of them.
"""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ApiOnTop(Contract):
    """No module of a layer imports the root package or anything in it that is not a layer.

    Configuration: `layers`, the full names of the layer packages; their common parent is the API.
    """

    layers = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Looks at direct imports; an indirect one passes through a direct one."""
        layers: list[str] = list(self.layers)  # type: ignore[call-overload]  # the field becomes its value
        root = layers[0].split(".")[0]
        missing = [layer for layer in layers if layer not in graph.modules]
        violations = [
            detail
            for layer in layers
            if layer not in missing
            for module in sorted({layer} | graph.find_descendants(layer))
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if _is_api(imported, root, layers)
            for detail in graph.get_import_details(importer=module, imported=imported)
        ]
        return ContractCheck(
            kept=not violations and not missing, metadata={"violations": violations, "missing": missing}
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints each offending import with its line."""
        for layer in check.metadata["missing"]:
            output.print_error(f"The layer {layer} does not exist.")
        for violation in check.metadata["violations"]:
            output.print_error(
                f"{violation['importer']}:{violation['line_number']} imports {violation['imported']}: "
                f"{violation['line_contents']}"
            )


def _is_api(module: str, root: str, layers: list[str]) -> bool:
    if module != root and not module.startswith(root + "."):
        return False
    return not any(module == layer or module.startswith(layer + ".") for layer in layers)
