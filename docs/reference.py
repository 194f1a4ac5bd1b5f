"""Hooks of the site: the pages that are made from the code, and links that leave it.

`settings.md` and `metrics.md` exist on the site alone: they are written from what `rvpo settings`
and `rvpo metrics` print.
"""

from __future__ import annotations

import html
import inspect
import posixpath
import re
from itertools import groupby

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from rvpo.commands.settings import Setting, settings
from rvpo.report import metrics

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def settings_page() -> str:
    """A section of the page for each section of a run, and a heading for each setting."""
    parts = [
        "# Settings",
        "Every setting of a run, as `rvpo settings [SECTION]` prints it. Parts in capitals are "
        "names that you give. `rvpo show --config FILE` prints the values of one run.",
    ]
    for section, found in groupby(settings(), lambda setting: setting.path.partition(".")[0]):
        parts.append(f"## {section} {{ #{section} }}")
        parts.extend(_paragraphs(setting, section) for setting in found)
    return "\n\n".join(parts) + "\n"


def metrics_page() -> str:
    """One table of all metrics, under what the module says of their names."""
    rows = [f"| `{name}` | {html.escape(text)} |" for name, text in metrics.METRICS.items()]
    about = inspect.getdoc(metrics) or ""
    table = "\n".join(["| metric | meaning |", "| --- | --- |", *rows])
    return f"# Metrics\n\n{about}\n\n`rvpo metrics [TEXT]` prints the same.\n\n{table}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file holds."""
    for name, page in (("settings.md", settings_page()), ("metrics.md", metrics_page())):
        files.append(File.generated(config, name, content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name the files of the repository that the site does not have, instead of linking to them."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        on_site = path.startswith("docs/") and not path.endswith(".py")
        return (
            link[0]
            if on_site or ":" in link[2]
            else f"`{path}`"
            if link[1] in path
            else f"{link[1]} (`{path}`)"
        )

    return LINK.sub(named, markdown)


def _paragraphs(setting: Setting, section: str) -> str:
    only = f" · only {', '.join(setting.variants)}" if setting.variants else ""
    default = "required" if setting.default == "required" else f"default `{setting.default}`"
    heading = f"### `{setting.path}` {{ #{setting.path} }}\n\n" if setting.path != section else ""
    return f"{heading}{setting.kind} · {default}{only}\n\n{html.escape(setting.help, quote=False)}"
