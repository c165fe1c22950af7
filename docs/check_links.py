"""Look at all links of the built site, without a network.

python docs/check_links.py docs/_build/html

Links within the site must lead to a file, and to an anchor that is in it; of links to
other sites only the form is looked at.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(attrs[name] for name in ("id", "name") if attrs.get(name))
        self.links += [attrs[name] for name in ("href", "src") if attrs.get(name)]


def broken_links(root):
    """(page, link, what is wrong with it) for each bad link below the folder `root`."""
    root = Path(root).resolve()
    found = sorted(root.rglob("*.html"))
    # those of the theme are templates
    pages = {path: Page(path) for path in found if "_static" not in path.parts}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                if "." not in parts.netloc or " " in link:
                    yield path.relative_to(root), link, "not the form of a link"
                continue
            if parts.scheme in ("data", "mailto"):
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            if parts.scheme or not target.is_relative_to(root):
                yield path.relative_to(root), link, "leads out of the site"
            elif not target.is_file():
                yield path.relative_to(root), link, "no such file"
            elif target in pages and unquote(parts.fragment) not in (
                pages[target].anchors
            ):
                yield path.relative_to(root), link, "no such anchor"


if __name__ == "__main__":
    broken = list(broken_links(sys.argv[1]))
    for page, link, problem in broken:
        print(f"{page}: {link}: {problem}")
    n_pages = len(list(Path(sys.argv[1]).rglob("*.html")))
    print(f"{n_pages} pages, {len(broken)} broken links")
    sys.exit(bool(broken) or n_pages == 0)
