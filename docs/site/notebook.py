"""The notebook as a page: its text, its code, and what is stored of its outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def page(path: Path) -> str:
    """Markdown of a notebook, with a link to the file itself below its title."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = []
    for number, one in enumerate(cells):
        text = "".join(one["source"])
        lines.append(text if one["cell_type"] == "markdown" else f"```python\n{text}\n```")
        if number == 0:
            lines.append(f"[Download the notebook]({path.name})")
        lines += [block for output in one.get("outputs", []) if (block := shown(output))]
    return "\n\n".join(lines) + "\n"


def shown(output: dict[str, Any]) -> str:
    """An output as a picture or a block of text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = "".join(output.get("text") or data.get("text/plain", ""))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
