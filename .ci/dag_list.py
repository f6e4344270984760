"""Write dags/README.md from the docs of each DAG; with --check, only say whether it is so."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "dags" / "README.md"
HEAD = """# The DAGs

Written by `.ci/dag_list.py` from the docs at the top of each file; change those, then run it.

| DAG | tags | what it does |
|---|---|---|
"""


def readme() -> str:
    """Return what dags/README.md has to say."""
    rows, chapters = [], []
    for path in sorted((ROOT / "dags").glob("*.py")):
        source = path.read_text()
        docs = ast.get_docstring(ast.parse(source)) or ""
        first, _, rest = docs.partition("\n")
        found = re.search(r"tags=\{(.*?)\}", source, re.DOTALL)
        tags = ", ".join(f"`{tag}`" for tag in re.findall(r'"(.*?)"', found[1])) if found else ""
        rows.append(f"| [{path.stem}]({path.name}) | {tags} | {first} |\n")
        chapters.append(f"\n## {path.stem}\n\n{first}\n\n{rest.strip()}\n")
    return HEAD + "".join(rows) + "".join(chapters)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        README.write_text(readme())
    elif not README.exists() or README.read_text() != readme():
        sys.exit("dags/README.md is not what the DAGs say: python .ci/dag_list.py writes it")
