"""What a report's HTML says, as a parser reads it."""

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """A page's elements, and its text by element."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.html = html
        self.tags, self.attributes, self.open = [], [], []
        self.texts, self.policy = [], None
        self.texts_of = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        if tag not in VOID:
            self.open.append(tag)
            self.texts_of.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            return
        self.texts.append(data)
        for tag in set(self.open):
            self.texts_of[tag][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def headings(self):
        return [" ".join(text.split()) for text in self.texts_of["h2"]]

    def ids(self):
        return [value for _, name, value in self.attributes if name == "id"]

    def references(self):
        """What an element points to: fragments, and anything outside."""
        return [value for _, name, value in self.attributes if name in ("href", "src", "xlink:href", "action", "data")]
