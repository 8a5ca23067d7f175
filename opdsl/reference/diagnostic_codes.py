"""Index of the diagnostics: code, name, title, exit code."""

from __future__ import annotations

from opdsl.diagnostics import CODES
from opdsl.reference.layout import markdown_table, page

GROUPS = {
    "OP01": "Syntax",
    "OP02": "Names and parameters",
    "OP03": "Spaces",
    "OP04": "Warnings",
    "OP05": "Graph files",
    "OP06": "Settings, data and training",
    "OP09": "Run time",
}
PAGES = "../../grammar/diagnostics"


def diagnostics_page() -> str:
    """Build the Markdown index of all codes by group."""
    parts = []
    for prefix, title in GROUPS.items():
        rows = [
            (f"[{code}]({PAGES}/{code}.md)", f"`{x.slug}`", x.title, str(int(x.exit)))
            for code, x in CODES.items()
            if code.startswith(prefix)
        ]
        table = markdown_table(("code", "name", "meaning", "exit code"), rows)
        parts += [f"## {title}", table]
    return page(
        "# Diagnostics",
        "Each code has a page with a wrong program, the message and the cure; "
        "`opdsl explain OP0309` prints it. Warnings can be allowed or denied by name, "
        "with `opdsl check --allow unused-node` or in a comment `# op: allow(unused-node)`.",
        *parts,
    )
